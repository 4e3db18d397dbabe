package hub

import (
	"sync/atomic"
	"time"
)

// SweepBounds are the upper bounds of the classes of SweepTimes, in seconds.
var SweepBounds = [...]float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}

// SweepTimes count broadcasts by the time of their sweeps: from when the room
// took the broadcast until the last viewer whose socket was not full had it.
// Each broadcast is counted once, unless its room had no viewers.
type SweepTimes struct {
	Counts [len(SweepBounds) + 1]uint64 // by the first bound that is not exceeded; the last is for the others
	Sum    time.Duration
}

// sweepCounters are SweepTimes that any goroutine may write and read.
type sweepCounters struct {
	counts [len(SweepBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// observe counts n broadcasts whose sweeps took d.
func (c *sweepCounters) observe(d time.Duration, n uint64) {
	class, seconds := 0, d.Seconds()
	for class < len(SweepBounds) && seconds > SweepBounds[class] {
		class++
	}
	c.counts[class].Add(n)
	c.sum.Add(int64(d) * int64(n))
}

func (c *sweepCounters) addTo(t *SweepTimes) {
	for i := range c.counts {
		t.Counts[i] += c.counts[i].Load()
	}
	t.Sum += time.Duration(c.sum.Load())
}

// sweeps are the broadcasts of a room that some worker has yet to sweep. The
// caller of any method holds the room's lock. A broadcast costs an entry here, and a sweep of any
// length a look at the clock.
//
// Broadcasts that come faster than the sweeps share an entry, which has the time
// of the first. The time between the first and the last is at most the grain,
// which is 100 us at first and doubles each time that maxUnswept entries are
// reached. So the error is at most some 6 % of the oldest broadcast's time.
type sweeps struct {
	room    *Room // immutable
	unswept []unswept
	grain   time.Duration
}

// unswept are broadcasts that share a time.
type unswept struct {
	first   uint64 // streams.size after the first of them
	count   uint64
	entered time.Duration // when the first of them entered, by Hub.now
}

const (
	maxUnswept = 32
	firstGrain = 100 * time.Microsecond
)

// enter notes a broadcast that has just been appended.
func (w *sweeps) enter(size uint64, now time.Duration) {
	last := len(w.unswept) - 1
	if last < 0 {
		w.grain = firstGrain
	} else if now-w.unswept[last].entered <= w.grain {
		w.unswept[last].count++
		return
	}
	if len(w.unswept) == maxUnswept {
		w.halve()
	}
	w.unswept = append(w.unswept, unswept{first: size, count: 1, entered: now})
}

// halve joins each two entries.
func (w *sweeps) halve() {
	half := w.unswept[:len(w.unswept)/2]
	for i := range half {
		half[i] = w.unswept[2*i]
		half[i].count += w.unswept[2*i+1].count
	}
	w.unswept, w.grain = half, 2*w.grain
}

// leave counts the broadcasts that every worker has swept: those up to this
// streams.size.
func (w *sweeps) leave(size uint64, now time.Duration, in *sweepCounters) {
	done := 0
	for i := range w.unswept {
		u := &w.unswept[i]
		if u.first > size {
			break
		}
		swept := min(u.count, size-u.first+1)
		in.observe(now-u.entered, swept)
		if u.count -= swept; u.count > 0 {
			u.first = size + 1
			break
		}
		done++
	}
	if w.unswept = w.unswept[:copy(w.unswept, w.unswept[done:])]; len(w.unswept) == 0 && cap(w.unswept) > maxUnswept/4 {
		w.unswept = nil
	}
}

// count counts the broadcasts that no audience has yet to sweep, in the shard's
// counters.
func (w *sweeps) count(s *shard) {
	if len(w.unswept) == 0 {
		return
	}
	size := w.room.streams.size()
	for a := range w.room.audiences.each {
		if a.count.Load() > 0 {
			size = min(size, a.swept)
		}
	}
	w.leave(size, w.room.hub.now(), &s.counters.sweeps)
}

// sweptAll notes that a sweep has ended. Viewers whose sockets were full are not
// waited for: they have no part in a sweep.
func (a *audience) sweptAll() {
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	a.swept = max(a.swept, a.target) // the sweep may have begun before the present viewers came
	a.room.sweeps.count(a.shard)
}
