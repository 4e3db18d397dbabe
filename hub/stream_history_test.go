package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/broadcast"
)

// Which histories there are, and who may and who must get one that is there
// already.

// A tale is a history as it was told: by the host, or from the record.
type tale struct {
	answer        int // the host's, -1 for the record
	covers, place int
	at            time.Time
	numbered      *broadcast.Log // of that time; a viewer of a newer Log continues at the next broadcast
	newer         *tale          // the same for viewers of a newer Log, from when the first of them asks
}

// An answer is a history that the host has said.
type answer struct {
	text string
	told int // index in tales, -1 if no viewer waited for it
}

// A question is a viewer's for the history, and what there was when it asked.
type question struct {
	at     time.Time
	open   time.Time // the host was asked then at the earliest
	said   int       // broadcasts
	tales  int       // those from here on were told after it
	kept   *tale     // one that was told before, which it may get
	must   bool      // it gets that one
	halves int       // frames that the viewer may be in the middle of

	waits  int  // the order's length when it still had no answer
	queued bool // it waits no longer
}

// answer has the host tell the history, though it may not be asked.
func (p *speech) answer(t *rapid.T) {
	p.listen(t)
	if p.host == nil || p.questions == 0 && rapid.IntRange(0, 3).Draw(t, "dice") > 0 {
		return
	}
	a := answer{told: -1}
	a.text = fmt.Sprintf(` {"type":"history", "answer":%d,"commands":["%s"]}`, len(p.answers), filling(t, 0, 500, 1800))
	p.room.mu.Lock()
	open, put := p.room.history.request.open, p.room.history.request.sent
	p.room.mu.Unlock()
	if p.questions > 0 && p.relayTells {
		t.Fatalf("the host is asked what the relay tells")
	}
	n := len(p.answers)
	if put {
		a.told = len(p.tales)
	}
	p.answers = append(p.answers, a)
	p.host.say(a.text)
	if put {
		p.tales = append(p.tales, &tale{n, len(p.broadcasts), len(p.order), time.Now(), p.room.streams.in(numbered), nil})
	}
	p.questions = 0
	if put || !open { // else it comes before the host is asked
		p.unanswered = time.Now()
	}
}

// watch notes that the relay has told the history. Nothing was said since.
func (p *speech) watch(t *rapid.T) {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	c, n := &p.room.history.record, int(p.room.history.cached.number)
	at := p.room.hub.began.Add(c.begun)
	if c.number != p.encoded && (c.number != p.encoded+1 || p.encoded > 0 && at.Before(p.encodedAt.Add(freshFor)) || at.After(time.Now())) {
		t.Fatalf("the record was encoded %d times, at last at %s; before that %d times, at last at %s", c.number, at, p.encoded, p.encodedAt)
	}
	if n > len(p.tales) && c.number == p.encoded+1 {
		p.tales = append(p.tales, &tale{-1, len(p.broadcasts), len(p.order), at, p.room.streams.in(numbered), nil})
	}
	if p.encoded, p.encodedAt = c.number, at; n != len(p.tales) {
		t.Fatalf("%d histories were told, want %d", n, len(p.tales))
	}
}

// question notes that a viewer asks, and what there is then.
func (p *speech) question() question {
	p.room.mu.Lock()
	if !p.room.history.request.open {
		p.unanswered = time.Now()
	}
	p.room.mu.Unlock()
	return question{at: time.Now(), open: p.unanswered, said: len(p.broadcasts), tales: len(p.tales)}
}

// keeps notes which history a viewer may get that was told before it asked. Who
// has just joined without one has got nothing since.
func (s *hearer) keeps(t *rapid.T, joins bool) {
	p := s.speech
	if len(p.tales) == 0 {
		return
	}
	last := p.tales[len(p.tales)-1]
	// It is dropped when more has been said since than may be held for it.
	told := &p.room.history.cached
	gone := told.frames[verbatim] == nil
	dropped := gone && p.lag(last.place, s.numbered) > s.session.shard.hub.Config().LagLimit
	if dropped || time.Since(last.at) >= freshFor {
		return
	}
	if s.numbered && last.numbered != s.session.log() { // its Log is newer, and was filled up from the record
		if last.newer == nil {
			if _, there := s.session.log().At(uint64(last.covers) + 1); !there {
				return
			}
			newer := *last
			newer.place, newer.numbered = p.before(last.covers+1), s.session.log()
			last.newer = &newer
		}
		last = last.newer
		if last.numbered != s.session.log() {
			t.Fatalf("%s: its Log is not the one that the history keeps", s)
		}
	}
	switch {
	case joins:
		s.asks.kept, s.asks.must = last, true
		s.number, s.place = last.covers, last.place
	case s.number <= last.covers:
		// It may have got notices since, or may be about to hear that it was moved on.
		s.asks.kept, s.asks.must = last, s.number < last.covers && (!p.skips || !s.started)
	}
}

