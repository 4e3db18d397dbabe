package e2e

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// A stalling describes how viewers of a hall stop reading.
type stalling struct {
	viewers   int
	stall     int // bytes that are said until those who stalled for long read again
	lagLimit  int
	retain    int
	recovered bool // what those are told who come back
}

// TestHalfTheViewersStall has a quarter of the viewers stop reading for a while
// that is within the lag limit, and a quarter for longer, while the host says a
// megabyte a second. The first quarter gets everything when it reads again. The relay
// closes the second; its viewers come back from where they were, and are recovered or
// told that they are not. Viewers that read on get everything, and the relay's memory
// stays bounded.
//
// At full size there are 5,000 viewers, with the default lag limit. They stall
// for 8 s with a record that reaches back, and for a minute with the default one.
func TestHalfTheViewersStall(t *testing.T) {
	if !*fullSize { // there are descriptors for one such test at a time
		t.Parallel()
	}
	viewers, lagLimit := sized(5000, 400, 200), sized(4<<20, 1<<20, 1<<20)
	for name, c := range map[string]stalling{
		"and are recovered": {viewers, sized(8_000_000, 3_000_000, 3_000_000), lagLimit, 32 << 20, true},
		"for too long":      {viewers, sized(60_000_000, 3_000_000, 3_000_000), lagLimit, 256 << 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			if !*fullSize {
				t.Parallel()
			}
			c.run(t)
		})
	}
}

func (c stalling) run(t *testing.T) {
	h := &stallingHall{stalling: c, b: startBinary(t, "--retain", strconv.Itoa(c.retain), "--retain-messages", "1000000", "--max-host-message", "65536", "--lag-limit", strconv.Itoa(c.lagLimit))}
	host, code := openRoom(t, h.b)
	h.code, h.crowd, h.joined = code, newCrowd(), make(chan struct{}, c.viewers)
	h.briefly, h.long = make(chan struct{}), make(chan struct{})
	h.speech = longSpeech{ // a megabyte a second
		says: newScript(25_000), every: 25 * time.Millisecond,
		reach: []mark{{c.lagLimit / 2, h.briefly}, {c.stall, h.long}},
	}
	for i := range c.viewers {
		life, name := h.readsOn, "viewer"
		switch i % 4 {
		case 0:
			life, name = h.isCut, "viewer that stalled for long"
			h.speech.away.Add(1)
		case 1:
			life, name = h.isExcused, "viewer that stalled"
		}
		h.crowd.run(fmt.Sprintf("%s %d", name, i), func() error { return life(i/4%2 == 1) })
	}
	for range c.viewers {
		<-h.joined
	}
	p := newPeaks(h.b)
	go func() { p.ended <- h.speech.speak(t, host) }()
	p.watch(t, h.crowd)
	if err := h.crowd.failed(); err != nil {
		t.Error(err)
	}
	t.Logf("%d messages said; the last of those who came back was live after %s; %s",
		h.speech.said.Load(), time.Duration(h.slowest.Load()).Round(time.Millisecond), p)
	if n := h.b.metric(`lectern_closes_total{reason="too_slow"}`); int(n) != c.viewers/4 {
		t.Errorf("%v were closed as too slow, want %d", n, c.viewers/4)
	}
	// Two encodings, each with its record and what the slowest have still to get;
	// half as much again for the collector.
	kept := min(c.retain, int(h.speech.said.Load())*h.speech.says.size)
	if most := 3*(kept+2*c.lagLimit) + 8<<20; p.heap > p.heapBefore+float64(most) {
		t.Errorf("the heap grew from %.0f to %.0f MB", p.heapBefore/1e6, p.heap/1e6)
	}
}

// A stallingHall is a room in which some viewers stall.
type stallingHall struct {
	stalling
	b             *binary
	code          string
	crowd         *crowd
	joined        chan struct{} // one for each who is in, or is not let in
	speech        longSpeech
	briefly, long chan struct{} // closed when it is time to read again
	slowest       atomic.Int64  // nanoseconds until who came back was live
}

func (h *stallingHall) sitDown(numbered bool) (*spectator, error) {
	s, err := h.crowd.attend(func() (*spectator, error) { return attend(h.b.addr, h.code, numbered, "") })
	h.joined <- struct{}{}
	return s, err
}

// readsOn is the life of a viewer that must not notice anything.
func (h *stallingHall) readsOn(numbered bool) error {
	s, err := h.sitDown(numbered)
	if err != nil {
		return err
	}
	defer reset(s.conn)
	return s.follow(h.speech.says)
}

// isExcused is the life of a viewer that falls behind, but not too far.
func (h *stallingHall) isExcused(numbered bool) error {
	s, err := h.sitDown(numbered)
	if err != nil {
		return err
	}
	defer reset(s.conn)
	<-h.briefly
	return s.follow(h.speech.says)
}

// isCut is the life of a viewer that is closed and comes back.
func (h *stallingHall) isCut(numbered bool) error {
	back, err := h.comesBack(numbered)
	h.speech.away.Add(-1)
	if err != nil {
		return err
	}
	defer reset(back.conn)
	return back.follow(h.speech.says)
}

// comesBack stalls until the relay closes the viewer, and returns its next connection
// when that is live.
func (h *stallingHall) comesBack(numbered bool) (*spectator, error) {
	s, err := h.sitDown(numbered)
	if err != nil {
		return nil, err
	}
	defer reset(s.conn)
	<-h.long
	if err := s.follow(h.speech.says); !isCut(err) {
		return nil, fmt.Errorf("it was not closed as too slow: %v", err)
	}
	back, err := h.crowd.attend(func() (*spectator, error) { return s.comeBack(h.b.addr) })
	if err != nil {
		return nil, err
	}
	if back.me.Recovered != h.recovered || back.me.Seq < s.me.Seq || h.recovered && back.me.Seq != s.me.Seq || back.me.ID != s.me.ID {
		return back, fmt.Errorf("after number %d it was welcomed with %+v", s.me.Seq, back.me)
	}
	time.Sleep(1200 * time.Millisecond) // the relay looks at it, and what it has missed is no lag
	began := time.Now()
	err = back.followUpTo(h.speech.said.Load(), h.speech.says)
	for took := int64(time.Since(began)); ; {
		slowest := h.slowest.Load()
		if slowest >= took || h.slowest.CompareAndSwap(slowest, took) {
			return back, err
		}
	}
}
