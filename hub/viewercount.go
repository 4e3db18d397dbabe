package hub

import "time"

// viewersEvery is the least time between two events that tell viewers how many
// they are.
const viewersEvery = 5 * time.Second

// A viewerCount is how many viewers those who want to know were told of. It is
// guarded by the room's lock.
type viewerCount struct {
	reported int
	at       time.Duration // when
	timer    *time.Timer   // set while the next event waits for its time
}

// countLocked has the number of viewers told where it is wanted, at once or when
// its time has come.
func (r *Room) countLocked() {
	t := &r.viewerCount
	if r.closed || t.timer != nil || t.reported == r.roster.viewers || !r.countsLocked() {
		return
	}
	wait := time.Duration(0)
	if t.at > 0 {
		wait = max(0, t.at+viewersEvery-r.hub.now())
	}
	t.timer = time.AfterFunc(wait, r.tellCount)
}

// countsLocked reports whether anybody wants to know.
func (r *Room) countsLocked() bool {
	for _, st := range *r.streams.Load() {
		if st.wants > 0 && r.hub.encodings[st.encoding].CountsViewers {
			return true
		}
	}
	return false
}

// tellCount tells the number of viewers to all who want to know.
func (r *Room) tellCount() {
	r.mu.Lock()
	t := &r.viewerCount
	t.timer = nil
	if r.closed || t.reported == r.roster.viewers {
		r.mu.Unlock()
		return
	}
	t.reported, t.at = r.roster.viewers, r.hub.now()
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
