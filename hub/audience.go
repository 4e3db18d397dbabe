package hub

import "sync/atomic"

// scanEvery is how many bytes a Log may grow before the viewers that are behind
// are looked at again; less if the lag limit is small.
const scanEvery = 64 << 10

// lagScans is how often they are looked at while the Log grows by one lag limit,
// at least.
const lagScans = 8

// An audience is a room's viewers on one worker. But for count and queued it is
// that worker's alone.
//
// The viewers whose sockets are not full come first, the blocked ones after
// them. A sweep goes over the first part; it may be paused, and while it is,
// viewers come, leave, block and unblock. Whoever moves, those that the sweep
// has still to visit stay at or behind its place.
//
//	members: [ visited | to be visited | blocked ]
//	          0         next            clear     len
type audience struct {
	room  *Room       // immutable
	shard *shard      // immutable
	task  func() bool // immutable; the sweep

	count  atomic.Int32 // viewers; changed under the room's lock
	queued atomic.Bool  // a sweep is posted or running

	members []*Session
	next    int                          // the sweep's place
	clear   int                          // how many are not blocked
	running bool                         // a sweep is paused at next
	target  uint64                       // the frames of the room when the sweep began
	scanned uint64                       // the record's end when the blocked ones were last looked at
	parked  [sources]map[*Session]uint32 // those who wait for a history, and the question

	pinned pinned // guarded by the room's lock; as last scanned
}

func newAudience(r *Room, s *shard) *audience {
	a := &audience{room: r, shard: s}
	a.task = a.sweep
	return a
}

// wake has the audience swept, if there is anybody and no sweep on its way. It
// may be called from anywhere.
func (a *audience) wake() {
	if a.count.Load() > 0 && a.queued.CompareAndSwap(false, true) {
		a.shard.Post(a.task)
	}
}

// sweep has every viewer that is not blocked sent what is due to it. It pauses
// when the worker's slice is spent, and begins again when the Log has grown
// meanwhile.
func (a *audience) sweep() (more bool) {
	if !a.running {
		a.running = true
		a.next = 0
		a.target = a.room.grown.Load()
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
	if limit := a.shard.hub.Config().LagLimit / lagScans; a.end()-a.scanned >= uint64(min(limit, scanEvery)) {
		a.scan()
	}
	a.queued.Store(false)
	return a.room.grown.Load() != a.target && a.queued.CompareAndSwap(false, true)
}

// end returns the record's position.
func (a *audience) end() uint64 {
	end := a.room.log.End()
	return end.Position()
}

// isBehind reports whether a viewer may be behind.
func (a *audience) isBehind() bool {
	return a.clear < len(a.members) || len(a.parked[fromHost])+len(a.parked[fromRecord]) > 0
}

// scan looks at the viewers that are behind: it ends those that are too far, and
// notes how much of the Logs the others hold. When the worker's slice is spent it
// leaves what is to be ended to the next scan, and to their ticks.
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
	a.room.pins(a, holds)
	a.shard.noteBehind(a)
}

// dismiss ends every viewer of a closed room.
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

// add takes a viewer in.
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

// remove takes a viewer out.
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
		s.clear(flagParked)
		for from := range a.parked {
			delete(a.parked[from], s)
		}
	}
	a.shard.counters.viewers.Add(-1)
}

// minMembers is the room that an audience keeps for members when they leave.
const minMembers = 64

// block moves a viewer between those that are blocked and those that are not.
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
// ones. If the sweep had visited it, the hole first moves up to the sweep's
// place, so that the one that fills it is still visited.
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
