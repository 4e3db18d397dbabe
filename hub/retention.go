package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// Each room keeps a record of its latest broadcasts: for those who come back,
// and for those who ask for the history. How much is bounded for each room, and
// for all of them together.

// trimLocked forgets what the room's record holds beyond its limits.
func (r *Room) trimLocked(now time.Duration) { r.keepOnlyLocked(r.retention(now)) }

// retention returns how much the room keeps.
func (r *Room) retention(now time.Duration) broadcast.Retention {
	c := r.hub.Config()
	return broadcast.Retention{
		Bytes:    int64(c.Retain),
		Buffers:  r.hub.share(c),
		Messages: uint64(c.RetainMessages),
		Since:    now - c.RetainAge,
	}
}

// keepOnlyLocked forgets what the record need not keep. The other encodings go as
// far back as the record at most.
func (r *Room) keepOnlyLocked(keep broadcast.Retention) {
	if r.closed {
		return
	}
	r.log.Trim(keep)
	oldest := r.log.Oldest()
	for e := verbatim + 1; e < encodings; e++ {
		if l := r.in(e); l != nil {
			l.Trim(broadcast.Retention{From: oldest.Seq() + 1})
		}
	}
	r.countBytesLocked()
}

// countBytesLocked notes how many bytes the room's Logs hold.
func (r *Room) countBytesLocked() {
	held := int64(0)
	for e := range encodings {
		if l := r.in(e); l != nil {
			held += l.Retained()
		}
	}
	if held != r.held {
		r.hub.held.Add(held - r.held)
		r.held = held
	}
}

// age is called about once a second while a host is there: what the room keeps
// grows old though nobody speaks. A broadcast that alone is more than the room
// may keep is forgotten when nobody has spoken since the last time: those who
// were there have it.
func (r *Room) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := r.retention(r.hub.now())
	if r.grown.Load() == r.aged {
		keep.Largest = int64(r.hub.Config().Retain) + 2*broadcast.MaxSegment
	}
	r.aged = r.grown.Load()
	r.keepOnlyLocked(keep)
}

// releaseLocked gives up the Logs of a room that closes. Who has still to get
// something holds it.
func (r *Room) releaseLocked() {
	for e := range encodings {
		if l := r.in(e); l != nil {
			l.Release()
		}
	}
	r.countBytesLocked()
}

// share returns how many bytes one room's buffers may have when all of them
// together have too many; 0 for any number as long as they have not.
func (h *Hub) share(c *Config) int64 {
	if h.held.Load() <= int64(c.RetainTotal) {
		return 0
	}
	return max(1, int64(c.RetainTotal)/max(1, h.open.Load()))
}

// now returns the time since the hub was made.
func (h *Hub) now() time.Duration { return time.Since(h.began) }
