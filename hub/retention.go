package hub

import (
	"time"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// Each room keeps a record of its latest broadcasts, for viewers that come back
// and for the history. Its size is bounded for each room, and for all rooms
// together.

// trim drops what the room's record holds beyond its limits.
func (s *streams) trim(now time.Duration) { s.keepOnly(s.retention(now)) }

// retention returns how much the room may keep now.
func (s *streams) retention(now time.Duration) broadcast.Retention {
	h := s.room.hub
	c := h.Config()
	return broadcast.Retention{
		Bytes:    int64(c.Retain),
		Buffers:  h.share(c),
		Messages: uint64(c.RetainMessages),
		Since:    now - c.RetainAge,
	}
}

// keepOnly drops what the record need not keep. Logs in other encodings go back
// at most as far as the record.
func (s *streams) keepOnly(keep broadcast.Retention) {
	if s.released {
		return
	}
	s.room.history.trimLocked()
	s.record.Trim(keep)
	oldest := s.record.Oldest()
	for _, st := range (*s.all.Load())[1:] {
		st.log.Trim(broadcast.Retention{From: oldest.Seq() + 1})
	}
	s.countBytes()
}

// countBytes updates the number of bytes that the room's Logs hold.
func (s *streams) countBytes() {
	held := int64(0)
	for _, st := range *s.all.Load() {
		held += st.log.Retained()
	}
	if held != s.held {
		s.room.hub.held.Add(held - s.held)
		s.held = held
	}
	s.countPinned()
}

// countPinned updates what the budget counts for the room: for each Log, what it
// retains or what its slowest viewer holds of it, whichever is more.
func (s *streams) countPinned() {
	if s.released {
		return // release counts what it had until its viewers are gone
	}
	sum := int64(0)
	for _, st := range *s.all.Load() {
		sum += max(st.log.Retained(), s.room.audiences.pinned(st.encoding))
	}
	s.room.hub.budget.Add(budget.Logs, sum-s.counted)
	s.counted = sum
}

// age is called about once a second while a host is there, because the record
// ages even if nobody speaks. If nothing was appended since the previous call,
// a single broadcast that is larger than what the room may retain is dropped:
// the viewers have it. It takes the room's lock.
func (s *streams) age() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	h := s.room.hub
	keep := s.retention(h.now())
	if s.size() == s.aged {
		keep.Largest = int64(h.Config().Retain) + 2*broadcast.MaxSegment
	}
	s.aged = s.size()
	s.keepOnly(keep)
}

// release releases the Logs of a room that closes. Connections hold what they
// have yet to receive until they are closed, and the budget counts it for that
// long.
func (s *streams) release() {
	s.released = true
	h, counted := s.room.hub, s.counted
	time.AfterFunc(h.Config().CloseTimeout+time.Second, func() { h.budget.Add(budget.Logs, -counted) })

	for _, st := range *s.all.Load() {
		st.log.Release()
	}
	s.countBytes()
}

// pinned is how many bytes the viewers of an audience hold of each of a room's
// Logs.
type pinned []pin

type pin struct {
	encoding encoding
	bytes    int64
}

// in returns the bytes held of the Log in an encoding.
func (all pinned) in(e encoding) int64 {
	for _, p := range all {
		if p.encoding == e {
			return p.bytes
		}
	}
	return 0
}

// note notes that a viewer holds this many bytes.
func (all *pinned) note(e encoding, bytes int64) {
	for i := range *all {
		if p := &(*all)[i]; p.encoding == e {
			p.bytes = max(p.bytes, bytes)
			return
		}
	}
	*all = append(*all, pin{e, bytes})
}

// tightRecords is the fraction of the budget, one over this, that all records
// may have when memory is short.
const tightRecords = 8

// share returns how many bytes one room's buffers may have while all of them
// together are over RetainTotal, and 0, which is no limit, while they are not.
func (h *Hub) share(c *Config) int64 {
	total := int64(c.RetainTotal)
	if h.budget.Level() >= budget.Tight {
		total = min(total, h.budget.Limit()/tightRecords)
	}
	if h.held.Load() <= total {
		return 0
	}
	return max(1, total/max(1, h.rooms.Open()))
}

// now returns the time since the hub was created.
func (h *Hub) now() time.Duration { return time.Since(h.began) }
