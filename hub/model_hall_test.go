package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/broadcast"
	"lectern/hub/registry"
)

// A hall is the model of a room: who is in it, and all that was said to everybody,
// in order. It is closed when no room has its code.
type hall struct {
	w                         *world
	room                      *Room
	code, epoch, secret       string
	max                       int
	roster, relayTells, skips bool
	made                      bool // over HTTP

	closed bool
	shut   time.Time // when it was closed
	woken  bool      // its code does not rest any more

	token, granted string // of the host; of a new host that has not spoken
	host           *client
	viewers        map[uint32]*client
	names          map[uint32]string // also of viewers that have left
	tokens         map[uint32]string
	void           map[uint32]bool
	last           uint32
	ends           time.Time // when the wait for a host ends; zero while a host is there
	why            string

	order      []line
	broadcasts []int // the place of each in order
	crowd      int   // how often anybody came

	presenceModel
	historyModel
}

// A line is a broadcast, or a notice that has no number.
type line struct {
	text    string
	number  int
	command string // the data, if it is a command
}

// notices adds a notice to the order.
func (l *hall) notices(format string, args ...any) {
	l.order = append(l.order, line{text: fmt.Sprintf(format, args...)})
}

// after returns the place after a broadcast.
func (l *hall) after(number int) int {
	if number == 0 {
		return 0
	}
	return l.broadcasts[number-1] + 1
}

// before returns the place before a broadcast, or before what is to come.
func (l *hall) before(number int) int {
	if number <= len(l.broadcasts) {
		return l.broadcasts[number-1]
	}
	return len(l.order)
}

// lag returns how many bytes of a Log it is at most that were said from a place on.
func (l *hall) lag(from int, in encoding) (bytes int) {
	longer := maxHeader
	switch in {
	case numbered:
		longer += len(`{"seq":,`) + 20
	case streamed:
		longer = len("id: 0123456789ab-\nevent: host_changed\ndata: \n\n") + 20
	}
	for _, e := range l.order[from:] {
		bytes += longer + len(e.text)
	}
	if in != verbatim {
		bytes += l.crowd * (longer + len(`{"type":"viewers","viewers":100}`)) * 2
	}
	return bytes
}

