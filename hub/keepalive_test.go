package hub

import (
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// answers has a peer answer the pings that arrived, and returns what else did.
func (p *peer) answers() (all []string) {
	for _, text := range p.frames() {
		if text == "ping " {
			p.frame(ws.OpPong, "")
			continue
		}
		all = append(all, text)
	}
	return all
}

// TestNobodyIsIdleUnasked lowers the idle timeout under viewers that were silent
// for longer than the new one.
func TestNobodyIsIdleUnasked(t *testing.T) {
	r := newTestRelay(t, 1, Config{PingAfter: 2 * time.Hour, IdleTimeout: 3 * time.Hour})
	_, room := r.opens(0, "")
	alive, _ := r.enters(0, room.Code, "")
	dead, _ := r.enters(0, room.Code, "")
	late, _ := r.enters(0, room.Code, "") // was asked just before, and takes its time
	r.pass(2*time.Hour, alive, dead)
	r.pass(2*time.Second, late)
	late.hears("ping ")
	r.hub.Configure(Config{PingAfter: 25 * time.Second, IdleTimeout: time.Minute})
	const every = 12 // seconds, rounded up to a tick, from a ping to the next
	for second := range every {
		r.pass(time.Second, alive, dead, late)
		if got := alive.answers(); len(got) > 0 {
			t.Fatalf("after %d s a viewer that answers heard %q", second+1, got)
		}
		if second == every/2 {
			late.frame(ws.OpPong, "")
		}
		if dead.session.phase != open {
			t.Fatalf("a viewer was closed %d s after it was first asked", second+1)
		}
	}
	r.pass(time.Second, alive, dead, late)
	if dead.session.reason != ReasonIdle || alive.session.phase != open || late.session.phase != open {
		t.Errorf("phases: %d (%s) who does not answer, %d and %d who do", dead.session.phase, dead.session.reason, alive.session.phase, late.session.phase)
	}
	dead.hears("ping ", `{"type":"closed","reason":"idle"}`, "close 4102")
}

// TestAPongThatIsHeldBack has a client answer a ping only when the next bytes
// come, as libcurl does.
func TestAPongThatIsHeldBack(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	pongs := 0
	for range 600 {
		r.pass(time.Second, p)
		for _, text := range p.frames() {
			if text != "ping " {
				t.Fatalf("it heard %q", text)
			}
			if pongs++; pongs > 1 {
				p.frame(ws.OpPong, "")
			}
		}
	}
	if pongs < 600/60 {
		t.Errorf("%d pings in ten minutes", pongs)
	}
}

// TestPingsInASilence tells when pings go out to a peer that is gone, and when
// it is closed.
func TestPingsInASilence(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   []int // the seconds at which it hears something
	}{
		"default":        {Config{}, []int{26, 38, 50, 62}},
		"soon":           {Config{PingAfter: time.Second, IdleTimeout: 2 * time.Second}, []int{2, 4}},
		"hardly between": {Config{PingAfter: 9 * time.Second, IdleTimeout: 10 * time.Second}, []int{10, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, c.config)
			p := r.dial(0)
			var got []int
			var last []string
			for second := 1; second <= 70 && p.session.phase == open; second++ {
				r.pass(time.Second, p)
				if heard := p.frames(); len(heard) > 0 {
					got, last = append(got, second), heard
				}
			}
			if !slices.Equal(got, c.want) || last[len(last)-1] != "close 4102" {
				t.Errorf("it heard something after %d s, at last %q, want after %d s", got, last, c.want)
			}
		})
	}
}

// TestPingsDoNotPileUp has a socket be full for as long as it may.
func TestPingsDoNotPileUp(t *testing.T) {
	r := newTestRelay(t, 1, Config{StallTimeout: time.Hour, IdleTimeout: time.Hour})
	p := r.dial(0)
	p.room = 1
	r.pass(50*time.Minute, p)
	if p.session.phase != open || len(p.session.out.items) != 1 {
		t.Errorf("%d pings wait", len(p.session.out.items))
	}
}

// TestPingsComeInTimeWithoutATickEachSecond has a viewer be looked at only when it
// says that something may be due: what it hears, and when, is the same.
func TestPingsComeInTimeWithoutATickEachSecond(t *testing.T) {
	for name, config := range map[string]Config{
		"default":        {},
		"soon":           {PingAfter: time.Second, IdleTimeout: 2 * time.Second},
		"hardly between": {PingAfter: 9 * time.Second, IdleTimeout: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, config)
			host, room := r.opens(0, "")
			each, _ := r.enters(0, room.Code, "")
			seldom, _ := r.enters(0, room.Code, "")
			each.frames()
			seldom.frames()
			looks, due := 0, 1
			for second := 1; second <= 200 && each.session.phase == open; second++ {
				r.pass(time.Second, host, each)
				host.answers()
				if due--; due <= 0 {
					looks++
					next := seldom.session.Tick()
					seldom.Flush()
					due = int(max(1, min((next+time.Second-1)/time.Second, 8)))
				}
				if second%70 == 0 {
					host.say(`{"type":"command","data":1}`)
				}
				want, got := each.frames(), seldom.frames()
				if !slices.Equal(want, got) {
					t.Fatalf("after %d s it heard %q, and %q if it is looked at each second", second, got, want)
				}
				if second < 40 && slices.Contains(got, "ping ") {
					each.frame(ws.OpPong, "")
					seldom.frame(ws.OpPong, "")
					due = 1 // as after any event
				}
			}
			if seldom.session.phase == open {
				t.Error("it does not answer, and was not closed")
			}
			if name == "default" && looks > 35 {
				t.Errorf("it was looked at %d times", looks)
			}
		})
	}
}

