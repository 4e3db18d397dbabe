package hub

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lectern/frame"
	"lectern/hub/budget"
)

// upgrades has a peer finish its handshake, and reports whether it could.
func (p *peer) upgrades() bool {
	p.bytes([]byte(testHead))
	return strings.HasPrefix(string(p.wire), "HTTP/1.1 101 ")
}

// TestSilentConnectionsMakeRoom has strangers take all the handshakes that may
// be, and say nothing.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	const limit, honest = 300, 100
	for name, workers := range map[string]struct {
		all    int
		silent func(i int) int // on which worker
	}{
		"one worker":     {1, func(int) int { return 0 }},
		"both workers":   {2, func(i int) int { return i % 2 }},
		"another worker": {2, func(int) int { return 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, workers.all, Config{MaxHandshaking: limit})
			var strangers []*peer
			for i := range 2 * limit {
				strangers = append(strangers, r.connect(workers.silent(i)))
				r.pass(time.Millisecond)
			}
			r.run()
			if n := r.hub.Stats().Handshaking; n != limit {
				t.Fatalf("%d shake hands, want %d", n, limit)
			}
			for i, p := range strangers {
				if p.gone != (i < limit) {
					t.Fatalf("stranger %d of %d: gone %v", i, len(strangers), p.gone)
				}
			}
			if wire := string(strangers[0].wire); !strings.HasPrefix(wire, "HTTP/1.1 503 ") || !strings.Contains(wire, "\r\nRetry-After: ") {
				t.Errorf("who made room was answered %q", wire)
			}
			var all []*peer
			for range honest {
				all = append(all, r.connect(0))
				r.run()
			}
			for i, p := range all {
				if !p.upgrades() {
					t.Fatalf("honest client %d was answered %q", i, p.wire)
				}
			}
			if n := r.hub.Refusals()["handshakes_full"]; n != limit+honest {
				t.Errorf("%d refusals are counted, want %d", n, limit+honest)
			}
			for _, p := range strangers {
				p.reset()
			}
			if n := r.hub.Stats().Handshaking; n != 0 {
				t.Errorf("%d still shake hands", n)
			}
			for _, s := range r.hub.shards {
				if n := s.silent.count.Load(); n != 0 {
					t.Errorf("%d are still silent", n)
				}
			}
		})
	}
}

// TestHeadsUnderWayMakeRoom has the limit be reached by heads that have begun.
// For a while they are safe.
func TestHeadsUnderWayMakeRoom(t *testing.T) {
	const limit = 100
	r := newTestRelay(t, 1, Config{MaxHandshaking: limit})
	begin := func() *peer {
		p := r.connect(0)
		p.bytes([]byte(testHead[:1]))
		p.Flush()
		return p
	}
	var all []*peer
	for range limit {
		all = append(all, begin())
	}
	honest := all[limit-1]
	late := begin()
	if !strings.HasPrefix(string(late.wire), "HTTP/1.1 503 ") || !late.gone {
		t.Errorf("one more was answered %q, gone %v", late.wire, late.gone)
	}
	if honest.bytes([]byte(testHead[1:])); !strings.HasPrefix(string(honest.wire), "HTTP/1.1 101 ") {
		t.Errorf("a head in two parts was answered %q", honest.wire)
	}
	begin()
	r.pass(headTime, all...)
	r.workers[0].now++
	for i := range limit - 1 {
		if p := r.connect(0); !p.upgrades() {
			t.Fatalf("client %d was answered %q", i, p.wire)
		}
		if all[0].gone != true || i < limit-2 && all[limit-2].gone {
			t.Fatal("it is not the oldest that makes room")
		}
		begin() // so that the handshakes are full again
	}
	if n := r.hub.Refusals()["handshakes_full"]; n != limit {
		t.Errorf("%d refusals are counted, want %d", n, limit)
	}
	if n := r.hub.shards[0].begun.count.Load(); n != limit {
		t.Errorf("%d are under way, want %d", n, limit)
	}
}

