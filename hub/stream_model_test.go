package hub

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// A relayModel is a relay, and the rooms and viewers that it has.
type relayModel struct {
	r        *testRelay
	random   *rand.Rand
	speeches []*speech
	streams  []*hearer // of viewers that are there or may come back
	written  int       // letters
}

// modelViewers is how many a room may have, modelPrivate more bytes than ever wait
// for one of them.
const (
	modelViewers = 6
	modelPrivate = 1 << 20
)

// TestEveryViewerHasTheHostsStream has viewers of all kinds come, read a little
// at a time, stall, ask for the history, be cut off at any byte and come back,
// while the record is trimmed all the time. Each one's stream is the host's,
// without a gap or anything twice, or it is told exactly what is missing.
func TestEveryViewerHasTheHostsStream(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		m := newRelayModel(t, rt)
		for range rapid.IntRange(1, 2).Draw(rt, "rooms") {
			m.create(rt)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				synctest.Wait() // what timers do is done now, or sequences could not be repeated
				m.listen(t)
			},
			"join":         m.join,
			"come back":    m.comeBack,
			"broadcast":    func(t *rapid.T) { m.broadcast(t, m.speech(t), rapid.IntRange(1, 3).Draw(t, "messages")) },
			"burst":        func(t *rapid.T) { m.broadcast(t, m.speech(t), rapid.IntRange(5, 20).Draw(t, "messages")) },
			"host goes":    m.hostGoes,
			"host resumes": func(t *rapid.T) { m.hostResumes(t, m.speech(t)) },
			"answer":       func(t *rapid.T) { m.speech(t).answer(t) },
			"write":        m.write,
			"ask":          m.ask,
			"read":         func(t *rapid.T) { m.stream(t).drain(rapid.IntRange(0, 5000).Draw(t, "bytes")) },
			"stall":        func(t *rapid.T) { s := m.stream(t); s.room = min(s.room, rapid.IntRange(0, 100).Draw(t, "bytes")) },
			"recover":      func(t *rapid.T) { m.stream(t).drain(plenty) },
			"ping":         func(t *rapid.T) { m.stream(t).frame(ws.OpPing, "p") },
			"cut off":      m.cutOff,
			"pass": func(t *rapid.T) {
				m.pass(t, rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 600 * time.Millisecond, freshFor, 3 * time.Second, 6 * time.Second, 35 * time.Second}).Draw(t, "time"))
			},
			"work": func(t *rapid.T) {
				w := m.r.workers[drawWorker(t, m.r)]
				for range rapid.IntRange(1, 10).Draw(t, "tasks") {
					w.step()
				}
			},
			"settle": m.settle,
		})
		m.end(rt)
	})
}

// newRelayModel draws a configuration in which everything that is kept is soon
// forgotten.
func newRelayModel(t *testing.T, rt *rapid.T) *relayModel {
	m := &relayModel{random: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))}
	m.r = newTestRelay(t, rapid.IntRange(1, 3).Draw(rt, "workers"), Config{
		HistoryEvery: time.Millisecond, HostGrace: 24 * time.Hour, UnjoinedGrace: 24 * time.Hour, MaxViewers: modelViewers, ViewerRate: 1 << 30,
		MaxHostMessage: 2000,
		MaxPrivate:     rapid.SampledFrom([]int{1000, modelPrivate, modelPrivate}).Draw(rt, "most private bytes"),
		HistoryTake:    rapid.SampledFrom([]time.Duration{3 * time.Second, 20 * time.Second, time.Minute}).Draw(rt, "to take a history in"),
		LagLimit:       rapid.SampledFrom([]int{4000, 8000, 30_000}).Draw(rt, "lag limit"),
		Retain:         rapid.SampledFrom([]int{1, 1000, 5000, 20_000, 1 << 20}).Draw(rt, "bytes retained"),
		RetainMessages: rapid.SampledFrom([]int{1, 5, 20, 1000}).Draw(rt, "messages retained"),
		RetainAge:      rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, time.Hour}).Draw(rt, "retained for"),
		RetainTotal:    rapid.SampledFrom([]int{1, 10_000, 1 << 20}).Draw(rt, "retained altogether"),
	})
	for _, w := range m.r.workers {
		w.spent = func() bool { return m.random.IntN(3) == 0 }
	}
	smallest := rapid.SampledFrom([]int{1, 100, 512}).Draw(rt, "smallest segment")
	largest := rapid.SampledFrom([]int{512, 2000, broadcast.MaxSegment}).Draw(rt, "largest segment")
	m.r.hub.newLog = func(seq uint64) *broadcast.Log {
		l := broadcast.New(seq)
		l.Bound(smallest, largest)
		return l
	}
	return m
}