// TestWhatIsLookedAtEachSecond is whatever has something under way.
func TestWhatIsLookedAtEachSecond(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	quiet, _ := r.enters(0, room.Code, "")
	blocked, _ := r.enters(0, room.Code, "")
	blocked.room = 1
	half, _ := r.enters(0, room.Code, "")
	half.bytes([]byte{0x81})
	left, _ := r.enters(0, room.Code, "")
	stranger := r.dial(0)
	host.say(`{"type":"command","data":1}`)
	r.pass(5*time.Second, quiet)
	left.session.end(ReasonShutdown)
	for name, p := range map[string]*peer{"the host": host, "blocked": blocked, "half a frame": half, "leaving": left, "a stranger": stranger} {
		if next := p.session.Tick(); next > 0 {
			t.Errorf("%s is looked at after %s", name, next)
		}
	}
	if next := quiet.session.Tick(); next < 20*time.Second {
		t.Errorf("a quiet viewer is looked at after %s", next)
	}
}

// BenchmarkKeepAlive asks a silent viewer, gets its answer, and looks at it again:
// what that costs but for the system calls.
func BenchmarkKeepAlive(b *testing.B) {
	r := newTestRelay(b, 1, Config{})
	_, room := r.opens(0, "")
	p, _ := r.enters(0, room.Code, "")
	pong := frame.AppendMasked(nil, ws.OpPong, true, [4]byte{1, 2, 3, 4}, nil)
	chunk := make([]byte, len(pong))
	s := p.session
	b.ReportAllocs()
	for b.Loop() {
		r.workers[0].now += 26_000
		s.Tick()
		due := s.Next()
		if len(due) != len(pingFrame) {
			b.Fatalf("%d bytes are due", len(due))
		}
		s.Sent(len(due), false)
		copy(chunk, pong)
		s.Receive(chunk)
		s.Tick()
	}
}

// TestOnlyAValidPongIsPassedOver compares isPong with the decoder, for all beginnings
// of two bytes and all sizes of a chunk that a control frame may have.
func TestOnlyAValidPongIsPassedOver(t *testing.T) {
	for first := range 256 {
		for second := range 256 {
			for _, size := range []int{0, 1, 2, 5, 6, 7, 2 + 4 + second&0x7f, 3 + 4 + second&0x7f, 131, 132, 133} {
				chunk := make([]byte, size)
				copy(chunk, []byte{byte(first), byte(second)})
				if !isPong(chunk) {
					continue
				}
				var in frame.Assembler
				var all []ws.OpCode
				for m := range in.Feed(chunk) {
					all = append(all, m.Op)
				}
				if in.Err() != nil || !in.Idle() || len(in.Rest()) > 0 || !slices.Equal(all, []ws.OpCode{ws.OpPong}) {
					t.Fatalf("%x %x with %d bytes is no pong: %v, %v", first, second, size, all, in.Err())
				}
			}
		}
	}
	for size := range 126 {
		pong := frame.AppendMasked(nil, ws.OpPong, true, [4]byte{1, 2, 3, 4}, make([]byte, size))
		for cut := range pong {
			if isPong(pong[:cut]) {
				t.Fatalf("%d of %d bytes are no pong", cut, len(pong))
			}
		}
		if !isPong(pong) || isPong(append(pong, 0)) {
			t.Fatalf("a pong with %d bytes", size)
		}
	}
}

// TestAPongWithinAMessage comes between the fragments of one, where it belongs to the
// decoder's input like any other frame, and in the middle of a frame, where it is data.
func TestAPongWithinAMessage(t *testing.T) {
	pong := frame.AppendMasked(nil, ws.OpPong, true, [4]byte{}, nil)
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	p.bytes(frame.AppendMasked(nil, ws.OpText, false, [4]byte{}, []byte(`{"type":`)))
	p.bytes(slices.Clone(pong))
	p.bytes(frame.AppendMasked(nil, ws.OpContinuation, true, [4]byte{}, []byte(`"ping"}`)))
	p.hears(`{"type":"pong"}`)
	whole := frame.AppendMasked(nil, ws.OpText, true, [4]byte{}, append([]byte(`{"type":"ping","data":"`), append(slices.Clone(pong), `"}`...)...))
	at := len(whole) - len(pong) - len(`"}`)
	p.bytes(whole[:at])
	p.bytes(slices.Clone(pong))
	p.bytes(whole[at+len(pong):])
	p.hears("close 1007") // the pong's bytes are no UTF-8
}

// TestAPingAndItsPongAllocateNothing holds for a silent viewer.
func TestAPingAndItsPongAllocateNothing(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	s := r.viewer(0, code).session
	pong := frame.AppendMasked(nil, ws.OpPong, true, [4]byte{1, 2, 3, 4}, nil)
	if n := testing.AllocsPerRun(100, func() {
		r.workers[0].now += uint32(s.Config().PingAfter.Milliseconds()) + 1
		s.Tick()
		if sendAll(s) != len(pingFrame) {
			t.Fatal("no ping was due")
		}
		s.Receive(pong)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