// present returns the ids of the viewers, in order.
func (l *hall) present() (ids []uint32) {
	for id := range l.viewers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// enters takes a viewer in, as it is told. An id of 0 stands for a new one.
func (l *hall) enters(c *client, id uint32, name string) {
	if id == 0 {
		l.last++
		id = l.last
	} else if name == "" {
		name = l.names[id]
	}
	l.viewers[id], c.hall, c.id, c.granted = c, l, id, false
	l.names[id] = name
	l.crowd++
	l.changed(l.joined, id)
	c.begins(l, len(l.order))
}

// exits takes a viewer out.
func (l *hall) exits(c *client) {
	if l.viewers[c.id] == c {
		delete(l.viewers, c.id)
		l.changed(l.left, c.id)
	}
	c.hall, c.id = nil, 0
}

// seats makes a client the host.
func (l *hall) seats(c *client) {
	l.host, c.hall, c.id, c.granted = c, l, 0, false
	l.ends = time.Time{}
	l.tellsNewHost(c.peer.room == 0 || c.drained)
	l.asksNewHost()
}

// loses leaves the hall without a host.
func (w *world) loses(l *hall) {
	l.host.hall, l.host.granted = nil, false
	l.host, l.replacedHost, l.questions = nil, true, 0
	if w.grace < 0 {
		w.close(l, "host_gone")
		return
	}
	grace := w.grace
	if l.last == 0 && !l.made {
		grace = min(grace, w.r.hub.Config().UnjoinedGrace)
	}
	l.notices(`{"type":"host_left","grace_ms":%d}`, grace.Milliseconds())
	l.ends, l.why = time.Now().Add(grace), "host_gone"
}

// close ends a room for all but a host that has closed it itself.
func (w *world) close(l *hall, why string) {
	w.wake()
	l.closed, l.shut = true, time.Now()
	for _, v := range l.viewers {
		v.dies(why, 4000)
	}
	if l.host != nil {
		l.host.dies(why, 4000)
	}
	l.host, l.viewers, l.ends = nil, nil, time.Time{}
}

// wake lets the codes go that have rested for an hour. The relay does so when a
// room opens or closes.
func (w *world) wake() {
	for _, l := range w.halls {
		l.woken = l.woken || l.closed && time.Since(l.shut) > registry.RestTime
	}
}

func (w *world) open() (n int) {
	for _, l := range w.halls {
		if !l.closed {
			n++
		}
	}
	return n
}

// checkLogs checks that each encoding is written that somebody wants, or may want
// to go on from a history that was told within freshFor, no other, and that it is
// trimmed like the record.
func (l *hall) checkLogs(t *rapid.T) {
	if l.closed {
		return
	}
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	wants, counted, lately := make(map[encoding]int), make(map[encoding]int), 0
	for a := range l.room.audiences.each {
		for _, s := range a.members {
			wants[s.encoding]++
		}
	}
	for _, st := range *l.room.streams.all.Load() {
		counted[st.encoding] = st.wants
	}
	for _, a := range l.tales {
		if time.Since(a.at) <= freshFor {
			lately++
		}
	}
	record := l.room.streams.encoding()
	for e := range l.room.hub.encodings {
		e, log := encoding(e), l.room.streams.in(encoding(e))
		kept := counted[e] - wants[e]
		// A history keeps the Logs that there were when it was told.
		if most := counted[record] - wants[record]; kept < 0 || kept > min(most, lately) || e != record && (log != nil) != (counted[e] > 0) {
			t.Fatalf("the room counts %v, there are %v, and %d histories", counted, wants, lately)
		}
		if e == record || log == nil {
			continue
		}
		oldest, before := l.room.streams.oldest(), log.Oldest()
		log.Trim(broadcast.Retention{From: oldest.Seq() + 1})
		if after := log.Oldest(); after.Seq() != before.Seq() {
			t.Fatalf("the Log in encoding %d begins after %d, the record after %d", e, before.Seq(), oldest.Seq())
		}
	}
}

// A presenceModel is what a host may and must be told of its viewers.
type presenceModel struct {
	joined, left map[uint32]int  // how often an id joined or left under this host
	believed     map[uint32]bool // what the host was told last of an id
	called       map[uint32]string
	muddled      bool // the host has not read: what it is told of is not clear
	told         time.Time
	quiet        time.Time // when the presence last changed
}

func (p *presenceModel) tellsNewHost(muddled bool) {
	*p = presenceModel{make(map[uint32]int), make(map[uint32]int), make(map[uint32]bool), make(map[uint32]string), muddled, p.told, time.Now()}
}

func (p *presenceModel) changed(what map[uint32]int, id uint32) {
	if what != nil {
		what[id]++
	}
	p.quiet = time.Now()
}

// checkPresence checks that the host is told of who joined and left, not too
// often, and in the end the right count.
func (l *hall) checkPresence(t *rapid.T) {
	if l.host == nil {
		return
	}
	l.muddled = l.muddled || l.host.peer.room == 0
	now := time.Now()
	for _, text := range l.host.presence {
		e, err := parseEvent(text)
		if err != nil {
			t.Fatal(err)
		}
		if since := now.Sub(l.told); since < presenceEvery && !l.muddled {
			t.Fatalf("%s comes %s after the one before", text, since)
		}
		if l.told = now; l.muddled {
			l.told = time.Time{} // it came some time ago
		}
		for _, v := range e.Joined {
			l.called[v.ID] = v.Name
			if l.believed[v.ID] = true; l.joined[v.ID] == 0 && !l.muddled {
				t.Fatalf("%s, but %d did not join", text, v.ID)
			}
		}
		for _, id := range e.Left {
			if l.believed[id] = false; l.left[id] == 0 && !l.muddled {
				t.Fatalf("%s, but %d did not leave", text, id)
			}
		}
		if now.Sub(l.quiet) > 0 && !l.muddled && string(e.Viewers) != fmt.Sprint(len(l.viewers)) {
			t.Fatalf("%s, but there are %d", text, len(l.viewers))
		}
	}
	if now.Sub(l.quiet) < presenceEvery || l.muddled {
		return
	}
	for _, untold := range []map[uint32]int{l.joined, l.left} {
		for id := range untold {
			if there := l.viewers[id] != nil; l.believed[id] != there {
				t.Fatalf("the host believes that %d is there: %v", id, l.believed[id])
			} else if there && l.called[id] != l.names[id] {
				t.Fatalf("the host knows %d as %q, it is %q", id, l.called[id], l.names[id])
			}
		}
	}
}

// tries are one address's wrong guesses, at most 20 a minute.
type tries struct {
	empty time.Time // when none of them counts any more
	codes map[string]time.Time
}

// over reports whether an address has guessed too often.
func (w *world) over(who string) bool {
	g := w.wrong[who]
	return g != nil && time.Until(g.empty) > 57*time.Second
}

// shut reports whether no code from a client is looked at. Where codes are long it
// would take 10,000 guesses a second.
func (w *world) shut(c *client) bool { return w.hex && w.over(c.from.String()) }

// guess counts a wrong guess; of codes, each once a minute.
func (w *world) guess(who, code string) {
	g := w.wrong[who]
	if g == nil {
		g = &tries{codes: make(map[string]time.Time)}
		w.wrong[who] = g
	}
	now := time.Now()
	if code != "" && now.Before(g.codes[code]) {
		return
	}
	g.codes[code] = now.Add(time.Minute)
	if g.empty.Before(now) {
		g.empty = now
	}
	g.empty = g.empty.Add(3 * time.Second)
}

// withNumber returns a text as viewers that asked for numbers receive it.
func withNumber(number int, text string) string {
	_, fields, _ := strings.Cut(text, "{")
	return fmt.Sprintf(`{"seq":%d,%s`, number, fields)
}
