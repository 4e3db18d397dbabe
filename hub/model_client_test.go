package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"lectern/frame"
)

const opPong = ws.OpPong

// A client is one connection, and what it must hear next: what is urgent, what is
// for it alone, and its room's order from a place on.
type client struct {
	*peer
	w       *world
	hall    *hall  // where it is
	id      uint32 // 0 for a host
	granted bool   // is a host that has not spoken since it was made one
	dead    bool   // hears its end next
	drained bool   // has not read until now
	over    bool   // has heard its end
	slow    bool   // was closed for it, rightly

	urgent  []string
	private []letter
	ends    ending

	stream *hall // whose order it hears; it may have left
	place  int   // in the order
	until  int   // where its part in the order ends, -1 while it is a viewer
	loose  bool  // it may be further, by notices: a jump tells only its number
	number int   // of the last broadcast that it has had, or was told of otherwise
	ahead  int   // a letter came from there: a jump over this place must follow
	mark   int   // it had everything, or joined; what was said since counts as its lag

	numbered  bool
	requested bool   // an event stream
	refused   bool   // was not given one
	token     string // "" before it has one
	started   bool   // has heard joined
	known     int    // number, as its client knows it
	knows     bool
	back      bool // comes back,
	lastSeen  int  // with this number, -1 for none
	recovers  bool

	asked   bool // for the history, and has not been told
	asks    question
	took    time.Time
	stalled int       // the number of the last broadcast when it had not taken anything for too long, -1 for never
	queued  time.Time // when its history came
	owed    bool      // it waits for the viewer still
	due     time.Time // when the record must have come, zero if it need not
}

// A letter is a message to one client, or its beginning and an asterisk.
type letter struct {
	text  string
	place int // in the order
}

// An ending is why a connection will be closed.
type ending struct {
	reason string
	code   int
	place  int // in the order
	heard  bool
}

// String tells where the client is.
func (c *client) String() string {
	s := fmt.Sprintf("client %d (compact %v, event stream %v, numbered %v, asked %v, loose %v, ends %+v)", c.id, c.compact, c.peer.stream != nil, c.numbered, c.asked, c.loose, c.ends)
	if c.stream != nil {
		s += fmt.Sprintf(" at %d of %d, broadcast %d of %d", c.place, len(c.stream.order), c.number, len(c.stream.broadcasts))
	}
	return s
}

func (c *client) isHost() bool { return c.hall != nil && c.id == 0 }

// begins has the client hear a room's order from a place on.
func (c *client) begins(l *hall, place int) {
	c.stream, c.place, c.until, c.mark, c.loose, c.ahead = l, place, -1, place, false, 0
	for c.number = 0; c.number < len(l.broadcasts) && l.broadcasts[c.number] < place; {
		c.number++
	}
}

// end returns the end of what the client must hear of the order.
func (c *client) end() int {
	switch {
	case c.stream == nil:
		return 0
	case c.until >= 0:
		return c.until
	}
	return len(c.stream.order)
}

// hears notes a message to the client, at this place of the order.
func (c *client) hears(format string, args ...any) {
	c.private = append(c.private, letter{fmt.Sprintf(format, args...), c.end()})
}

// wrongly notes an error, which may overtake.
func (c *client) wrongly(code, re string) {
	text := `{"type":"error","error":"` + code + `",*`
	if re != "" {
		text += `"re":"` + re + `"`
	}
	c.urgent = append(c.urgent, text)
}

// dies notes that the relay closes the connection.
func (c *client) dies(why string, code int) {
	c.ends, c.dead = ending{reason: why, code: code, place: c.end()}, true
	if c.w.rules {
		c.until = c.end()
	}
	c.hall = nil
}

// leaves ends the client's part in the order.
func (c *client) leaves() {
	c.until, c.asked = c.end(), false
}

// is compares a text with one that may have an asterisk.
func is(got, want string) bool {
	begin, end, open := strings.Cut(want, "*")
	return got == want || open && strings.HasPrefix(got, begin) && strings.Contains(got, end)
}

// readsOn lets a client read on.
func (c *client) readsOn() {
	c.drained = c.drained || c.peer.room == 0
	c.drain(plenty)
}

