package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/broadcast"
)

// Which histories there are, and who may and who must get one that is there
// already.

// A historyModel is what was said and asked of a room's history.
type historyModel struct {
	answers      []answer
	tales        []*tale
	encoded      uint32    // how often the record was
	encodedAt    time.Time // at last
	questions    int       // that the host has not answered
	askedHost    time.Time // the host was, last, then at the earliest
	idle         time.Time // when it had heard all that there was to hear
	unanswered   time.Time // no waiting viewer asked before this time
	hosted       bool      // has had a host
	replacedHost bool      // the host is not the first connection
}

// A tale is a history as it was told: by the host, or from the record.
type tale struct {
	answer        int // the host's, -1 for the record
	covers, place int
	at            time.Time
	logs          map[encoding]*broadcast.Log // of that time; a viewer of a newer Log continues at the next broadcast
	newer         map[encoding]*tale          // the same for viewers of a newer Log, from when the first of them asks
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

	queued bool // it waits no longer
}

// answer has the host tell the history, though it may not be asked.
func (l *hall) answer(t *rapid.T) {
	if l.host != nil {
		l.host.listen(t)
	}
	if l.host == nil || l.questions == 0 && rapid.IntRange(0, 3).Draw(t, "dice") > 0 {
		return
	}
	a := answer{told: -1}
	a.text = fmt.Sprintf(` {"type":"history", "answer":%d,"commands":["%s"]}`, len(l.answers), filling(t, 0, 500, 1800))
	l.room.mu.Lock()
	open, put := l.room.history.request.open, l.room.history.request.sent
	l.room.mu.Unlock()
	if l.questions > 0 && l.relayTells {
		t.Fatalf("the host is asked what the relay tells")
	}
	n := len(l.answers)
	if put {
		a.told = len(l.tales)
	}
	l.answers = append(l.answers, a)
	l.host.say(a.text)
	l.host.speaks()
	if put {
		l.tales = append(l.tales, &tale{n, len(l.broadcasts), len(l.order), time.Now(), l.logs(), make(map[encoding]*tale)})
	}
	l.questions = 0
	if put || !open { // else it comes before the host is asked
		l.unanswered = time.Now()
	}
}

// watch notes that the relay has told the history. Nothing was said since.
func (l *hall) watch(t *rapid.T) {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	rec, n := &l.room.history.record, int(l.room.history.cached.number)
	at := l.room.hub.began.Add(rec.begun)
	if rec.number != l.encoded && (rec.number != l.encoded+1 || l.encoded > 0 && at.Before(l.encodedAt.Add(freshFor)) || at.After(time.Now())) {
		t.Fatalf("the record was encoded %d times, at last at %s; before that %d times, at last at %s", rec.number, at, l.encoded, l.encodedAt)
	}
	if n > len(l.tales) && rec.number == l.encoded+1 {
		l.tales = append(l.tales, &tale{-1, len(l.broadcasts), len(l.order), at, l.logs(), make(map[encoding]*tale)})
	}
	if l.encoded, l.encodedAt = rec.number, at; n != len(l.tales) {
		t.Fatalf("%d histories were told, want %d", n, len(l.tales))
	}
}

// logs returns the room's Logs by encoding. The caller holds the room's lock.
func (l *hall) logs() map[encoding]*broadcast.Log {
	all := make(map[encoding]*broadcast.Log)
	for _, st := range *l.room.streams.all.Load() {
		all[st.encoding] = st.log
	}
	return all
}

// question notes that a viewer asks, and what there is then.
func (l *hall) question() question {
	l.room.mu.Lock()
	if !l.room.history.request.open {
		l.unanswered = time.Now()
	}
	l.room.mu.Unlock()
	return question{at: time.Now(), open: l.unanswered, said: len(l.broadcasts), tales: len(l.tales)}
}

// keeps notes which history a viewer may get that was told before it asked. Who
// has just joined without one has got nothing since.
func (c *client) keeps(t *rapid.T, joins bool) {
	l := c.stream
	if len(l.tales) == 0 {
		return
	}
	last := l.tales[len(l.tales)-1]
	// It is dropped when more has been said since than may be held for it.
	told := &l.room.history.cached
	gone := told.frames[verbatim] == nil
	dropped := gone && l.lag(last.place, c.encoding()) > c.session.Config().LagLimit
	if dropped || time.Since(last.at) >= freshFor {
		return
	}
	if e := c.session.encoding; e != verbatim && last.logs[e] != c.session.log() { // its Log is newer, and was filled up from the record
		if last.newer[e] == nil {
			if _, there := c.session.log().At(uint64(last.covers) + 1); !there {
				return
			}
			newer := *last
			newer.place, newer.logs = l.before(last.covers+1), map[encoding]*broadcast.Log{e: c.session.log()}
			last.newer[e] = &newer
		}
		last = last.newer[e]
		if last.logs[e] != c.session.log() {
			t.Fatalf("%s: its Log is not the one that the history keeps", c)
		}
	}
	switch {
	case joins:
		c.asks.kept, c.asks.must = last, true
		c.number, c.place = last.covers, last.place
	case c.number <= last.covers:
		// It may have got notices since, or may be about to hear that it was moved on.
		c.asks.kept, c.asks.must = last, c.number < last.covers && (!l.skips || !c.started)
	}
}

