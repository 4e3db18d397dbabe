package hub

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// A listener is the model of a viewer: what it must hear next.
type listener struct {
	*peer
	room    *modelRoom
	next    int  // the broadcast that comes next on its stream
	asked   bool // waits for a history
	started bool // has heard joined
	over    bool // has heard the close frame
	slow    bool // has been told that it is too slow
}

// A modelRoom is a host and the numbers that it has broadcast.
type modelRoom struct {
	host   *peer
	code   string
	sent   int
	closed bool
}

// broadcastText is broadcast n of a room. Sizes vary, so that segments and
// frame headers of every kind come up.
func broadcastText(n int) string {
	return fmt.Sprintf(`{"type":"command","data":{"n":%d,"fill":"%s"}}`, n, strings.Repeat("x", n*n*37%3000))
}

// TestEveryStreamIsTheHosts drives rooms, viewers that read a little at a time,
// stop, ask for the history and go, and workers that are interrupted anywhere,
// and checks every byte that a viewer gets.
func TestEveryStreamIsTheHosts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newTestRelay(t, rapid.IntRange(1, 3).Draw(rt, "workers"), Config{
			HistoryTimeout: time.Hour, HistoryEvery: time.Millisecond, HostGrace: -1, ViewerRate: 1 << 30, LagLimit: modelLag, MaxHostMessage: 4000, MaxPrivate: 5000,
		})
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for _, w := range r.workers {
			w.spent = func() bool { return random.IntN(3) == 0 }
		}
		var (
			rooms []*modelRoom
			all   []*listener
		)
		pick := func(t *rapid.T) *listener {
			if len(all) == 0 {
				t.Skip("nobody there")
			}
			return rapid.SampledFrom(all).Draw(t, "viewer")
		}
		pickRoom := func(t *rapid.T) *modelRoom {
			if len(rooms) == 0 {
				t.Skip("no room")
			}
			return rapid.SampledFrom(rooms).Draw(t, "room")
		}
		answer := func(m *modelRoom) {
			for _, text := range m.host.frames() {
				if text == `{"type":"history_request"}` && !m.closed {
					m.host.say(fmt.Sprintf(`{"type":"history","commands":[],"covers":%d}`, m.sent))
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				for _, l := range all {
					l.check(rt)
				}
			},
			"create": func(t *rapid.T) {
				if len(rooms) < 3 {
					host, code := r.host(drawWorker(t, r))
					rooms = append(rooms, &modelRoom{host: host, code: code})
				}
			},
			"join": func(t *rapid.T) {
				m := pickRoom(t)
				p := r.dial(drawWorker(t, r))
				p.cut = func() int { return 1 + random.IntN(2000) }
				l := &listener{peer: p, room: m, next: m.sent + 1, asked: rapid.Bool().Draw(t, "history")}
				p.say(fmt.Sprintf(`{"type":"join","code":"%s","history":%v}`, m.code, l.asked))
				all = append(all, l)
			},
			"broadcast": func(t *rapid.T) {
				m := pickRoom(t)
				for range rapid.IntRange(1, 8).Draw(t, "messages") {
					if !m.closed {
						m.sent++
						m.host.say(broadcastText(m.sent))
					}
				}
			},
			"work": func(t *rapid.T) {
				w := r.workers[drawWorker(t, r)]
				for range rapid.IntRange(1, 10).Draw(t, "tasks") {
					w.step()
				}
			},
			"read": func(t *rapid.T) { pick(t).drain(rapid.IntRange(0, 9000).Draw(t, "bytes")) },
			"stop": func(t *rapid.T) {
				l := pick(t)
				l.peer.room = min(l.peer.room, rapid.IntRange(0, 100).Draw(t, "bytes"))
			},
			"ask": func(t *rapid.T) {
				l := pick(t)
				if l.started && !l.asked && l.session.phase == open && l.session.room != nil {
					r.pass(2*time.Millisecond, l.peer)
					l.asked = true
					l.say(`{"type":"history_request"}`)
				}
			},
			"answer": func(t *rapid.T) { answer(pickRoom(t)) },
			"tick":   func(t *rapid.T) { pick(t).tick() },
			"ping": func(t *rapid.T) {
				if l := pick(t); l.session.phase == open && l.started {
					l.frame(ws.OpPing, "p")
				}
			},
			"settle": func(t *rapid.T) {
				r.run()
				for _, l := range all {
					l.check(t)
					// A socket that is not full has taken everything.
					if l.peer.room > 0 && l.started && !l.asked && !l.gone && !l.slow && l.next != l.room.sent+1 {
						t.Fatalf("a viewer that reads was left at %d of %d", l.next, l.room.sent)
					}
				}
			},
			"reset": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "dice") == 0 {
					pick(t).reset()
				}
			},
			"close": func(t *rapid.T) {
				m := pickRoom(t)
				if !m.closed && rapid.IntRange(0, 9).Draw(t, "dice") == 0 {
					m.closed = true
					m.host.say(`{"type":"close"}`)
				}
			},
		})

		// In the end everybody reads, and has got everything.
		for _, m := range rooms {
			r.run()
			answer(m)
			if !m.closed {
				m.closed = true
				m.host.say(`{"type":"close"}`)
			}
		}
		r.run()
		for _, l := range all {
			l.drain(plenty)
			l.check(rt)
			switch {
			case l.gone || l.slow:
			case !l.started: // it joined a room that was closed already
			case l.next != l.room.sent+1:
				rt.Fatalf("the stream ended before %d of %d", l.next, l.room.sent)
			case !l.over:
				rt.Fatalf("no close frame")
			}
			l.reset()
		}
		for _, m := range rooms {
			m.host.reset()
		}
		r.run()
		if s := r.hub.Stats(); s.Viewers != 0 || s.Rooms != 0 || s.Stalled != 0 || s.Connections != 0 || s.LogBytes != 0 {
			rt.Fatalf("left over: %+v", s)
		}
	})
}