// TestALowerLimitOfHandshakes is lowered while more are under way.
func TestALowerLimitOfHandshakes(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxHandshaking: 10})
	var all []*peer
	for i := range 10 {
		p := r.connect(0)
		if i%2 == 0 {
			p.bytes([]byte("G"))
		}
		all = append(all, p)
	}
	r.hub.Configure(Config{MaxHandshaking: 3})
	r.pass(4*time.Second, all...)
	if n := r.hub.Stats().Handshaking; n != 3 {
		t.Errorf("%d shake hands, want 3", n)
	}
}

// TestWhoLingersMakesRoom has peers that do not close after a refusal, and heads
// that are not complete, hold all the connections that the transport may have.
func TestWhoLingersMakesRoom(t *testing.T) {
	crowded := false
	r := newTestRelay(t, 1, Config{Crowded: func() bool { return crowded }})
	p := r.connect(0)
	p.bytes([]byte("no HTTP\r\n\r\n"))
	begun := r.connect(0)
	begun.bytes([]byte("G"))
	r.pass(3*time.Second, p, begun)
	if p.gone || begun.gone {
		t.Error("they are gone, although there is room")
	}
	crowded = true
	r.pass(2*time.Second, p, begun)
	if !p.gone || !strings.HasPrefix(string(p.wire), "HTTP/1.1 400 ") {
		t.Errorf("it is there, and was answered %q", p.wire)
	}
	if !begun.gone || !strings.HasPrefix(string(begun.wire), "HTTP/1.1 503 ") {
		t.Errorf("half a head is there, and was answered %q", begun.wire)
	}
}

// TestACrowdedTransport has silent connections make room before the limit of
// handshakes is reached.
func TestACrowdedTransport(t *testing.T) {
	crowded := false
	r := newTestRelay(t, 1, Config{Crowded: func() bool { return crowded }})
	first, second := r.connect(0), r.connect(0)
	r.pass(2 * silentTime)
	crowded = true
	if p := r.connect(0); !p.upgrades() || !first.gone || second.gone {
		t.Errorf("answered %q; the first gone %v, the second gone %v", p.wire, first.gone, second.gone)
	}
	for range 2 { // for the last of them there is no connection to displace
		if p := r.connect(0); !p.upgrades() {
			t.Errorf("answered %q", p.wire)
		}
	}
	if !second.gone {
		t.Error("the second is there")
	}
	// Who has just come may have sent its head, which is not read yet.
	all := []*peer{r.connect(0), r.connect(0), r.connect(0)}
	for i, p := range all {
		if !p.upgrades() {
			t.Errorf("number %d of those who came at once was answered %q", i, p.wire)
		}
	}
}

// TestASilenceTakesLittle has connections come, speak and go beside one that
// stays silent.
func TestASilenceTakesLittle(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	silent := r.connect(0)
	q := &r.hub.shards[0].silent
	for range 10_000 {
		p := r.connect(0)
		p.upgrades()
		p.reset()
		if n := cap(q.queue); n > 8*minPassed {
			t.Fatalf("the queue of one has room for %d", n)
		}
	}
	if got := q.oldest(); got != silent.session {
		t.Errorf("the oldest is %p, want %p", got, silent.session)
	}
}

