package hub

import (
	"slices"
	"time"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// Each room keeps a record of its latest broadcasts, for viewers that come back
// and for the history. Its size is bounded for each room, and for all rooms
// together.

// trimLocked drops what the room's record holds beyond its limits.
func (r *Room) trimLocked(now time.Duration) { r.keepOnlyLocked(r.retention(now)) }

// retention returns how much the room may keep now.
func (r *Room) retention(now time.Duration) broadcast.Retention {
	c := r.hub.Config()
	return broadcast.Retention{
		Bytes:    int64(c.Retain),
		Buffers:  r.hub.share(c),
		Messages: uint64(c.RetainMessages),
		Since:    now - c.RetainAge,
	}
}

// keepOnlyLocked drops what the record need not keep. Logs in other encodings
// go back at most as far as the record.
func (r *Room) keepOnlyLocked(keep broadcast.Retention) {
	if r.closed {
		return
	}
	// A cached history holds what was broadcast after it in memory.
	if to := r.cachedHistory.upTo.of(r.recordEncoding()); to.log != nil {
		if end := r.log.End(); end.Position()-to.end.Position() > uint64(r.hub.Config().LagLimit) {
			r.cachedHistory.drop()
		}
	}
	r.log.Trim(keep)
	oldest := r.log.Oldest()
	for _, st := range (*r.streams.Load())[1:] {
		st.log.Trim(broadcast.Retention{From: oldest.Seq() + 1})
	}
	r.countBytesLocked()
}

// countBytesLocked updates the number of bytes that the room's Logs hold.
func (r *Room) countBytesLocked() {
	held := int64(0)
	for _, st := range *r.streams.Load() {
		held += st.log.Retained()
	}
	if held != r.held {
		r.hub.held.Add(held - r.held)
		r.held = held
	}
	r.countPinnedLocked()
}

// countPinnedLocked updates what the budget counts for the room: for each Log,
// what it retains or what its slowest viewer holds of it, whichever is more.
func (r *Room) countPinnedLocked() {
	if r.closed {
		return // releaseLocked counts what it had until its viewers are gone
	}
	sum := int64(0)
	for _, st := range *r.streams.Load() {
		most := st.log.Retained()
		for i := range r.audiences {
			if a := r.audiences[i].Load(); a != nil {
				most = max(most, a.pinned.in(st.encoding))
			}
		}
		sum += most
	}
	r.hub.budget.Add(budget.Logs, sum-r.counted)
	r.counted = sum
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

// pins records how much of the Logs an audience's viewers hold.
func (r *Room) pins(a *audience, bytes pinned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(a.pinned, bytes) {
		a.pinned = bytes
		r.countPinnedLocked()
	}
}

// age is called about once a second while a host is there, because the record
// ages even if nobody speaks. If nothing was appended since the previous call,
// a single broadcast that is larger than what the room may retain is dropped:
// the viewers have it.
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

// releaseLocked releases the Logs of a room that closes. Connections hold what
// they have yet to receive until they are closed, and the budget counts it for
// that long.
func (r *Room) releaseLocked() {
	counted := r.counted
	time.AfterFunc(r.hub.Config().CloseTimeout+time.Second, func() { r.hub.budget.Add(budget.Logs, -counted) })

	for _, st := range *r.streams.Load() {
		st.log.Release()
	}
	r.countBytesLocked()
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
	return max(1, total/max(1, h.open.Load()))
}

// now returns the time since the hub was created.
func (h *Hub) now() time.Duration { return time.Since(h.began) }
