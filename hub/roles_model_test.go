package hub

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// soakTime makes the model tests go on; see `make soak`.
var soakTime = flag.Duration("soak", 2*time.Second, "how long each model test of the rules runs, at least")

// TestEverybodyHearsWhatTheRulesSay does random things of the protocol, one
// after the other, and compares all that every client hears with a simple model
// of the rules.
func TestEverybodyHearsWhatTheRulesSay(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		w := newWorld(t, rt)
		w.create(rt, w.connect(rt)) // otherwise most actions would affect no client
		w.settle()
		for range 4 {
			idly(func(rt *rapid.T) { w.joinOne(rt, w.connect(rt)) })(rt)
			w.settle()
		}
		rt.Repeat(w.actions())
		w.end()
	})
}

// soak checks a property of random sequences in a bubble with its own time.
func soak(t *testing.T, property func(*testing.T, *rapid.T)) {
	t.Parallel()
	told := false
	for began, again := time.Now(), true; again && !t.Failed(); again = time.Since(began) < *soakTime {
		rapid.Check(t, func(rt *rapid.T) {
			var failure any // rapid's panics must not end the bubble's goroutine
			synctest.Test(t, func(t *testing.T) {
				defer func() { failure = recover() }()
				property(t, rt)
			})
			if failure != nil {
				if !told && fmt.Sprintf("%T", failure) != "rapid.invalidData" {
					told = true // rapid goes on to shrink it, and may end with another
					t.Logf("first failure: %v", failure)
				}
				panic(failure)
			}
		})
	}
}

// A world is the model: where each client is, and what each has yet to receive.
type world struct {
	rt      *rapid.T
	r       *testRelay
	clients []*client
	lessons []*lesson // all that there have been
	wrong   map[string]*tries
	grace   time.Duration
	hex     bool // codes are short
	said    int
}

// A client is one connection.
type client struct {
	*peer
	lesson  *lesson
	id      uint32 // 0 for a host
	granted bool   // is a host that has not spoken since it was made one
	dead    bool   // hears its end next
	blocked bool   // does not read
	drained bool   // has not read until now
	urgent  []expected
	ordered []expected
}

// expected is something to hear: a whole text, or its beginning and an
// asterisk.
type expected struct {
	text  string
	learn func(event)
}

// A lesson is a room. It is closed when no room has its code.
type lesson struct {
	code, epoch, secret string
	max                 int
	roster, closed      bool
	made                bool      // from outside
	shut                time.Time // when it was closed
	woken               bool      // its code does not rest any more

	token, granted string // of the host; of one that has not spoken
	host           *client
	viewers        map[uint32]*client
	names          map[uint32]string // also of viewers that have left
	tokens         map[uint32]string
	void           map[uint32]bool
	last           uint32
	seq            int
	ends           time.Time // when the wait for a host ends; zero while a host is there
	why            string

	joined, left map[uint32]int  // what the host may be told; how often it was so
	believed     map[uint32]bool // what it was told last of an id
	called       map[uint32]string
	muddled      bool // the host has not read: what it is told of is not clear
	told         time.Time
	quiet        time.Time // when the presence last changed
}

// tries are one address's wrong guesses, at most 20 a minute.
type tries struct {
	empty time.Time // when none of them counts any more
	codes map[string]time.Time
}

const (
	modelRooms  = 4
	modelGuests = 5
	modelIdle   = 10 * time.Minute
)

func newWorld(t *testing.T, rt *rapid.T) *world {
	w := &world{rt: rt, wrong: make(map[string]*tries)}
	w.grace = rapid.SampledFrom([]time.Duration{time.Minute, time.Minute, -1}).Draw(rt, "grace")
	w.hex = rapid.Bool().Draw(rt, "hex")
	w.r = newTestRelay(t, rapid.IntRange(1, 3).Draw(rt, "workers"), Config{
		HostGrace: w.grace, MaxRooms: modelRooms, MaxViewers: modelGuests, MaxName: 8, ViewerRate: 1 << 30, RoomIdle: modelIdle, HexCodes: w.hex,
	})
	return w
}

// settle lets the relay finish, and compares.
func (w *world) settle() {
	w.rt.Helper()
	w.r.run()
	synctest.Wait()
	w.r.run()
	for _, c := range w.clients {
		if !c.blocked {
			c.compare(w.rt)
		}
	}
	for _, c := range w.clients {
		switch l := c.lesson; {
		case l != nil && l.host == c && c.blocked:
			l.muddled = true
		case l != nil && l.host == c:
			l.checkPresence(w.rt)
		case len(c.presence) > 0 && !c.drained:
			w.rt.Fatalf("one that is no host is told %s", c.presence)
		}
		if !c.blocked {
			c.presence, c.drained = nil, false
		}
	}
	checkWhole(w.r.t, w.r)
	if w.r.t.Failed() {
		w.rt.Fatal("the rooms are not whole")
	}
	w.clients = slices.DeleteFunc(w.clients, func(c *client) bool {
		if c.dead && !c.blocked {
			c.reset()
		}
		return c.dead && !c.blocked
	})
}

