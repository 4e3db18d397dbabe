// Package clock has the time of a run, and waits for exact moments.
package clock

import (
	"time"

	"lectern/bench/workload"

	"golang.org/x/sys/unix"
)

// A Clock shows the time of a [workload.Clock] in nanoseconds. It reads that
// clock once and goes on with the process's own monotonic time, which is
// cheaper, and does not follow when the time of day is set.
type Clock struct {
	origin time.Time // immutable
	base   int64     // immutable once the run has begun; what the clock showed at origin
}

// New returns a clock of that kind.
func New(kind workload.Clock) *Clock {
	if kind == workload.Wall {
		now := time.Now()
		return &Clock{origin: now, base: now.UnixNano()}
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("bench: CLOCK_MONOTONIC: " + err.Error()) // Linux always has it
	}
	return &Clock{origin: time.Now(), base: ts.Nano()}
}

// Now returns the time.
func (c *Clock) Now() int64 { return c.base + int64(time.Since(c.origin)) }

// Shift sets the clock forward by d nanoseconds, before a run begins.
func (c *Clock) Shift(d int64) { c.base += d }

// SleepUntil waits for the moment at, exactly: the runtime's timers may come a
// millisecond late, so the thread itself sleeps the last part.
func (c *Clock) SleepUntil(at int64) {
	const coarse = 2 * time.Millisecond
	for {
		left := time.Duration(at - c.Now())
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
