package hub

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// This is the model of rooms: what each client must hear next, given what all of
// them have done. Each test below is a mix of actions. In the mix of rules the
// relay finishes after each action, so the model knows all that a client hears. In
// the mix of streams workers stop anywhere, sockets are cut at any byte, and the
// model knows the limits of what may come.

// soakTime makes the model tests go on; see `make soak`.
var soakTime = flag.Duration("soak", 2*time.Second, "how long each model test of the rules runs, at least")

// TestEverybodyHearsWhatTheRulesSay does random things of the protocol, one after
// the other, and compares all that every client hears with the rules.
func TestEverybodyHearsWhatTheRulesSay(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		w := newWorld(t, rt, true)
		w.create(rt, w.connectHost(rt)) // otherwise most actions would affect no client
		w.settle(rt)
		for range 4 {
			w.idly(func(rt *rapid.T) { w.joinOne(rt, w.connect(rt)) })(rt)
			w.settle(rt)
		}
		rt.Repeat(w.mix(w.settle, w.rulesActions()))
		w.end(rt)
	})
}

// TestEveryViewerHasTheHostsStream has viewers of all kinds come, read a little
// at a time, stall, ask for the history, be cut off at any byte and come back,
// while the record is trimmed all the time. Each viewer's stream is the host's,
// without a gap or anything twice, or the viewer is told exactly what is missing.
func TestEveryViewerHasTheHostsStream(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		w := newWorld(t, rt, false)
		for range rapid.IntRange(1, 2).Draw(rt, "rooms") {
			w.create(rt, w.connectHost(rt))
		}
		rt.Repeat(w.mix(w.waitAndListen, w.streamActions()))
		w.end(rt)
	})
}

// TestRolesChangeWhileViewersStream has hosts and viewers change their roles while
// viewers read a little at a time, ask for the history and come back.
func TestRolesChangeWhileViewersStream(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		w := newWorld(t, rt, false)
		w.create(rt, w.connectHost(rt))
		actions := w.streamActions()
		for name, act := range w.rolesActions() {
			if w.r.hub.Config().MaxPrivate < modelPrivate {
				break // what waits for one client would be refused
			}
			actions[name] = func(rt *rapid.T) {
				w.settle(rt)
				act(rt)
				w.settle(rt)
			}
		}
		rt.Repeat(w.mix(w.waitAndListen, actions))
		w.end(rt)
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

// A world is a relay, its rooms and its clients.
type world struct {
	r       *testRelay
	rules   bool // the relay finishes after each action
	random  *rand.Rand
	halls   []*hall // all that there have been
	clients []*client
	wrong   map[string]*tries
	grace   time.Duration
	hex     bool // codes are short
	said    int
}

const (
	modelRooms  = 4
	modelGuests = 6 // viewers that a room may have
	modelIdle   = 10 * time.Minute
	// modelPrivate is more bytes than ever wait for one client.
	modelPrivate = 1 << 20
)

// newWorld draws a configuration. That of streams soon forgets everything.
func newWorld(t *testing.T, rt *rapid.T, rules bool) *world {
	w := &world{rules: rules, wrong: make(map[string]*tries), random: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)), grace: 24 * time.Hour}
	workers := rapid.IntRange(1, 3).Draw(rt, "workers")
	if rules {
		w.grace = rapid.SampledFrom([]time.Duration{time.Minute, time.Minute, -1}).Draw(rt, "grace")
		w.hex = rapid.Bool().Draw(rt, "hex")
		w.r = newTestRelay(t, workers, Config{
			CompressMin: -1, HostGrace: w.grace, MaxRooms: modelRooms, MaxViewers: modelGuests, MaxName: 8, ViewerRate: 1 << 30, RoomIdle: modelIdle, HexCodes: w.hex,
		})
		return w
	}
	w.r = newTestRelay(t, workers, Config{
		CompressMin:  rapid.SampledFrom([]int{-1, 100, 256}).Draw(rt, "least to compress"),
		HistoryEvery: time.Millisecond, HostGrace: w.grace, UnjoinedGrace: w.grace, MaxViewers: modelGuests, ViewerRate: 1 << 30, MaxHostMessage: 2000, MaxName: 8,
		MaxPrivate:     rapid.SampledFrom([]int{1000, modelPrivate, modelPrivate}).Draw(rt, "most private bytes"),
		HistoryTake:    rapid.SampledFrom([]time.Duration{3 * time.Second, 20 * time.Second, time.Minute}).Draw(rt, "to take a history in"),
		LagLimit:       rapid.SampledFrom([]int{4000, 8000, 30_000}).Draw(rt, "lag limit"),
		Retain:         rapid.SampledFrom([]int{1, 1000, 5000, 20_000, 1 << 20}).Draw(rt, "bytes retained"),
		RetainMessages: rapid.SampledFrom([]int{1, 5, 20, 1000}).Draw(rt, "messages retained"),
		RetainAge:      rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, time.Hour}).Draw(rt, "retained for"),
		RetainTotal:    rapid.SampledFrom([]int{1, 10_000, 1 << 20}).Draw(rt, "retained altogether"),
	})
	for _, worker := range w.r.workers {
		worker.spent = func() bool { return w.random.IntN(3) == 0 }
	}
	smallest := rapid.SampledFrom([]int{1, 100, 512}).Draw(rt, "smallest segment")
	largest := rapid.SampledFrom([]int{512, 2000, broadcast.MaxSegment}).Draw(rt, "largest segment")
	w.r.hub.newLog = func(seq uint64) *broadcast.Log {
		l := broadcast.New(seq)
		l.Bound(smallest, largest)
		return l
	}
	return w
}

