package hub

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestEventStreamIsKeptAwake lets silence go by, in which proxies would end it.
func TestEventStreamIsKeptAwake(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	v := r.streamViewer(0, code)
	r.pass(5*time.Minute, v)
	if n := strings.Count(string(v.wire), ":\n\n"); n != 5*60/16 {
		t.Errorf("%d comments in 5 minutes", n)
	}
	if v.ended {
		t.Error("it was closed, although it cannot answer pings")
	}
}

// TestEventStreamThatIsNotRead is closed as too slow, or as idle where viewers are moved
// on instead.
func TestEventStreamThatIsNotRead(t *testing.T) {
	for slow, want := range map[string]Reason{"close": ReasonTooSlow, "skip": ReasonIdle} {
		t.Run(slow, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			host := r.dial(0)
			host.say(`{"type":"create","slow":"` + slow + `"}`)
			r.run()
			v := r.streamViewer(0, host.session.room.code.String())
			v.room = 10
			host.say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
			r.run()
			r.pass(2*time.Minute, v)
			if v.session.reason != want || !v.gone {
				t.Errorf("ended %s, gone %t", v.session.reason, v.gone)
			}
		})
	}
}

// TestEventStreamWhoseClientSpeaks sends more requests on the connection, and then a
// flood.
func TestEventStreamWhoseClientSpeaks(t *testing.T) {
	r := newTestRelay(t, 1, Config{ViewerRate: 10})
	host, code := r.host(0)
	v := r.dialStream(0, clientAddresses[0])
	request := streamRequest(code, "", "")
	v.bytes([]byte(request + request + "garbage"))
	v.bytes([]byte(request))
	host.say(`{"type":"command","data":1}`)
	v.hears(`{"type":"joined",*`, `{"seq":1,"type":"command","data":1}`)
	for range 10 {
		v.bytes(make([]byte, 1<<16))
	}
	v.hears(`{"type":"error","error":"too_many_errors",*`, `{"type":"closed","reason":"too_many_errors"}`, "close 4429")
}

// TestIdleEventStreamAllocatesNothing has one be kept awake, and deliver.
func TestIdleEventStreamAllocatesNothing(t *testing.T) {
	synctest.Test(t, testIdleEventStream)
}

func testIdleEventStream(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	s := r.streamViewer(0, code).session
	time.Sleep(5 * time.Second) // the number of viewers is told
	r.run()
	s.Tick() // drops what the join needed
	if s.more != nil || s.out != nil {
		t.Errorf("an idle stream holds more %v and out %v", s.more, s.out)
	}
	allocs := testing.AllocsPerRun(100, func() {
		r.workers[0].now += 16_000
		s.Tick()
		if n := sendAll(s); n != len(comment) {
			t.Fatalf("%d bytes were due", n)
		}
	})
	if allocs > 0 {
		t.Errorf("a comment takes %v allocations", allocs)
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.streams.append(Broadcast{Epoch: s.room.epoch, Seq: 1, Payload: []byte(`{"type":"command","data":1}`)}, nil)
	if allocs := testing.AllocsPerRun(1, func() { sendAll(s) }); allocs > 0 {
		t.Errorf("a delivery takes %v allocations", allocs)
	}
}

// nowhere is a connection that keeps nothing.
type nowhere struct{}

func (nowhere) Flush()           {}
func (nowhere) Peer() netip.Addr { return netip.Addr{} }

// TestIdleEventStreamTakesAsMuchAsAWebSocket compares halls of idle viewers.
func TestIdleEventStreamTakesAsMuchAsAWebSocket(t *testing.T) {
	const viewers = 3000
	once := func(enter func(s *Session, code string)) int {
		r := newTestRelay(t, 1, Config{})
		_, code := r.host(0)
		all := make([]*Session, viewers)
		before := heapInUse()
		for i := range all {
			all[i] = r.hub.NewSession(0, nowhere{})
			enter(all[i], code)
		}
		r.run()
		r.workers[0].now += 2 * second
		for _, s := range all {
			s.Tick()
			sendAll(s)
			if s.Role() != Viewer || s.more != nil || s.out != nil {
				t.Fatalf("role %d, more %v, out %v", s.Role(), s.more, s.out)
			}
		}
		bytes := int(heapInUse()-before) / viewers
		runtime.KeepAlive(all)
		return bytes
	}
	// What other tests have left may be freed meanwhile, which makes a figure too low.
	each := func(enter func(s *Session, code string)) int {
		return max(once(enter), once(enter), once(enter))
	}
	socket := each(func(s *Session, code string) {
		s.Receive([]byte(testHead))
		sendAll(s)
		s.Receive(appendMasked(nil, `{"type":"join","code":"`+code+`"}`))
		sendAll(s)
	})
	stream := each(func(s *Session, code string) {
		s.Receive([]byte(streamRequest(code, "", "")))
		sendAll(s)
	})
	if stream > socket+100 {
		t.Errorf("an event stream takes %d bytes, a WebSocket %d", stream, socket)
	}
	t.Logf("an event stream takes %d bytes, a WebSocket %d", stream, socket)
}

// heapInUse returns the bytes that are reachable.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