// compare checks what has come against what was to come, in order: what is
// urgent may overtake what is not while a client does not read.
func (c *client) compare(t *rapid.T) {
	t.Helper()
	got := c.frames()
	want := append(c.urgent, c.ordered...)
	c.urgent, c.ordered = nil, nil
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !want[i].is(got[i]) {
			var texts []string
			for _, e := range want {
				texts = append(texts, e.text)
			}
			t.Fatalf("a client heard\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(texts, "\n\t"))
		}
		if want[i].learn != nil {
			e, err := parseEvent(got[i])
			if err != nil {
				t.Fatal(err)
			}
			want[i].learn(e)
		}
	}
}

func (e expected) is(got string) bool {
	if begin, open := strings.CutSuffix(e.text, "*"); open {
		return strings.HasPrefix(got, begin)
	}
	return got == e.text
}

// hear notes what the client is to hear in the room's order.
func (c *client) hear(format string, args ...any) {
	c.ordered = append(c.ordered, expected{text: fmt.Sprintf(format, args...)})
}

// wrongly notes an error, which is urgent.
func (c *client) wrongly(code, re string) {
	e := expected{text: `{"type":"error","error":"` + code + `",*`}
	e.learn = func(got event) {
		if got.Re != re || got.Message == "" {
			panic("wrong answer: " + got.text)
		}
	}
	c.urgent = append(c.urgent, e)
}

// urgently notes something else that is urgent.
func (c *client) urgently(text string) { c.urgent = append(c.urgent, expected{text: text}) }

// dies notes that the relay closes the connection.
func (c *client) dies(why string, code int) {
	c.hear(`{"type":"closed","reason":"%s"}`, why)
	c.hear("close %d", code)
	c.lesson, c.dead = nil, true
}

// everyone calls f for each viewer, in no order.
func (l *lesson) everyone(f func(*client)) {
	for _, v := range l.viewers {
		f(v)
	}
}

// wake lets the codes go that have rested for an hour. The relay does so when a
// room opens or closes.
func (w *world) wake() {
	for _, l := range w.lessons {
		l.woken = l.woken || l.closed && time.Since(l.shut) > restTime
	}
}

// close ends a lesson for all but a host that has closed it itself.
func (w *world) close(l *lesson, why string) {
	w.wake()
	l.closed, l.shut = true, time.Now()
	l.everyone(func(v *client) { v.dies(why, 4000) })
	if l.host != nil {
		l.host.dies(why, 4000)
	}
	l.host, l.viewers, l.ends = nil, nil, time.Time{}
}

// enters takes a viewer in.
func (l *lesson) enters(c *client, id uint32, name string) {
	if id == 0 {
		l.last++
		id = l.last
	} else if name == "" {
		name = l.names[id]
	}
	l.viewers[id], c.lesson, c.id, c.granted = c, l, id, false
	l.names[id] = name
	l.changed(l.joined, id)
}

// exits takes a viewer out.
func (l *lesson) exits(c *client) {
	delete(l.viewers, c.id)
	l.changed(l.left, c.id)
	c.lesson, c.id = nil, 0
}

// sits seats a host.
func (l *lesson) sits(c *client) {
	l.host, c.lesson, c.id, c.granted = c, l, 0, false
	l.ends = time.Time{}
	l.joined, l.left, l.quiet = make(map[uint32]int), make(map[uint32]int), time.Now()
	l.believed, l.called = make(map[uint32]bool), make(map[uint32]string)
	l.muddled = c.blocked || c.drained
}

// loses leaves the lesson without a host.
func (w *world) loses(l *lesson) {
	l.host.lesson, l.host.granted = nil, false
	l.host = nil
	if w.grace < 0 {
		w.close(l, "host_gone")
		return
	}
	l.everyone(func(v *client) { v.hear(hostLeftText) })
	grace := w.grace
	if l.last == 0 && !l.made {
		grace = min(grace, 15*time.Second)
	}
	l.ends, l.why = time.Now().Add(grace), "host_gone"
}

func (l *lesson) changed(what map[uint32]int, id uint32) {
	if what != nil {
		what[id]++
	}
	l.quiet = time.Now()
}

// checkPresence checks that the host is told of who joined and left, not too
// often, and in the end the right count.
func (l *lesson) checkPresence(t *rapid.T) {
	t.Helper()
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

// over reports whether an address has guessed too often.
func (w *world) over(who string) bool {
	g := w.wrong[who]
	return g != nil && time.Until(g.empty) > 57*time.Second
}

// shut reports whether no code from a client is looked at. Where codes are long
// it would take 10,000 guesses a second.
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

// clientAddresses are where clients come from; few, so that they share their guesses.
var clientAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}
