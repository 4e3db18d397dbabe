package hub

import "time"

// viewersEvery is the shortest time between two ViewerCount events in a room.
const viewersEvery = 5 * time.Second

// A viewerCount schedules the ViewerCount events of a room. The room's lock
// guards it.
type viewerCount struct {
	room     *Room // immutable
	reported int
	at       time.Duration // when it was last reported
	timer    *time.Timer   // set while the next event waits for viewersEvery
}

// changedLocked schedules a ViewerCount event if some viewer wants it and the
// number has changed.
func (c *viewerCount) changedLocked() {
	r := c.room
	if r.closed || c.timer != nil || c.reported == r.roster.Viewers() || !r.streams.wantsCount() {
		return
	}
	wait := time.Duration(0)
	if c.at > 0 {
		wait = max(0, c.at+viewersEvery-r.hub.now())
	}
	c.timer = time.AfterFunc(wait, c.tell)
}

// tell sends the number of viewers to all who want it. It takes the room's lock.
func (c *viewerCount) tell() {
	r := c.room
	r.mu.Lock()
	c.timer = nil
	if r.closed || c.reported == r.roster.Viewers() {
		r.mu.Unlock()
		return
	}
	c.reported, c.at = r.roster.Viewers(), r.hub.now()
	r.streams.count(c.reported, c.at)
	r.mu.Unlock()
	r.audiences.wake()
}

func (c *viewerCount) stopLocked() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}
