package hub

import (
	"flag"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

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
	a := host.session.room.audiences.of(host.session.shard)
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
