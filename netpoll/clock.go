//go:build linux

package netpoll

import (
	"sync"
	"time"
)

// maxGap is the longest time between two looks at a pool's clock that counts.
// Its ticker looks every tickEvery, so after a longer one the process did not
// run: it was stopped, or its machine was.
const maxGap = 2 * time.Second

// A clock tells the time for which the process has run. Time limits that are
// counted by it do not end while the process is stopped.
type clock struct {
	now func() time.Duration // immutable; monotonic

	mu   sync.Mutex
	last time.Duration // guarded by mu; the latest look
	away time.Duration // guarded by mu; what is left out, of the time up to last
}

func newClock() *clock {
	start := time.Now()
	return &clock{now: func() time.Duration { return time.Since(start) }}
}

// read returns the time for which the process has run. A gap is left out once,
// whoever looks first after it.
func (c *clock) read() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if gap := now - c.last; gap > maxGap {
		c.away += gap
	}
	c.last = now
	return now - c.away
}