// TestMain makes the model tests long enough to get into trouble.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.steps": "150", "rapid.checks": "200"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

func drawWorker(t *rapid.T, r *testRelay) int {
	return rapid.IntRange(0, len(r.workers)-1).Draw(t, "worker")
}

// check compares what arrived with the model.
func (l *listener) check(t *rapid.T) {
	for _, text := range l.frames() {
		if l.over {
			t.Fatalf("after the close frame comes %.80s", text)
		}
		covers, isHistory := strings.CutPrefix(text, `{"type":"history","commands":[],"covers":`)
		switch {
		case strings.HasPrefix(text, `{"type":"joined","code":"`+l.room.code+`",`) && !l.started:
			// It begins before what was said when it joined if there is a history of
			// a moment ago.
			var joined struct{ Seq int }
			if err := json.Unmarshal([]byte(text), &joined); err != nil || joined.Seq >= l.next || !l.asked && joined.Seq != l.next-1 {
				t.Fatalf("joined at %d when broadcast %d was next: %v", joined.Seq, l.next, err)
			}
			l.started, l.next = true, joined.Seq+1
		case text == broadcastText(l.next) && l.started && !l.slow:
			l.next++
		case isHistory && l.asked:
			n, _ := strconv.Atoi(strings.TrimSuffix(covers, "}"))
			if n < l.next-1 {
				t.Fatalf("a history of %d after broadcast %d", n, l.next-1)
			}
			l.next, l.asked = n+1, false
		case text == "pong p":
		case text == `{"type":"closed","reason":"too_slow"}`:
			l.slow = true
		case text == "close 4100" && l.slow:
			l.over = true
		case text == `{"type":"closed","reason":"host_closed"}` && l.room.closed && l.next == l.room.sent+1:
		case text == "close 4000" && l.room.closed:
			l.over = true
		case strings.HasPrefix(text, `{"type":"error","error":"room_not_found"`) && !l.started && l.room.closed:
		case strings.HasPrefix(text, `{"type":"error","error":"history_unavailable"`) && (l.room.closed || l.asked && l.behind() > modelLag):
			l.asked = false
		default:
			t.Fatalf("heard %.100s when broadcast %d of %d was next (asked %v, started %v)", text, l.next, l.room.sent, l.asked, l.started)
		}
	}
}