// takes checks that a history is one that may be told to the viewer now, and goes
// on after it.
func (s *hearer) takes(t *rapid.T, text string, fits func(*tale) bool) {
	p := s.speech
	var found []*tale
	if s.asks.kept != nil && fits(s.asks.kept) {
		found = append(found, s.asks.kept)
	}
	for _, a := range p.tales[s.asks.tales:] {
		if fits(a) && !s.asks.must {
			found = append(found, a)
		}
	}
	if !s.asked || len(found) == 0 {
		t.Fatalf("%s: heard %.200s, which is not for it, but %+v must %v", s, text, s.asks.kept, s.asks.must)
	}
	a := found[0]
	if a.covers < s.number || a.place < s.ahead && p.order[s.ahead-1].number > 0 {
		t.Fatalf("%s: heard %.200s, which tells of %d only", s, text, a.covers)
	}
	s.asked, s.due = false, time.Time{}
	s.jump(a.covers, a.answer < 0 || s.numbered)
	if len(found) == 1 {
		s.place, s.loose = a.place, false
	}
	s.checkKnown(t)
}

// hearAnswer checks a history that the host told.
func (s *hearer) hearAnswer(t *rapid.T, e utterance, text string) {
	p, n := s.speech, *e.Answer
	if n >= len(p.answers) || p.relayTells {
		t.Fatalf("%s: heard %s, which nobody said", s, text)
	}
	want := p.answers[n].text
	if told := p.answers[n].told; told >= 0 && s.numbered {
		want = withNumber(p.tales[told].covers, want)
	}
	if text != want {
		t.Fatalf("%s: heard %s, want %s", s, text, want)
	}
	s.takes(t, text, func(a *tale) bool { return a.answer == n })
}

// hearRecord checks a history that the relay told.
func (s *hearer) hearRecord(t *rapid.T, e utterance, text string) {
	p := s.speech
	var messages []json.RawMessage
	if err := json.Unmarshal(e.Messages, &messages); err != nil {
		t.Fatal(err)
	}
	first := e.Seq - len(messages) + 1
	fits := func(a *tale) bool { return a.answer < 0 && a.covers == e.Seq }
	switch {
	case e.Seq > len(p.broadcasts), first < 1:
		t.Fatalf("%s: heard %.80s of %d to %d", s, text, first, e.Seq)
	case !p.relayTells && (first > 1 || !s.silent() && !(s.asks.kept != nil && fits(s.asks.kept)) && !(s.numbered && slices.ContainsFunc(p.tales[s.asks.tales:], fits))):
		t.Fatalf("%s: heard %.80s of %d to %d in a room whose host tells it; %s since the question was open, changed %t, asks %+v", s, text, first, e.Seq, time.Since(s.asks.open), p.changed, s.asks)
	case text != p.record(first, e.Seq):
		t.Fatalf("%s: heard %s, want %s", s, text, p.record(first, e.Seq))
	}
	s.takes(t, text, fits)
}

// silent reports whether the record may answer for the host.
func (s *hearer) silent() bool {
	return s.speech.changed || time.Since(s.asks.open) >= silentAfter
}

// hearUnavailable checks that neither the host nor the record could tell the
// history.
func (s *hearer) hearUnavailable(t *rapid.T, text string) {
	config := s.session.shard.hub.Config()
	late := s.speech.changed || time.Since(s.asks.open) >= config.HistoryTimeout
	if !s.asked || s.asks.must || !(late && !s.speech.relayTells || s.lag(max(0, s.place-1)) > config.LagLimit) {
		t.Fatalf("%s: heard %s; late %t, %d bytes behind, %+v", s, text, late, s.lag(s.place), s.asks)
	}
	s.asked, s.due = false, time.Time{}
}

// hurry checks that nobody waits for long where the host is not asked. It is
// called when there is nothing to be done.
func (s *hearer) hurry(t *rapid.T) {
	switch {
	case !s.asked || s.peer.room == 0 || s.session.phase != open || !s.speech.relayTells && s.speech.host != nil:
		s.due = time.Time{}
	case s.due.IsZero():
		s.due = time.Now().Add(freshFor)
	case !time.Now().Before(s.due):
		t.Fatalf("%s: waits for the record since it asked %s ago", s, time.Since(s.asks.at))
	}
}