// listen checks what has arrived.
func (c *client) listen(t *rapid.T) {
	if c.stream != nil {
		c.stream.watch(t)
		c.judge(t)
	}
	for _, text := range c.frames() {
		switch {
		case c.over:
			t.Fatalf("%s: after the close frame comes %.80s", c, text)
		case text == "refused" && c.refused && len(c.urgent) == 0:
			c.over = true
		case strings.HasPrefix(text, "close "):
			if text != fmt.Sprintf("close %d", c.ends.code) || !c.ends.heard {
				t.Fatalf("%s: %s", c, text)
			}
			c.over = true
		case strings.HasPrefix(text, "ping "), strings.HasPrefix(text, "pong "):
		default:
			c.hear(t, text)
		}
	}
	if len(c.presence) > 0 && !c.isHost() && !c.drained && c.w.rules {
		t.Fatalf("%s: no host, and is told %s", c, c.presence)
	}
	for _, text := range c.counts {
		if e, err := parseEvent(text); err != nil || !c.numbered || string(e.Viewers) > fmt.Sprint(c.stream.crowd) && c.stream.crowd < 10 {
			t.Fatalf("%s: is told %s of %d", c, text, c.stream.crowd)
		}
	}
	c.counts = nil
	if l := c.hall; l != nil && l.host == c && c.session.shard.Worker.(*testWorker).idle() {
		l.idle = time.Now()
	}
	c.checkLag(t)
}

// checkLag checks that the relay owes the viewer at most what the model knows of.
func (c *client) checkLag(t *rapid.T) {
	if c.stream == nil || !c.started || c.asked {
		return
	}
	if c.complete() {
		c.mark = c.place // notices behind a jump may still be due
	}
	if c.session.room == nil || c.session.cursor.IsZero() {
		return
	}
	due := int(c.session.behind())
	if c.session.lagAllowance { // the relay itself has put it behind, by its record at most
		due -= c.session.Config().recordLimit()
	}
	if due > c.lag(c.mark) {
		t.Fatalf("%s: %d bytes are due, the model knows of %d", c, due, c.lag(c.mark))
	}
}

// complete reports whether the client has heard all of the order.
func (c *client) complete() bool { return c.reaches(c.end()) }

// reaches reports whether the client has heard all before a place.
func (c *client) reaches(place int) bool {
	for p := c.place; p < place; p++ {
		if !c.loose || c.stream.order[p].number > 0 {
			return false
		}
	}
	return true
}

// lag returns how many bytes it is at most that were said from a place on.
func (c *client) lag(from int) int { return c.stream.lag(from, c.encoding()) }

// encoding returns the encoding that the client reads.
func (c *client) encoding() encoding {
	switch {
	case c.peer.stream != nil:
		return streamed
	case c.numbered:
		return numbered
	}
	return verbatim
}

// received returns a text as the client receives it: an event has no line breaks.
func (c *client) received(text string) string {
	if c.peer.stream != nil {
		text = strings.ReplaceAll(text, "\n", " ")
	}
	return text
}

// checkSettled checks that a client that reads has heard everything.
func (c *client) checkSettled(t *rapid.T) {
	if c.gone || c.peer.room == 0 {
		return
	}
	c.drained = false
	c.hurry(t)
	switch {
	case c.dead && !c.over:
		t.Fatalf("%s: its end has not come", c)
	case c.asked || c.over && !c.w.rules:
	case len(c.urgent)+len(c.private) > 0 || !c.over && !c.complete() || c.until >= 0 && !c.complete():
		t.Fatalf("%s: not all has come, %v, %v", c, c.urgent, c.private)
	}
}

// An utterance is what the relay says, with the fields that are looked at.
type utterance struct {
	Type, Reason, Error, Token string

	Seq      int
	Messages json.RawMessage // a count, or a list
	Answer   *int            // of a history that the host told
}