// takes checks that a history is one that may be told to the viewer now, and goes
// on after it.
func (c *client) takes(t *rapid.T, text string, fits func(*tale) bool) {
	l := c.stream
	var found []*tale
	if c.asks.kept != nil && fits(c.asks.kept) {
		found = append(found, c.asks.kept)
	}
	for _, a := range l.tales[c.asks.tales:] {
		if fits(a) && !c.asks.must {
			found = append(found, a)
		}
	}
	if !c.asked || len(found) == 0 {
		t.Fatalf("%s: heard %.200s, which is not for it, but %+v must %v", c, text, c.asks.kept, c.asks.must)
	}
	a := found[0]
	if a.covers < c.number || a.place < c.ahead && l.order[c.ahead-1].number > 0 {
		t.Fatalf("%s: heard %.200s, which tells of %d only", c, text, a.covers)
	}
	c.asked, c.due = false, time.Time{}
	c.jump(a.covers, a.answer < 0 || c.numbered)
	if len(found) == 1 {
		c.place, c.loose = a.place, false
	}
	c.checkKnown(t)
}

// hearAnswer checks a history that the host told.
func (c *client) hearAnswer(t *rapid.T, e utterance, text string) {
	l, n := c.stream, *e.Answer
	if n >= len(l.answers) || l.relayTells {
		t.Fatalf("%s: heard %s, which nobody said", c, text)
	}
	want := l.answers[n].text
	if told := l.answers[n].told; told >= 0 && c.numbered {
		want = withNumber(l.tales[told].covers, want)
	}
	if text != want {
		t.Fatalf("%s: heard %s, want %s", c, text, want)
	}
	c.takes(t, text, func(a *tale) bool { return a.answer == n })
}

// hearRecord checks a history that the relay told.
func (c *client) hearRecord(t *rapid.T, e utterance, text string) {
	l := c.stream
	var messages []json.RawMessage
	if err := json.Unmarshal(e.Messages, &messages); err != nil {
		t.Fatal(err)
	}
	first := e.Seq - len(messages) + 1
	fits := func(a *tale) bool { return a.answer < 0 && a.covers == e.Seq }
	switch {
	case e.Seq > len(l.broadcasts), first < 1:
		t.Fatalf("%s: heard %.80s of %d to %d", c, text, first, e.Seq)
	case !l.relayTells && (first > 1 || !c.silent() && !(c.asks.kept != nil && fits(c.asks.kept)) && !(c.session.encoding != verbatim && slices.ContainsFunc(l.tales[c.asks.tales:], fits))):
		t.Fatalf("%s: heard %.80s of %d to %d in a room whose host tells it; %s since the question was open, changed %t, asks %+v", c, text, first, e.Seq, time.Since(c.asks.open), l.replacedHost, c.asks)
	case text != c.received(l.recordText(first, e.Seq)):
		t.Fatalf("%s: heard %s, want %s", c, text, l.recordText(first, e.Seq))
	}
	c.takes(t, text, fits)
}

// silent reports whether the record may answer for the host.
func (c *client) silent() bool {
	return c.stream.replacedHost || time.Since(c.asks.open) >= silentAfter
}

// hearUnavailable checks that neither the host nor the record could tell the
// history.
func (c *client) hearUnavailable(t *rapid.T, text string) {
	config := c.session.Config()
	late := c.stream.replacedHost || time.Since(c.asks.open) >= config.HistoryTimeout
	if !c.asked || c.asks.must || !(late && !c.stream.relayTells || c.lag(max(0, c.place-1)) > config.LagLimit) {
		t.Fatalf("%s: heard %s; late %t, %d bytes behind, %+v", c, text, late, c.lag(c.place), c.asks)
	}
	c.asked, c.due = false, time.Time{}
}

// hurry checks that nobody waits for long where the host is not asked. It is
// called when there is nothing to be done.
func (c *client) hurry(t *rapid.T) {
	switch {
	case !c.asked || c.peer.room == 0 || c.session.phase != open || !c.stream.relayTells && c.stream.host != nil:
		c.due = time.Time{}
	case c.due.IsZero():
		c.due = time.Now().Add(freshFor)
	case !time.Now().Before(c.due):
		t.Fatalf("%s: waits for the record since it asked %s ago", c, time.Since(c.asks.at))
	}
}

// hearRequest checks that a host is not asked too often.
func (l *hall) hearRequest(t *rapid.T) {
	if !l.askedHost.IsZero() && time.Since(l.askedHost) < freshFor {
		t.Fatalf("a host is asked again after %s at most", time.Since(l.askedHost))
	}
	l.askedHost = l.idle
	l.questions++
}

// asksNewHost notes that an open question is put again.
func (l *hall) asksNewHost() {
	l.replacedHost, l.hosted, l.questions = l.hosted, true, 0
	l.askedHost, l.idle = time.Time{}, time.Time{}
}

// recordText is the history that the relay tells.
func (l *hall) recordText(first, last int) string {
	var commands, messages []string
	for _, place := range l.broadcasts[first-1 : last] {
		e := l.order[place]
		messages = append(messages, e.text)
		if e.command != "" {
			commands = append(commands, e.command)
		}
	}
	text := fmt.Sprintf(`{"type":"history","commands":[%s],"messages":[%s],"seq":%d`, strings.Join(commands, ","), strings.Join(messages, ","), last)
	if first > 1 {
		text += `,"truncated":true`
	}
	return text + "}"
}
