package hub

import (
	"slices"
	"sync/atomic"
)

// scanEvery is how many bytes a room's record may grow before the viewers that
// are behind are scanned again, or less if the lag limit is small.
const scanEvery = 64 << 10

// lagScans is how often, at least, they are scanned while the record grows by
// one lag limit.
const lagScans = 8

// An audience is a room's viewers on one worker. That worker owns all fields
// that are not marked otherwise.
//
// Viewers whose sockets are not full come first, the blocked ones after them. A
// sweep visits the first part. It may pause, and viewers may then come, leave,
// block and unblock. Whatever moves, the viewers that the sweep has yet to
// visit stay at or behind its place.
//
//	members: [ visited | to be visited | blocked ]
//	          0         next            clear     len
type audience struct {
	room  *Room       // immutable
	shard *shard      // immutable
	task  func() bool // immutable; runs the sweep

	count  atomic.Int32 // atomic; viewers; written under the room's lock
	queued atomic.Bool  // atomic; a sweep is posted or running

	members []*Session
	next    int                          // the sweep's place
	clear   int                          // number of viewers that are not blocked
	running bool                         // a sweep is paused at next
	target  uint64                       // streams.size when the sweep began
	scanned uint64                       // the record's end at the last scan
	parked  [sources]map[*Session]uint32 // viewers that wait for a history, and the number of their request

	pinned pinned // guarded by the room's lock; as of the last scan
	swept  uint64 // guarded by the room's lock; target of the last whole sweep, or streams.size when the first viewer came
}

// audiences are a room's viewers, by worker: one audience for each worker,
// created with its first viewer. Its methods may be called from any goroutine.
type audiences []atomic.Pointer[audience]

// of returns the room's viewers on one worker, nil if there never were any.
func (all audiences) of(s *shard) *audience { return all[s.index].Load() }

// each calls f for each audience.
func (all audiences) each(f func(*audience) bool) {
	for i := range all {
		if a := all[i].Load(); a != nil && !f(a) {
			return
		}
	}
}

// on returns the room's viewers on one worker. That worker calls it.
func (all audiences) on(r *Room, s *shard) *audience {
	a := all.of(s)
	if a == nil {
		a = newAudience(r, s)
		all[s.index].Store(a)
	}
	return a
}

// wake posts a sweep to each worker that has viewers of the room.
func (all audiences) wake() {
	for i := range all {
		if a := all[i].Load(); a != nil {
			a.wake()
		}
	}
}

// dismiss ends every viewer of a closed room.
func (all audiences) dismiss(why Reason) {
	for a := range all.each {
		a.shard.Post(func() bool { return a.dismiss(why) })
	}
}

// pinned returns the most that a viewer holds of the Log in an encoding. The
// caller holds the room's lock.
func (all audiences) pinned(e encoding) (most int64) {
	for i := range all {
		if a := all[i].Load(); a != nil {
			most = max(most, a.pinned.in(e))
		}
	}
	return most
}

// enters counts a viewer that is about to be added. The caller holds the room's
// lock.
func (a *audience) enters() {
	if a.count.Add(1) == 1 {
		a.swept = a.room.streams.size()
	}
}

// exits counts a viewer that is removed. The caller holds the room's lock.
func (a *audience) exits() {
	if a.count.Add(-1) == 0 {
		a.room.sweeps.count(a.shard)
	}
}

// pin records how much of the Logs the audience's viewers hold.
func (a *audience) pin(holds pinned) {
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	if !slices.Equal(a.pinned, holds) {
		a.pinned = holds
		a.room.streams.countPinned()
	}
}

func newAudience(r *Room, s *shard) *audience {
	a := &audience{room: r, shard: s}
	a.task = a.sweep
	return a
}

// wake posts a sweep unless the audience is empty or a sweep is posted already.
// It may be called from any goroutine.
func (a *audience) wake() {
	if a.count.Load() > 0 && a.queued.CompareAndSwap(false, true) {
		a.shard.Post(a.task)
	}
}

