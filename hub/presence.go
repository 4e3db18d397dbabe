package hub

import (
	"slices"
	"time"
)

const (
	// presenceEvery is the least time between two events of presence.
	presenceEvery = 250 * time.Millisecond
	// maxPresence is how many joins, and how many leaves, one event tells.
	maxPresence = 100
)

// A presence gathers who came and went, for the host. It is guarded by the
// room's lock.
type presence struct {
	joined []Person
	left   []uint32
	cut    bool        // there are more than those
	due    bool        // there is something to tell
	told   time.Time   // when the host was last told
	timer  *time.Timer // set while the next event waits for its time
}

// joinedLocked and leftLocked keep an id on one side only, the one that holds in
// the end: an event does not tell in which order who came and went.
func (p *presence) joinedLocked(r *Room, id uint32, name string) {
	p.left = slices.DeleteFunc(p.left, func(left uint32) bool { return left == id })
	p.joined = slices.DeleteFunc(p.joined, func(joined Person) bool { return joined.ID == id })
	if len(p.joined) < maxPresence {
		p.joined = append(p.joined, Person{id, name})
	} else {
		p.cut = true
	}
	p.changedLocked(r)
}

func (p *presence) leftLocked(r *Room, id uint32) {
	p.joined = slices.DeleteFunc(p.joined, func(joined Person) bool { return joined.ID == id })
	if len(p.left) < maxPresence {
		p.left = append(p.left, id)
	} else {
		p.cut = true
	}
	p.changedLocked(r)
}

// hostLocked tells a new host who is there, and forgets what the one before was
// not told.
func (p *presence) hostLocked(r *Room) {
	p.stop()
	p.joined, p.left, p.cut, p.due = nil, nil, false, false
	if r.roster.viewers > 0 {
		p.changedLocked(r)
	}
}

// changedLocked has the host told, at once or when its time has come.
func (p *presence) changedLocked(r *Room) {
	p.due = true
	if r.closed || p.timer != nil || r.hostSlot.host == nil {
		return
	}
	wait := max(0, presenceEvery-time.Since(p.told))
	p.timer = time.AfterFunc(wait, r.tellPresence)
}

func (p *presence) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// tellPresence tells the host what was gathered. While too much waits for it
// already, it gathers on: the count is always right, and it says when somebody
// is left out.
func (r *Room) tellPresence() {
	r.mu.Lock()
	host := r.hostSlot.host
	r.mu.Unlock()
	if host == nil {
		return
	}
	r.tell(host, 0, func() {
		r.mu.Lock()
		p := &r.presence
		if r.hostSlot.host != host {
			r.mu.Unlock()
			return
		}
		p.timer = nil
		if !p.due || time.Since(p.told) < presenceEvery {
			// A timer of an older host's had run out when this one was seated.
			if p.due {
				p.changedLocked(r)
			}
			r.mu.Unlock()
			return
		}
		p.told = time.Now()
		if host.out != nil && host.out.bytes > r.hub.Config().MaxPrivate/2 {
			p.changedLocked(r)
			r.mu.Unlock()
			return
		}
		event := Presence{p.joined, p.left, r.roster.viewers, p.cut}
		p.joined, p.left, p.cut, p.due = nil, nil, false, false
		r.mu.Unlock()
		host.tell(event)
	})
}