// modelLag is the lag limit of TestEveryStreamIsTheHosts.
const modelLag = 40_000

// behind returns how many bytes have been said at most that the viewer had not had
// in whole when it was told what it has just heard.
func (l *listener) behind() (bytes int) {
	for n := max(1, l.next-1); n <= l.room.sent; n++ {
		bytes += maxHeader + len(broadcastText(n))
	}
	return bytes
}

// A busyWorker is a worker with a goroutine of its own, for the race detector.
type busyWorker struct {
	testWorker
	stop atomic.Bool
	done sync.WaitGroup
}

func startBusyWorkers(n int) (all []*busyWorker, workers []Worker) {
	for range n {
		w := new(busyWorker)
		w.done.Go(func() {
			for w.step() || !w.stop.Load() {
				runtime.Gosched()
			}
		})
		all, workers = append(all, w), append(workers, w)
	}
	return all, workers
}

// startBusyRoom starts a relay on busy workers, and a room whose host is on the
// first of them and has heard that it is open.
func startBusyRoom(t *testing.T, workers int, config Config, create string) (r *testRelay, busy []*busyWorker, host *peer, code string) {
	busy, all := startBusyWorkers(workers)
	r = &testRelay{t: t, hub: newHub(config, all)}
	busy[0].do(func() {
		host = r.dial(0)
		host.say(create)
		code = host.session.room.code.String()
		host.frames()
	})
	return r, busy, host, code
}

// do runs f on the worker and waits for it.
func (w *busyWorker) do(f func()) {
	done := make(chan struct{})
	w.Post(func() bool {
		f()
		close(done)
		return false
	})
	<-done
}

// TestRoomsComeAndGoAtOnce creates and closes ten thousand rooms while viewers
// join them by codes that may be about to go, under the race detector.
func TestRoomsComeAndGoAtOnce(t *testing.T) {
	const rooms, hosts = 10_000, 4
	busy, workers := startBusyWorkers(hosts)
	r := &testRelay{t: t, hub: newHub(Config{ViewerRate: 1 << 30, MaxConnectionsPerAddress: 2 * rooms, HostRequestRate: 1 << 30}, workers)}
	codes := make(chan string, 64)
	var all sync.WaitGroup
	var joined atomic.Int64
	for i, w := range busy {
		all.Go(func() {
			var host *peer
			w.do(func() { host = r.dial(i) })
			for range rooms / hosts {
				w.do(func() {
					host.say(`{"type":"create"}`)
					code := host.session.room.code.String()
					select {
					case codes <- code:
					default:
					}
					host.say(`{"type":"command","data":1}`)
				})
				w.do(func() {
					host.say(`{"type":"command","data":2}`)
					host.say(`{"type":"close"}`)
					host.wire = nil
				})
			}
			w.do(host.reset)
		})
	}
	hostsDone := make(chan struct{})
	go func() { all.Wait(); close(hostsDone) }()
	var viewers sync.WaitGroup
	for i, w := range busy {
		viewers.Go(func() {
			for {
				select {
				case code := <-codes:
					w.do(func() {
						p := r.dial(i)
						p.say(`{"type":"join","code":"` + code + `"}`)
						if strings.Contains(string(p.wire), `"joined"`) {
							joined.Add(1)
						}
					})
				case <-hostsDone:
					return
				}
			}
		})
	}
	viewers.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
	if joined.Load() == 0 {
		t.Error("nobody ever joined")
	}
	if s := r.hub.Stats(); s.Rooms != 0 || s.Viewers != 0 || s.LogBytes != 0 {
		t.Errorf("left over: %d rooms, %d viewers", s.Rooms, s.Viewers)
	}
}

