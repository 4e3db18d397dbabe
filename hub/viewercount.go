package hub

import "time"

// viewersEvery is the shortest time between two ViewerCount events in a room.
const viewersEvery = 5 * time.Second

// A viewerCount schedules the ViewerCount events of a room. It is guarded by
// the room's lock.
type viewerCount struct {
	reported int
	at       time.Duration // when it was last reported
	timer    *time.Timer   // set while the next event waits for viewersEvery
}

// countLocked schedules a ViewerCount event if some viewer wants it and the
// number has changed.
func (r *Room) countLocked() {
	t := &r.viewerCount
	if r.closed || t.timer != nil || t.reported == r.roster.Viewers() || !r.countsLocked() {
		return
	}
	wait := time.Duration(0)
	if t.at > 0 {
		wait = max(0, t.at+viewersEvery-r.hub.now())
	}
	t.timer = time.AfterFunc(wait, r.tellCount)
}

// countsLocked reports whether some viewer wants ViewerCount events.
func (r *Room) countsLocked() bool {
	for _, st := range *r.streams.Load() {
		if st.wants > 0 && r.hub.encodings[st.encoding].CountsViewers {
			return true
		}
	}
	return false
}

// tellCount sends the number of viewers to all who want it.
func (r *Room) tellCount() {
	r.mu.Lock()
	t := &r.viewerCount
	t.timer = nil
	if r.closed || t.reported == r.roster.Viewers() {
		r.mu.Unlock()
		return
	}
	t.reported, t.at = r.roster.Viewers(), r.hub.now()
	for _, st := range *r.streams.Load() {
		if st.wants > 0 && r.hub.encodings[st.encoding].CountsViewers {
			r.hub.writeEvent(st.log, st.encoding, ViewerCount{t.reported}, t.at)
		}
	}
	r.grown.Add(1)
	r.mu.Unlock()
	r.wake()
}

func (t *viewerCount) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}