// hear checks one text.
func (c *client) hear(t *rapid.T, text string) {
	var e utterance
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: heard %q: %v", c, text, err)
	}
	switch {
	case c.ends.heard:
		t.Fatalf("%s: after closed comes %.80s", c, text)
	case e.Type == "closed" && c.ends.reason == e.Reason:
		c.hearClosed(t, e, text)
	case e.Error == "history_unavailable" && c.asked:
		c.hearUnavailable(t, text) // it may overtake joined
	case len(c.urgent) > 0 && is(text, c.urgent[0]):
		c.urgent = c.urgent[1:]
	case len(c.private) > 0 && is(text, c.private[0].text):
		c.hearLetter(t, e, text)
	case e.Type == "history_request" && c.hall != nil && c.hall.host == c:
		c.hall.hearRequest(t)
	case e.Error == "no_such_viewer" && c.isHost() && !c.w.rules: // it went meanwhile
	case c.stream == nil || !c.started && !c.w.rules:
		t.Fatalf("%s: heard %.200s, want %v, %v", c, text, c.urgent, c.private)
	case e.Type == "history" && e.Answer != nil:
		c.hearAnswer(t, e, text)
	case e.Type == "history":
		c.hearRecord(t, e, text)
	case e.Type == "skipped":
		c.hearSkipped(t, e, text)
	default:
		c.hearLine(t, e, text)
	}
}

// hearLine checks that a line is the next of the order.
func (c *client) hearLine(t *rapid.T, e utterance, text string) {
	l := c.stream
	for c.loose && c.place < c.end() && l.order[c.place].number == 0 && l.order[c.place].text != text {
		c.place++
	}
	if c.place == c.end() || c.ahead > c.place || c.w.rules && len(c.private) > 0 && c.private[0].place <= c.place {
		t.Fatalf("%s: heard %.80s, due are %v", c, text, c.private)
	}
	if c.asked && c.ends.reason == "" {
		if c.asks.halves--; c.asks.halves < 0 {
			t.Fatalf("%s: heard %.80s while it waits for the history", c, text)
		}
	}
	next := l.order[c.place]
	want := next.text
	if c.numbered && next.number > 0 {
		want = withNumber(next.number, want)
	}
	if text != want {
		t.Fatalf("%s: heard %.80q, want %.80q", c, text, want)
	}
	c.place++
	if next.number == 0 {
		return // still loose: there may have been more before the jump
	}
	c.loose, c.number = false, next.number
	c.known++
	if c.numbered {
		c.known, c.knows = e.Seq, true
	}
	c.checkKnown(t)
}

func (c *client) checkKnown(t *rapid.T) {
	if c.knows && c.known != c.number {
		t.Fatalf("%s: its client believes that it has %d", c, c.known)
	}
}

// hearSkipped checks that a viewer that was moved on is told what it missed.
func (c *client) hearSkipped(t *rapid.T, e utterance, text string) {
	l := c.stream
	queued := !c.asked || e.Seq <= c.asks.said // it is not moved on while it waits
	slow := c.lag(c.mark) > c.session.Config().LagLimit || e.Seq <= c.stalled
	if !l.skips || !queued || !slow || string(e.Messages) != fmt.Sprint(e.Seq-c.number) || e.Seq < c.number || e.Seq > len(l.broadcasts) {
		t.Fatalf("%s: heard %s, %d bytes behind", c, text, c.lag(c.mark))
	}
	c.jump(e.Seq, true)
	c.mark = c.place
}

// jump moves the client to the place after a broadcast, of which it is told.
func (c *client) jump(number int, told bool) {
	c.place, c.loose, c.number = c.stream.after(number), true, number
	c.known, c.knows = number, told
	c.ahead = 0
}

// hearLetter checks that a letter comes after what was said before it.
func (c *client) hearLetter(t *rapid.T, e utterance, text string) {
	l := c.private[0]
	c.private = c.private[1:]
	if e.Type == "joined" {
		c.started, c.known, c.knows, c.token = true, e.Seq, true, e.Token
	}
	for c.stream != nil && c.loose && c.place < l.place && c.stream.order[c.place].number == 0 {
		c.place++
	}
	if c.stream != nil && c.place < l.place { // it may well come later
		if c.ahead = l.place; c.w.rules {
			t.Fatalf("%s: heard %s before the order at %d", c, text, l.place)
		}
	}
}

