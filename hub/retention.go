package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// Each room keeps a record of its latest broadcasts: for those who come back,
// and for those who ask for the history. How much is bounded for each room, and
// for all of them together.

// trimLocked forgets what the room's record holds beyond its limits. The other
// encodings go as far back as the record at most.
func (r *Room) trimLocked(now time.Duration) {
	if r.closed {
		return
	}
	c := r.hub.Config()
	r.log.Trim(broadcast.Retention{
		Bytes:    int64(c.Retain),
		Buffers:  r.hub.share(c),
		Messages: uint64(c.RetainMessages),
		Since:    now - c.RetainAge,
	})
	oldest, held := r.log.Oldest(), r.log.Retained()
	for e := range r.others {
		if l := r.in(encoding(e)); encoding(e) != verbatim && l != nil {
			l.Trim(broadcast.Retention{From: oldest.Seq() + 1})
			held += l.Retained()
		}
	}
	r.holdLocked(held)
}

// age is called about once a second while a host is there: what the room keeps
// grows old though nobody speaks. A broadcast that alone is more than the room
// may keep is forgotten when nobody has spoken since the last time: those who
// were there have it.
func (r *Room) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := r.grown.Load() == r.aged
	r.aged = r.grown.Load()
	if silent && r.log.Retained() > int64(r.hub.Config().Retain)+2*broadcast.MaxSegment {
		r.log.Release()
	}
	r.trimLocked(r.hub.now())
}

// holdLocked notes how many bytes the room's Logs hold.
func (r *Room) holdLocked(bytes int64) {
	if bytes != r.held {
		r.hub.held.Add(bytes - r.held)
		r.held = bytes
	}
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
