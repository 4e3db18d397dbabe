package hub

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

// nextFrame cuts a frame off what arrived.
func nextFrame(wire []byte) (op ws.OpCode, payload string, rest []byte, ok bool) {
	if len(wire) < 2 {
		return 0, "", wire, false
	}
	n, head := uint64(wire[1]), 2
	switch {
	case n == 126 && len(wire) >= 4:
		n, head = uint64(binary.BigEndian.Uint16(wire[2:])), 4
	case n == 127 && len(wire) >= 10:
		n, head = binary.BigEndian.Uint64(wire[2:]), 10
	case n >= 126:
		return 0, "", wire, false
	}
	if uint64(len(wire)-head) < n {
		return 0, "", wire, false
	}
	whole := head + int(n)
	return ws.OpCode(wire[0]), string(wire[head:whole]), wire[whole:], true
}

// listen checks what has arrived.
func (s *hearer) listen(t *rapid.T) {
	s.speech.watch(t)
	s.judge(t)
	for {
		op, payload, rest, ok := nextFrame(s.wire)
		if !ok {
			break
		}
		s.wire = rest
		if s.over {
			t.Fatalf("%s: after the close frame comes %x %.80q", s, op, payload)
		}
		switch op {
		case 0x80 | ws.OpText:
			s.hear(t, payload)
		case 0x80 | ws.OpPing, 0x80 | ws.OpPong:
		case 0x80 | ws.OpClose:
			code := map[string]int{"too_slow": 4100, "replaced": 4003, "host_closed": 4000}[s.ended]
			if len(payload) < 2 || int(binary.BigEndian.Uint16([]byte(payload))) != code {
				t.Fatalf("%s: closed with %q, want %d", s, payload, code)
			}
			s.over = true
		default:
			t.Fatalf("%s: garbled: %x %.80q", s, op, payload)
		}
	}
	if s.started && !s.asked && s.complete() {
		s.mark = s.place // notices behind a jump may still be due
	}
	if !s.asked && s.started && s.session.room != nil && !s.session.cursor.IsZero() {
		due := int(s.session.behind())
		if s.session.lagAllowance { // the relay itself has put it behind, by its record at most
			due -= s.session.Config().recordLimit()
		}
		if due > s.lag(s.mark) {
			t.Fatalf("%s: %d bytes are due, the model knows of %d", s, due, s.lag(s.mark))
		}
	}
}

// String tells where the stream is.
func (s *hearer) String() string {
	m := s.speech
	return fmt.Sprintf("viewer %d (numbered %v, asked %v, loose %v) at %d of %d, broadcast %d of %d", s.id, s.numbered, s.asked, s.loose, s.place, len(m.order), s.number, len(m.broadcasts))
}

// complete reports whether the stream is at the end of the order.
func (s *hearer) complete() bool {
	place := s.place
	for s.loose && place < len(s.speech.order) && s.speech.order[place].number == 0 {
		place++
	}
	return place == len(s.speech.order)
}

// An utterance is what the relay says, with the fields that are looked at.
type utterance struct {
	Type, Token, Epoch, Reason, Error, Re string

	ID, Seq, Viewers int
	Recovered        *bool
	Messages         json.RawMessage // a count, or a list
	Answer           *int            // of a history that the host told
	Data             json.RawMessage
}

// hear checks one text.
func (s *hearer) hear(t *rapid.T, text string) {
	var e utterance
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: heard %q: %v", s, text, err)
	}
	switch {
	case s.ended != "":
		t.Fatalf("%s: after closed comes %.80s", s, text)
	case e.Type == "error" && e.Error == "history_unavailable":
		s.hearUnavailable(t, text) // it may overtake joined
	case e.Type == "joined" && !s.started:
		s.hearJoined(t, e)
	case !s.started && !(e.Type == "closed" && (s.slow || e.Reason == "replaced")): // all that was due is dropped
		t.Fatalf("%s: before joined comes %.80s", s, text)
	case e.Type == "command", e.Type == "activate", e.Type == "broadcast", e.Type == "host_left", e.Type == "host_back":
		s.hearEntry(t, e, text)
	case e.Type == "history" && e.Answer != nil:
		s.hearAnswer(t, e, text)
	case e.Type == "history":
		s.hearRecord(t, e, text)
	case e.Type == "skipped":
		s.hearSkipped(t, e, text)
	case e.Type == "message":
		s.hearLetter(t, e, text)
	case e.Type == "viewers" && s.numbered && e.Viewers <= s.speech.crowd:
	case e.Type == "closed":
		s.hearClosed(t, e, text)
	default:
		t.Fatalf("%s: heard %.200s", s, text)
	}
}

func (s *hearer) hearJoined(t *rapid.T, e utterance) {
	seq := s.number
	if e.Seq != seq || e.Epoch != s.speech.room.epoch || (e.Recovered != nil) != s.back || s.back && *e.Recovered != s.recovers || s.id != 0 && s.id != e.ID {
		t.Fatalf("%s: joined with %+v after %d, want recovered %v, seq %d", s, e, s.lastSeen, s.recovers, seq)
	}
	s.started, s.token, s.id, s.known, s.knows = true, e.Token, e.ID, e.Seq, true
}