// TestHeadsAreInTheBudget ends handshakes in every way, and finds that nothing
// is left in the budget.
func TestHeadsAreInTheBudget(t *testing.T) {
	const plainHead = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n"
	takes := func(Conn, netip.Addr, []byte) error { return nil }
	for name, c := range map[string]struct {
		config Config
		head   string
		end    func(*testRelay, *peer)
		status string // of the answer, empty for none
	}{
		"upgraded":    {Config{}, testHead, nil, "101"},
		"refused":     {Config{}, "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n", nil, "426"},
		"not HTTP":    {Config{}, "GET / HTTP/1.1\r\nno field\r\n\r\n", nil, "400"},
		"unknown":     {Config{}, strings.Replace(testHead, "/", "/nowhere", 1), nil, "404"},
		"plain":       {Config{Plain: takes}, plainHead, nil, ""},
		"no plain":    {Config{}, plainHead, nil, "404"},
		"plain fails": {Config{Plain: func(Conn, netip.Addr, []byte) error { return fmt.Errorf("no descriptor") }}, plainHead, nil, "503"},
		"too large":   {Config{MaxHead: 500}, "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1000), nil, "431"},
		"lost":        {Config{}, testHead[:60], func(_ *testRelay, p *peer) { p.reset() }, ""},
		"timed out":   {Config{}, testHead[:60], func(r *testRelay, p *peer) { r.pass(12*time.Second, p) }, "408"},
		"shut down":   {Config{}, testHead[:60], func(_ *testRelay, p *peer) { p.session.Shutdown(); p.Flush() }, "503"},
		"no memory": {Config{}, testHead[:60], func(r *testRelay, p *peer) {
			r.hub.Budget().SetLimit(1)
			p.bytes([]byte("x"))
		}, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, c.config)
			used := func() int64 { return r.hub.Budget().Used(budget.Heads) }
			p := r.connect(0)
			var most int64
			for i := range len(c.head) {
				p.bytes([]byte(c.head[i : i+1]))
				most = max(most, used())
			}
			limit := int64(max(c.config.MaxHead, len(c.head)) + 512)
			if most < int64(min(len(c.head), 500))/2 || most > limit {
				t.Errorf("at most %d bytes were counted for a head of %d", most, len(c.head))
			}
			if c.end != nil {
				if used() == 0 {
					t.Error("half a head is not counted")
				}
				c.end(r, p)
			}
			if n := used(); n != 0 {
				t.Errorf("%d bytes are left in the budget", n)
			}
			if got, _, _ := strings.Cut(strings.TrimPrefix(string(p.wire), "HTTP/1.1 "), " "); got != c.status {
				t.Errorf("answered %q, want %s", p.wire, c.status)
			}
			p.reset()
			if n := used(); n != 0 {
				t.Errorf("at the end %d bytes are left in the budget", n)
			}
			if n := r.hub.Stats().Handshaking; n != 0 {
				t.Errorf("%d still shake hands", n)
			}
		})
	}
}

// TestHalfHeadsForEver has strangers fill the budget with heads that never end.
func TestHalfHeadsForEver(t *testing.T) {
	const limit = 4 << 20
	r := newTestRelay(t, 1, Config{})
	r.hub.Budget().SetLimit(limit)
	piece := []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", frame.DefaultMaxHead/2))
	var most int64
	var all []*peer
	refused := 0
	for range 1500 {
		p := r.connect(0)
		p.bytes(piece)
		p.Flush()
		if strings.HasPrefix(string(p.wire), "HTTP/1.1 503 ") {
			if refused++; !p.gone {
				t.Fatal("who was refused is still there")
			}
		}
		all = append(all, p)
		most = max(most, r.hub.Budget().Total())
	}
	if most > limit*6/10 || most < limit/2 {
		t.Errorf("at most %d bytes of %d were taken", most, limit)
	}
	if n := r.hub.Refusals()["memory"]; refused == 0 || n != uint64(refused) {
		t.Errorf("%d were refused, %d are counted", refused, n)
	}
	r.pass(12*time.Second, all...)
	r.pass(6*time.Second, all...)
	if n := r.hub.Budget().Used(budget.Heads); n != 0 {
		t.Errorf("%d bytes are left in the budget", n)
	}
	if n := r.hub.Refusals()["handshake_timeout"]; int(n) != len(all)-refused {
		t.Errorf("%d timeouts are counted of %d", n, len(all)-refused)
	}
	if p := r.connect(0); !p.upgrades() {
		t.Errorf("afterwards a client was answered %q", p.wire)
	}
}