// sweep flushes the connection of every viewer that is not blocked. It pauses
// when the worker's slice is spent, and asks to be run again if the Log has
// grown in the meantime.
func (a *audience) sweep() (more bool) {
	if !a.running {
		a.running = true
		a.next = 0
		a.target = a.room.streams.size()
	}
	for a.next < a.clear {
		s := a.members[a.next]
		s.conn.Flush()
		if a.next < a.clear && a.members[a.next] == s {
			a.next++
		}
		if a.shard.Spent() {
			return true
		}
	}
	a.running = false
	a.sweptAll()
	if limit := a.shard.hub.Config().LagLimit / lagScans; a.end()-a.scanned >= uint64(min(limit, scanEvery)) {
		a.scan()
	}
	a.queued.Store(false)
	return a.room.streams.size() != a.target && a.queued.CompareAndSwap(false, true)
}

// end returns the position of the record's end.
func (a *audience) end() uint64 {
	end := a.room.streams.end()
	return end.Position()
}

// isBehind reports whether some viewer may be behind.
func (a *audience) isBehind() bool {
	return a.clear < len(a.members) || a.waitsForHistory()
}

// scan ends the viewers that are too far behind, and notes how much of the Logs
// the others hold. When the worker's slice is spent, the viewers that are still
// to be ended wait for the next scan or for their ticks.
func (a *audience) scan() {
	a.scanned = a.end()
	for from := range a.parked {
		for s := range a.parked[from] {
			if s.lags() && !a.shard.Spent() {
				s.stopWaiting()
				s.conn.Flush()
			}
		}
	}
	var holds pinned
	note := func(s *Session) { holds.note(s.encoding, int64(s.behind())) }
	for i := len(a.members) - 1; i >= a.clear; i-- {
		s := a.members[i]
		if s.lags() && !a.shard.Spent() {
			s.tooSlow(CauseLag)
			s.conn.Flush()
		} else {
			note(s)
		}
	}
	for from := range a.parked {
		for s := range a.parked[from] {
			note(s)
		}
	}
	a.pin(holds)
	a.shard.noteBehind(a)
}

// dismiss ends every viewer of a closed room. It returns true if it has to be
// run again.
func (a *audience) dismiss(why Reason) (more bool) {
	for n := len(a.members); n > 0; n = len(a.members) {
		s := a.members[n-1]
		s.end(why)
		s.conn.Flush()
		if a.shard.Spent() {
			return len(a.members) > 0
		}
	}
	return false
}

// add adds a viewer.
func (a *audience) add(s *Session) {
	s.slot = int32(len(a.members))
	a.members = append(a.members, s)
	if s.has(flagBlocked) {
		a.shard.counters.stalled.Add(1)
		a.shard.noteBehind(a)
	} else {
		a.swap(len(a.members)-1, a.clear)
		a.clear++
	}
	a.shard.counters.viewers.Add(1)
}

// remove removes a viewer.
func (a *audience) remove(s *Session) {
	if s.has(flagBlocked) {
		a.shard.counters.stalled.Add(-1)
	} else {
		a.takeClear(s)
	}
	last := len(a.members) - 1
	a.swap(int(s.slot), last)
	a.members[last] = nil
	a.members = a.members[:last]
	if c := cap(a.members); c > minMembers && last < c/4 {
		a.members = append(make([]*Session, 0, c/2), a.members...)
	}
	if s.has(flagParked) {
		a.unparkOne(s)
	}
	a.shard.counters.viewers.Add(-1)
}

// minMembers is the capacity below which members never shrinks.
const minMembers = 64

// block moves a viewer between the blocked part and the other.
func (a *audience) block(s *Session, full bool) {
	if full {
		a.shard.counters.stalled.Add(1)
		a.takeClear(s)
		a.shard.noteBehind(a)
		return
	}
	a.shard.counters.stalled.Add(-1)
	a.swap(int(s.slot), a.clear)
	a.clear++
}

// takeClear moves a viewer that was not blocked to the head of the blocked
// part. If the sweep had visited it, the gap first moves up to the sweep's
// place, so that the viewer that fills it is still visited.
func (a *audience) takeClear(s *Session) {
	if int(s.slot) < a.next {
		a.next--
		a.swap(int(s.slot), a.next)
	}
	a.clear--
	a.swap(int(s.slot), a.clear)
}

func (a *audience) swap(i, j int) {
	m := a.members
	m[i], m[j] = m[j], m[i]
	m[i].slot, m[j].slot = int32(i), int32(j)
}