// speech draws a room.
func (m *relayModel) speech(t *rapid.T) *speech {
	return rapid.SampledFrom(m.speeches).Draw(t, "room")
}

// stream draws a viewer that is in.
func (m *relayModel) stream(t *rapid.T) *hearer {
	var open []int
	for i, s := range m.streams {
		if s.session.room != nil {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		t.Skip("no viewer")
	}
	return m.streams[rapid.SampledFrom(open).Draw(t, "viewer")]
}

func (m *relayModel) listen(t *rapid.T) {
	for _, p := range m.speeches {
		p.watch(t)
		p.listen(t)
	}
	for _, s := range m.streams {
		s.listen(t)
	}
}

// run has everything carried out.
func (m *relayModel) run(t *rapid.T) {
	m.r.run()
	m.listen(t)
}

// settle has everything carried out. Who reads has got all then.
func (m *relayModel) settle(t *rapid.T) {
	m.run(t)
	for _, s := range m.streams {
		if s.peer.room > 0 && !s.asked && s.session.phase == open && (!s.started || !s.complete() || len(s.letters) > 0) {
			t.Fatalf("%s: not all has come, letters %v", s, s.letters)
		}
		s.hurry(t)
	}
	for _, p := range m.speeches {
		p.checkLogs(t)
	}
	m.streams = slices.DeleteFunc(m.streams, func(s *hearer) bool {
		done := s.over && s.replaced >= 0
		if done {
			s.reset()
		}
		return done || s.gone && s.token == "" // nothing to come back with
	})
}

// pass lets time go by, in which everybody who listens answers pings.
func (m *relayModel) pass(t *rapid.T, d time.Duration) {
	for ; d > 0; d -= time.Second {
		step := min(d, time.Second)
		time.Sleep(step)
		synctest.Wait()
		for _, w := range m.r.workers {
			w.now += uint32(step.Milliseconds())
		}
		for _, s := range m.streams {
			s.tick(t)
		}
		for _, p := range m.speeches {
			p.watch(t)
			if p.host != nil {
				p.host.tick()
			}
		}
	}
	for _, s := range m.streams {
		s.frame(ws.OpPong, "")
	}
	for _, p := range m.speeches {
		if p.host != nil {
			p.host.frame(ws.OpPong, "")
		}
	}
}

// end has everybody read, the hosts fall silent and the rooms close: all has
// come then.
func (m *relayModel) end(t *rapid.T) {
	for _, p := range m.speeches {
		if p.host == nil {
			m.hostResumes(t, p)
		}
	}
	for _, s := range m.streams {
		s.drain(plenty)
	}
	m.run(t)
	for range 3 { // the host is asked, then the record, which has been trimmed, and the host again
		m.pass(t, m.r.hub.Config().HistoryTimeout)
		m.run(t)
		m.pass(t, freshFor)
		m.run(t)
	}
	m.settle(t)
	for _, s := range m.streams {
		if !s.gone && s.session.phase == open && s.asked {
			t.Fatalf("%s: was never told the history", s)
		}
	}
	for _, p := range m.speeches {
		p.closed = true
		p.host.say(`{"type":"close"}`)
	}
	m.r.run()
	for _, s := range m.streams {
		if s.listen(t); !s.gone && !s.over {
			t.Fatalf("%s: no close frame", s)
		}
		s.reset()
	}
	for _, p := range m.speeches {
		p.host.reset()
	}
	m.r.run()
	m.r.sleep(time.Minute)
	if s := m.r.hub.Stats(); s.Viewers != 0 || s.Rooms != 0 || s.Stalled != 0 || s.Connections != 0 || s.LogBytes != 0 {
		t.Fatalf("left over: %+v", s)
	}
	for k := range budget.Kinds {
		if n := m.r.hub.budget.Used(k); n != 0 {
			t.Fatalf("%d bytes of %s are still counted", n, k)
		}
	}
}