// hearEntry checks that an entry is the next.
func (s *hearer) hearEntry(t *rapid.T, e utterance, text string) {
	m := s.speech
	isNotice := strings.HasPrefix(e.Type, "host_")
	for s.loose && s.place < len(m.order) && m.order[s.place].number == 0 && m.order[s.place].text != text {
		s.place++
	}
	if s.place == len(m.order) || s.ahead > s.place {
		t.Fatalf("%s: heard %.80s, nothing is due", s, text)
	}
	if s.asked && s.replaced < 0 && !m.closed {
		if s.asks.halves--; s.asks.halves < 0 {
			t.Fatalf("%s: heard %.80s while it waits for the history", s, text)
		}
	}
	next := m.order[s.place]
	want := next.text
	if s.numbered && next.number > 0 {
		want = withNumber(next.number, want)
	}
	if text != want {
		t.Fatalf("%s: heard %.80q, want %.80q", s, text, want)
	}
	s.place++
	if isNotice {
		return // still loose: there may have been more before the jump
	}
	s.loose, s.number = false, next.number
	s.known++
	if s.numbered {
		s.known, s.knows = e.Seq, true
	}
	s.checkKnown(t)
}

func (s *hearer) checkKnown(t *rapid.T) {
	if s.knows && s.known != s.number {
		t.Fatalf("%s: its client believes that it has %d", s, s.known)
	}
}

// hearSkipped checks that a viewer that was moved on is told what it missed.
func (s *hearer) hearSkipped(t *rapid.T, e utterance, text string) {
	m := s.speech
	queued := !s.asked || e.Seq <= s.asks.said // it is not moved on while it waits
	slow := s.lag(s.mark) > m.lagLimit || e.Seq <= s.stalled
	if !m.skips || !queued || !slow || string(e.Messages) != fmt.Sprint(e.Seq-s.number) || e.Seq < s.number || e.Seq > len(m.broadcasts) {
		t.Fatalf("%s: heard %s, %d bytes behind", s, text, s.lag(s.mark))
	}
	s.jump(e.Seq, true)
	s.mark = s.place
}

// jump moves the stream to the place after a broadcast, of which the client is
// told.
func (s *hearer) jump(number int, told bool) {
	s.place, s.loose, s.number = s.speech.after(number), true, number
	s.known, s.knows = number, told
	s.ahead = 0
}

// hearLetter checks that a letter comes after what was said before it.
func (s *hearer) hearLetter(t *rapid.T, e utterance, text string) {
	if len(s.letters) == 0 || string(e.Data) != fmt.Sprint(s.letters[0].number) {
		t.Fatalf("%s: heard %s, due are %v", s, text, s.letters)
	}
	l := s.letters[0]
	s.letters = s.letters[1:]
	for s.loose && s.place < l.place && s.speech.order[s.place].number == 0 {
		s.place++
	}
	if s.place < l.place { // it may well come later
		s.ahead = l.place
	}
}

// hearClosed checks why a connection ends.
func (s *hearer) hearClosed(t *rapid.T, e utterance, text string) {
	m := s.speech
	allowed := false
	switch e.Reason {
	case "too_slow":
		allowed = s.slow
	case "replaced":
		tooMuch := s.lag(max(0, s.place-1)) > s.session.shard.hub.Config().MaxPrivate
		allowed = s.replaced >= 0 && (s.reaches(s.replaced) || tooMuch)
	case "host_closed":
		allowed = m.closed && s.complete()
	}
	if !allowed {
		t.Fatalf("%s: heard %s, slow %v, replaced at %d", s, text, s.slow, s.replaced)
	}
	s.ended = e.Reason
}

// judge checks that a viewer that has just been closed as too slow was.
func (s *hearer) judge(t *rapid.T) {
	if s.session.has(flagParked) {
		s.asks.waits = len(s.speech.order)
	} else {
		if s.asked && !s.asks.queued {
			s.asks.queued, s.queued = true, time.Now()
		}
	}
	if s.slow || s.session.reason != ReasonTooSlow {
		return
	}
	m, config := s.speech, s.session.shard.hub.Config()
	stalled := time.Since(s.took) > config.StallTimeout
	holds := s.owed && time.Since(s.queued) > config.HistoryTake
	lag := s.lag(s.mark)
	if s.slow = holds || !m.skips && (stalled || lag > m.lagLimit); !s.slow {
		t.Fatalf("%s: closed as too slow, %d bytes behind, took some %s ago", s, lag, time.Since(s.took))
	}
}

// tick has the relay look at the viewer's time limits.
func (s *hearer) tick(t *rapid.T) {
	config := s.session.shard.hub.Config()
	if time.Since(s.took) > config.StallTimeout {
		s.stalled = len(s.speech.broadcasts)
	}
	s.owed = s.holds("history")
	s.peer.tick()
	s.judge(t)
	// One tick may have seen to a stall.
	if s.owed && s.session.phase == open && s.holds("history") && time.Since(s.queued) > config.HistoryTake+time.Second {
		t.Fatalf("%s: has not taken its history for %s", s, time.Since(s.queued))
	}
}

// holds reports whether something of a type waits for the viewer.
func (s *hearer) holds(kind string) bool {
	return s.session.out != nil && slices.ContainsFunc(s.session.out.items, func(p private) bool {
		return bytes.Contains(p.frame, fmt.Appendf(nil, `"type":"%s"`, kind))
	})
}

// reaches reports whether the stream has got all before a place.
func (s *hearer) reaches(place int) bool {
	for p := s.place; p < place; p++ {
		if !s.loose || s.speech.order[p].number > 0 {
			return false
		}
	}
	return true
}

// lag returns how many bytes it is at most that were said from a place on.
func (s *hearer) lag(from int) (bytes int) { return s.speech.lag(from, s.numbered) }

func (p *speech) lag(from int, numbered bool) (bytes int) {
	for _, e := range p.order[from:] {
		bytes += maxHeader + len(e.text)
		if numbered {
			bytes += len(`{"seq":,`) + 20
		}
	}
	if numbered {
		bytes += p.crowd * len(`xx{"type":"viewers","viewers":100}`) * 2
	}
	return bytes
}