// hearClosed checks that a connection ends when and as it must.
func (c *client) hearClosed(t *rapid.T, e utterance, text string) {
	allowed := false
	switch {
	case c.w.rules:
		allowed = len(c.private) == 0 && c.complete() && is(text, `{"type":"closed","reason":"`+c.ends.reason+`"}`)
	case e.Reason == "too_slow", e.Reason == "idle":
		allowed = c.slow
	case e.Reason == "replaced" && c.stream != nil:
		tooMuch := c.lag(max(0, c.place-1)) > c.session.Config().MaxPrivate
		allowed = c.reaches(c.ends.place) || tooMuch
	case e.Reason == "kicked", c.stream == nil:
		allowed = true
	default:
		allowed = c.complete()
	}
	if !allowed {
		t.Fatalf("%s: heard %s, slow %v, due are %v", c, text, c.slow, c.private)
	}
	c.ends.heard, c.private = true, nil
}

// judge checks that a viewer that has just been closed as too slow was.
func (c *client) judge(t *rapid.T) {
	l, config := c.stream, c.session.Config()
	if c.asked && !c.asks.queued && !c.session.has(flagParked) {
		c.asks.queued, c.queued = true, time.Now()
	}
	if c.slow || c.session.reason != ReasonTooSlow {
		c.judgeIdle(t)
		return
	}
	stalled := time.Since(c.took) > config.StallTimeout
	holds := c.owed && time.Since(c.queued) > config.HistoryTake
	if c.slow = holds || !l.skips && (stalled || c.lag(c.mark) > config.LagLimit); !c.slow {
		t.Fatalf("%s: closed as too slow, %d bytes behind, took some %s ago", c, c.lag(c.mark), time.Since(c.took))
	}
	c.sentAway("too_slow", 4100)
}

// judgeIdle checks that an event stream that has just been closed as idle was: its
// client answers no pings.
func (c *client) judgeIdle(t *rapid.T) {
	if c.slow || c.peer.stream == nil || c.session.reason != ReasonIdle {
		return
	}
	if c.slow = time.Since(c.took) > c.session.Config().IdleTimeout; !c.slow {
		t.Fatalf("%s: closed as idle, took some %s ago", c, time.Since(c.took))
	}
	c.sentAway("idle", 4102)
}

// sentAway notes that the relay has closed the connection for a reason of its own.
func (c *client) sentAway(why string, code int) {
	if c.isHost() {
		c.w.loses(c.hall)
	} else if c.hall != nil {
		c.hall.exits(c)
	}
	c.dead, c.ends = true, ending{reason: why, code: code, place: c.end()}
}

// passes has the relay look at the client's time limits.
func (c *client) passes(t *rapid.T) {
	if c.stream == nil {
		c.peer.tick()
		return
	}
	config := c.session.Config()
	if time.Since(c.took) > config.StallTimeout {
		c.stalled = len(c.stream.broadcasts)
	}
	c.owed = c.holds("history")
	blocked := c.session.has(flagBlocked)
	c.peer.tick()
	c.judge(t)
	if limit := config.LagLimit; c.session.room != nil && blocked && !c.session.cursor.IsZero() {
		if c.session.lagAllowance {
			limit += config.recordLimit()
		}
		if int(c.session.behind()) > limit {
			t.Fatalf("%s: is %d bytes behind, and stays", c, c.session.behind())
		}
	}
	// One tick may have seen to a stall.
	if c.owed && c.session.phase == open && c.holds("history") && time.Since(c.queued) > config.HistoryTake+time.Second {
		t.Fatalf("%s: has not taken its history for %s", c, time.Since(c.queued))
	}
}

// holds reports whether something of a type waits for the client.
func (c *client) holds(kind string) bool {
	return c.session.out != nil && slices.ContainsFunc(c.session.out.items, func(p private) bool {
		text := p.frame
		if p.shared != nil && c.peer.stream == nil && frame.IsCompressed(text) {
			text = []byte(inflated(c.relay.t, string(frame.Payload(text))))
		}
		return bytes.Contains(text, fmt.Appendf(nil, `"type":"%s"`, kind))
	})
}
