package hub

import (
	"slices"
	"time"
)

const (
	// presenceEvery is the shortest time between two Presence events in a room.
	presenceEvery = 250 * time.Millisecond
	// maxPresence is the largest number of joins, and of leaves, in one event.
	maxPresence = 100
)

// A presence collects which viewers joined and left, for the host. The room's
// lock guards it. Its methods take the lock unless their names end with Locked.
type presence struct {
	room *Room // immutable

	joined   []Person
	left     []uint32
	cut      bool        // more joined or left than are listed
	due      bool        // there is something to tell the host
	lastTold time.Time   // when the host was last told
	timer    *time.Timer // set while the next event waits for presenceEvery
}

// joinedLocked and leftLocked list an id on one side only, according to its
// final state: an event does not tell the order of joins and leaves.
func (p *presence) joinedLocked(id uint32, name string) {
	p.left = slices.DeleteFunc(p.left, func(left uint32) bool { return left == id })
	p.joined = slices.DeleteFunc(p.joined, func(joined Person) bool { return joined.ID == id })
	if len(p.joined) < maxPresence {
		p.joined = append(p.joined, Person{id, name})
	} else {
		p.cut = true
	}
	p.changedLocked()
}

func (p *presence) leftLocked(id uint32) {
	p.joined = slices.DeleteFunc(p.joined, func(joined Person) bool { return joined.ID == id })
	if len(p.left) < maxPresence {
		p.left = append(p.left, id)
	} else {
		p.cut = true
	}
	p.changedLocked()
}

// newHostLocked tells a new host how many viewers there are, and drops what the
// previous host was not told.
func (p *presence) newHostLocked() {
	p.stopLocked()
	p.joined, p.left, p.cut, p.due = nil, nil, false, false
	if p.room.roster.Viewers() > 0 {
		p.changedLocked()
	}
}

// changedLocked schedules a Presence event, unless one is scheduled or the host
// is away.
func (p *presence) changedLocked() {
	p.due = true
	if p.room.closed || p.timer != nil || p.room.hostSlot.current() == nil {
		return
	}
	wait := max(0, presenceEvery-time.Since(p.lastTold))
	p.timer = time.AfterFunc(wait, p.tell)
}

func (p *presence) stopLocked() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// tell sends the host what was collected. If too much waits for the
// host already, it keeps collecting: the number of viewers is always right, and
// Truncated says when viewers are left out.
func (p *presence) tell() {
	r := p.room
	host := r.host()
	if host == nil {
		return
	}
	r.tell(host, 0, func() {
		r.mu.Lock()
		if r.hostSlot.current() != host {
			r.mu.Unlock()
			return
		}
		p.timer = nil
		if !p.due || time.Since(p.lastTold) < presenceEvery {
			// A previous host's timer fired just as this host took its place.
			if p.due {
				p.changedLocked()
			}
			r.mu.Unlock()
			return
		}
		p.lastTold = time.Now()
		if host.out != nil && host.out.bytes > r.hub.Config().MaxPrivate/2 {
			p.changedLocked()
			r.mu.Unlock()
			return
		}
		event := Presence{p.joined, p.left, r.roster.Viewers(), p.cut}
		p.joined, p.left, p.cut, p.due = nil, nil, false, false
		r.mu.Unlock()
		host.tell(event)
	})
}