// mix returns the actions of a test, each of which may be idle, and what is checked
// after each.
func (w *world) mix(check func(*rapid.T), actions map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": check}
	for name, act := range actions {
		all[name] = w.idly(act)
	}
	return all
}

// idle is the panic of an action that has nothing to do. Rapid's own Skip ends a
// sequence when there are too many.
type idle struct{}

// idly lets an action be idle.
func (w *world) idly(act func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		defer func() {
			if r := recover(); r != nil && r != (idle{}) {
				panic(r)
			}
		}()
		act(t)
	}
}

// rare skips an action except once in so many times.
func rare(t *rapid.T, times int) {
	if times > 1 && rapid.IntRange(1, times).Draw(t, "rare") > 1 {
		panic(idle{})
	}
}

// clientAddresses are where clients come from; few, so that they share their guesses.
var clientAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}

// connect returns a new client of some kind.
func (w *world) connect(t *rapid.T) *client {
	if rapid.IntRange(0, 3).Draw(t, "event stream") == 0 {
		return w.connectBy(t, w.r.dialStream)
	}
	return w.connectHost(t)
}

// connectHost returns a new client that can speak.
func (w *world) connectHost(t *rapid.T) *client {
	switch kind := rapid.SampledFrom([]string{"plain", "compressed", "compact"}).Draw(t, "client"); {
	case kind == "compressed":
		return w.connectBy(t, w.r.dialDeflate)
	case kind == "compact" && w.rules:
		return w.connectBy(t, w.r.dialCompact)
	}
	return w.connectBy(t, w.r.dialFrom)
}

func (w *world) connectBy(t *rapid.T, dial func(worker int, from netip.Addr) *peer) *client {
	if len(w.clients) >= 14 {
		panic(idle{})
	}
	from := clientAddresses[0]
	if w.rules {
		from = rapid.SampledFrom(clientAddresses).Draw(t, "address")
	}
	c := &client{w: w, peer: dial(drawWorker(t, w.r), from), stalled: -1, lastSeen: -1, took: time.Now()}
	if !w.rules {
		c.cut = func() int {
			if c.peer.room > 0 || !c.session.has(flagBlocked) {
				c.took = time.Now()
			}
			return 1 + w.random.IntN(1500)
		}
	}
	w.clients = append(w.clients, c)
	return c
}

// A requiredRole is what a client must be to do something, as the model has it.
type requiredRole uint8

const (
	anywhere requiredRole = iota
	outside               // in no room
	inside                // in a room
	asHost
	asViewer
)

// client draws a client that has the role.
func (w *world) client(t *rapid.T, by requiredRole) *client {
	var some []int
	for i, c := range w.clients {
		if !c.dead && !c.gone && (by == anywhere || (c.hall == nil) == (by == outside) && (by != asHost || c.isHost()) && (by != asViewer || !c.isHost())) {
			some = append(some, i)
		}
	}
	if len(some) == 0 && by == outside {
		return w.connectHost(t)
	}
	if len(some) == 0 {
		panic(idle{})
	}
	return w.clients[rapid.SampledFrom(some).Draw(t, "client")]
}

