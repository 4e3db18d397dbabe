package bench

import (
	"time"

	"lectern/bench/workload"

	"golang.org/x/sys/unix"
)

// A ticker tells the time of a [Clock] in nanoseconds. It reads the clock once
// and goes on with the process's own monotonic time, which is cheaper, and
// immune to the time of day being set.
type ticker struct {
	origin time.Time // immutable
	base   int64     // immutable; what the clock showed at origin
}

func newTicker(c workload.Clock) *ticker {
	if c == workload.Wall {
		now := time.Now()
		return &ticker{origin: now, base: now.UnixNano()}
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("bench: CLOCK_MONOTONIC: " + err.Error()) // Linux always has it
	}
	return &ticker{origin: time.Now(), base: ts.Nano()}
}

func (t *ticker) now() int64 { return t.base + int64(time.Since(t.origin)) }

// sleepUntil waits for the moment at, exactly: the runtime's timers may come a
// millisecond late, so the last part is slept by the thread itself.
func (t *ticker) sleepUntil(at int64) {
	const coarse = 2 * time.Millisecond
	for {
		left := time.Duration(at - t.now())
		switch {
		case left <= 0:
			return
		case left > 2*coarse:
			time.Sleep(left - coarse)
		default:
			ts := unix.NsecToTimespec(int64(left))
			_ = unix.Nanosleep(&ts, nil) // a signal may cut it short; the loop looks again
		}
	}
}