// TestJoinedComesFirst has viewers join while their host, on another worker,
// never stops talking.
func TestJoinedComesFirst(t *testing.T) {
	busy, workers := startBusyWorkers(2)
	r := &testRelay{t: t, hub: newHub(Config{}, workers)}
	var host *peer
	busy[0].do(func() {
		host = r.dial(0)
		host.say(`{"type":"create"}`)
	})
	code := host.session.room.code.String()
	var over atomic.Bool
	var speaking sync.WaitGroup
	speaking.Go(func() {
		for !over.Load() {
			busy[0].do(func() { host.say(`{"type":"command","data":1}`) })
		}
	})
	for range 3000 {
		busy[1].do(func() {
			v := r.dial(1)
			v.say(`{"type":"join","code":"` + code + `"}`)
			if all := v.frames(); len(all) == 0 || !strings.HasPrefix(all[0], `{"type":"joined"`) {
				t.Errorf("the first that a viewer hears is %q", all[:min(1, len(all))])
			}
			v.reset()
		})
	}
	over.Store(true)
	speaking.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
}

// TestRoomClosesWhileThousandsJoin checks that each of them is either let in,
// and then told of the end, or told that there is no such room.
func TestRoomClosesWhileThousandsJoin(t *testing.T) {
	const workers, perWorker = 4, 1000
	r, busy, host, code := startBusyRoom(t, workers, Config{ViewerRate: 1 << 30}, `{"type":"create"}`)
	peers := make([][]*peer, workers)
	var joining sync.WaitGroup
	for i, w := range busy {
		joining.Go(func() {
			for j := range perWorker {
				w.do(func() {
					p := r.dial(i)
					p.say(`{"type":"join","code":"` + code + `"}`)
					peers[i] = append(peers[i], p)
				})
				if i == 0 && j == perWorker/2 {
					w.do(func() { host.say(`{"type":"close"}`) })
				}
			}
		})
	}
	joining.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
	in, out := 0, 0
	for _, some := range peers {
		for _, p := range some {
			switch got := strings.Join(p.frames(), " "); {
			case strings.HasPrefix(got, `{"type":"joined","code":"`+code+`",`) && strings.HasSuffix(got, `} {"type":"closed","reason":"host_closed"} close 4000`):
				in++
			case strings.HasPrefix(got, `{"type":"error","error":"room_not_found"`):
				out++
			default:
				t.Fatalf("a viewer heard %s", got)
			}
		}
	}
	if in == 0 || out == 0 {
		t.Errorf("%d got in and %d did not: the test did not meet the moment", in, out)
	}
}

// A sink is a connection whose socket takes everything.
type sink struct{ session *Session }

func (*sink) Peer() netip.Addr { return netip.Addr{} }

func (c *sink) Flush() {
	for p := c.session.Next(); len(p) > 0; p = c.session.Next() {
		c.session.Sent(len(p), false)
	}
}

// TestDeliveryAllocatesNothing counts what a broadcast to many allocates: what
// it takes to append it, and nothing for any viewer.
func TestDeliveryAllocatesNothing(t *testing.T) {
	const viewers, broadcasts = 1000, 100
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	for range viewers {
		r.viewer(0, code).session.conn = new(sink)
	}
	a := host.session.room.audience(host.session.shard)
	for _, s := range a.members {
		s.conn.(*sink).session = s
	}
	message := newMasked(`{"type":"command","data":"some text that is not very long"}`)
	chunk := make([]byte, len(message))
	n := testing.AllocsPerRun(broadcasts, func() {
		copy(chunk, message)
		host.session.Receive(chunk)
		r.run()
	})
	if got := r.hub.Stats().Delivered; got < viewers*broadcasts {
		t.Fatalf("only %d delivered", got)
	}
	if n > 10 {
		t.Errorf("%v allocations for a broadcast to %d viewers", n, viewers)
	}
}
