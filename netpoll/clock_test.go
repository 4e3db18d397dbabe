//go:build linux

package netpoll

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTheClockLeavesOutWhenTheProcessDidNotRun has the clock be looked at as
// the ticker does, with gaps.
func TestTheClockLeavesOutWhenTheProcessDidNotRun(t *testing.T) {
	for name, c := range map[string]struct {
		looks []time.Duration // after the one before
		want  time.Duration
	}{
		"never looked at": {nil, 0},
		"ticks":           {[]time.Duration{tickEvery, tickEvery, tickEvery}, 3 * tickEvery},
		"a busy machine":  {[]time.Duration{tickEvery, maxGap, tickEvery}, maxGap + 2*tickEvery},
		"stopped":         {[]time.Duration{tickEvery, maxGap + 1, tickEvery}, 2 * tickEvery},
		"stopped twice":   {[]time.Duration{tickEvery, 70 * time.Second, tickEvery, time.Hour, tickEvery}, 3 * tickEvery},
		"for 100 days":    {[]time.Duration{tickEvery, 100 * 24 * time.Hour, tickEvery}, 2 * tickEvery},
	} {
		t.Run(name, func(t *testing.T) {
			var now time.Duration
			clock := &clock{now: func() time.Duration { return now }}
			got := clock.read()
			for _, d := range c.looks {
				now += d
				got = clock.read()
			}
			if got != c.want {
				t.Errorf("it tells %s, want %s", got, c.want)
			}
		})
	}
}

// TestAGapIsLeftOutOnceForAllWorkers has many look at the clock at once, while
// the process is stopped again and again.
func TestAGapIsLeftOutOnceForAllWorkers(t *testing.T) {
	const stops, workers = 1000, 4
	var now atomic.Int64
	clock := &clock{now: func() time.Duration { return time.Duration(now.Load()) }}
	for range stops {
		now.Add(int64(time.Minute))
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				before := clock.read()
				now.Add(int64(time.Millisecond))
				if after := clock.read(); after < before || after > stops*workers*time.Millisecond {
					t.Errorf("it went from %s to %s", before, after)
				}
			})
		}
		all.Wait()
	}
	// The millisecond that passed between the last look and a stop is left out with it.
	if got := clock.read(); got > stops*workers*time.Millisecond || got < stops*time.Millisecond {
		t.Errorf("it tells %s after %d ms", got, stops*workers)
	}
}