// hall draws a room, sometimes a closed one.
func (w *world) hall(t *rapid.T) *hall {
	var some []int
	closed := w.rules && rapid.IntRange(0, 9).Draw(t, "closed") == 0
	for i, l := range w.halls {
		if l.closed == closed {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		panic(idle{})
	}
	return w.halls[rapid.SampledFrom(some).Draw(t, "room")]
}

// listen checks what every client has heard.
func (w *world) listen(t *rapid.T) {
	for _, l := range w.halls {
		l.watch(t)
	}
	for _, c := range w.clients {
		c.listen(t)
	}
}

// waitAndListen is listen when timers have done what they do now, or sequences could
// not be repeated.
func (w *world) waitAndListen(t *rapid.T) {
	synctest.Wait()
	w.listen(t)
}

// run has everything carried out.
func (w *world) run(t *rapid.T) {
	w.r.run()
	w.listen(t)
}

// settle has everything carried out. Clients that read have heard all then.
func (w *world) settle(t *rapid.T) {
	w.r.run()
	synctest.Wait()
	w.run(t)
	for _, c := range w.clients {
		c.checkSettled(t)
	}
	for _, l := range w.halls {
		if w.rules {
			l.checkPresence(t)
		} else {
			l.checkLogs(t)
		}
	}
	if w.rules {
		if checkWhole(w.r.t, w.r); w.r.t.Failed() {
			t.Fatal("the rooms are not whole")
		}
	}
	w.clients = slices.DeleteFunc(w.clients, func(c *client) bool {
		c.presence = nil
		if c.over && (w.rules || c.ends.reason == "replaced") {
			c.reset()
			return true
		}
		return c.gone && (w.rules || c.token == "") // nothing to come back with
	})
}

// end has everybody read, the hosts fall silent and the rooms close, and checks
// that all has come then and nothing is left.
func (w *world) end(t *rapid.T) {
	for _, c := range slices.Clone(w.clients) {
		c.readsOn()
	}
	w.settle(t)
	for range 3 { // the host is asked, then the record, which has been trimmed, and the host again
		if w.rules {
			break
		}
		w.pass(t, w.r.hub.Config().HistoryTimeout)
		w.run(t)
		w.pass(t, freshFor)
		w.run(t)
	}
	w.settle(t)
	for _, c := range w.clients {
		if !c.gone && !c.dead && c.session.phase == open && c.asked {
			t.Fatalf("%s: was never told the history", c)
		}
	}
	for _, l := range w.halls {
		if !l.closed {
			w.r.hub.DeleteRoom(l.code)
			w.close(l, "deleted")
		}
	}
	w.settle(t)
	for _, c := range w.clients {
		c.reset()
	}
	w.r.run()
	w.r.sleep(time.Minute)
	if s := w.r.hub.Stats(); s.Viewers != 0 || s.Rooms != 0 || s.Stalled != 0 || s.Connections != 0 || s.Streams != 0 || s.LogBytes != 0 {
		t.Fatalf("left over: %+v", s)
	}
	for range 2 {
		w.r.hub.Tend()
	}
	for k := range budget.Kinds {
		if n := w.r.hub.budget.Used(k); n != 0 {
			t.Fatalf("%d bytes of %s are still counted", n, k)
		}
	}
}

// pass lets time go by, in which everybody who listens answers pings.
func (w *world) pass(t *rapid.T, d time.Duration) {
	for ; d > 0; d -= time.Second {
		step := min(d, time.Second)
		time.Sleep(step)
		synctest.Wait()
		for _, worker := range w.r.workers {
			worker.now += uint32(step.Milliseconds())
		}
		for _, c := range w.clients {
			c.passes(t)
		}
	}
	for _, c := range w.clients {
		c.frame(opPong, "")
	}
}

// filling draws a string of one of the lengths.
func filling(t *rapid.T, lengths ...int) string {
	return strings.Repeat("x", rapid.SampledFrom(lengths).Draw(t, "filling"))
}
