package hub

import (
	"maps"
	"time"

	"lectern/hub/budget"
)

// A viewer that asks for the history is parked until the history is there: it
// receives no broadcasts in the meantime. All parked viewers then get the same
// history, encoded once, and continue at the place in the Log up to which it
// tells. A viewer that joins and asks within freshFor after that gets the
// cached history and what followed it.
//
// In most rooms the host keeps the history. However many viewers ask, the relay
// asks the host once, and not again within freshFor. The host's messages arrive
// in order, so its answer covers exactly the broadcasts before it. The room's
// record answers if the host does not answer, is away, or did not send all the
// broadcasts itself, as long as the record reaches back to the first broadcast.
// In rooms whose history the relay keeps, the record always answers.

// freshFor is how long a history is cached, and the shortest time between two
// requests to a host and between two histories made from the record.
const freshFor = time.Second

// A history is what a room knows of its history. The room's lock guards it. Its
// methods take the lock unless their names end with Locked.
type history struct {
	room *Room // immutable

	request historyRequest
	record  recordHistory
	cached  cachedHistory
}

// closeLocked ends what is under way and frees the cached history.
func (h *history) closeLocked() {
	h.request.stop()
	h.cached.drop()
}

// cachedSeqLocked returns the number of the last broadcast that the cached
// history covers, and whether there is one.
func (h *history) cachedSeqLocked() (seq uint64, ok bool) {
	if len(h.cached.upTo) == 0 {
		return 0, false
	}
	return h.cached.upTo[0].end.Seq(), true
}

// trimLocked drops the cached history if it holds more in memory of what was
// broadcast after it than the lag limit.
func (h *history) trimLocked() {
	if len(h.cached.upTo) == 0 {
		return // the common case, at each broadcast
	}
	if end := h.room.streams.end(); end.Position()-h.cached.upTo[0].end.Position() > uint64(h.room.hub.Config().LagLimit) {
		h.cached.drop()
	}
}

// A cachedHistory is the history that viewers were last given. It is guarded by
// the room's lock.
type cachedHistory struct {
	number uint32               // counts the cached histories
	byHost bool                 // the host told it; otherwise it was made from the record
	frames map[encoding]*shared // held; one for each of upTo
	upTo   ends                 // where it ends in each Log, the record's first
	added  *ends                // the ends of upTo that came after it was cached
}

// give gives a viewer the cached history, or parks it until there is a
// new one. It returns false if there is no source for a history. The viewer's
// worker calls it.
func (h *history) give(s *Session) bool {
	r := h.room
	if h.giveCached(s) {
		return true
	}
	if r.options.relayTells {
		return h.askRecord(s)
	}
	r.mu.Lock()
	hostHasAll := r.hostSlot.saidAll()
	r.mu.Unlock()
	return !hostHasAll && h.askRecord(s) || h.askHost(s)
}

// begin moves a viewer that has just joined, and will ask for the
// history, to the place where the cached history or the one being made ends.
func (h *history) begin(s *Session) {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	frame, to := h.inLocked(s.encoding)
	if frame == nil {
		to = h.record.upTo.of(s.encoding)
	}
	if to.log == s.log() {
		s.cursor = to.end
		s.allowLag()
	}
}

// giveCached gives a viewer the cached history. It returns false if there is
// none, or if the viewer has received broadcasts that came after it.
func (h *history) giveCached(s *Session) bool {
	r := h.room
	r.mu.Lock()
	frame, to := h.inLocked(s.encoding)
	if frame == nil || !to.fits(s) {
		r.mu.Unlock()
		return false
	}
	frame.hold()
	r.mu.Unlock()
	s.spliceHistory(frame, to.end)
	frame.release()
	return true
}

// inLocked returns the cached history in an encoding that a viewer reads,
// and where it ends, nil if there is none. If nobody wanted that encoding when
// the history was told, it is made from the frame in the record's encoding, once
// and if the budget has room for it. The encoding's Log then stays as long as the
// cached history does, whoever leaves.
func (h *history) inLocked(e encoding) (frame *shared, to endOf) {
	r := h.room
	c := &h.cached
	if frame := c.frames[e]; frame != nil || len(c.upTo) == 0 {
		return frame, c.upTo.of(e)
	}
	record := c.upTo[0]
	original, seq := c.frames[record.encoding], record.end.Seq()
	end, ok := r.streams.in(e).At(seq + 1)
	if !ok {
		return nil, endOf{}
	}
	mine := &r.hub.encodings[e]
	switch {
	case !c.byHost && r.hub.historyOf(e) == r.hub.historyOf(record.encoding): // not packed; clients can read both
		frame = original.hold()
	case (c.byHost || r.hub.translates(e, record.encoding)) && r.hub.fitsHistory(len(original.frame)):
		frame = r.hub.newShared(mine.Broadcast(nil, r.broadcastIn(original.frame, seq)))
	default:
		return nil, endOf{}
	}
	to = endOf{e, r.streams.want(e), end}
	c.frames[e], c.upTo, *c.added = frame, append(c.upTo, to), append(*c.added, to)
	return frame, to
}

// cacheLocked caches a history for freshFor. It takes over the caller's
// claim on upTo, see streams.takeEnds.
func (h *history) cacheLocked(byHost bool, frames map[encoding]*shared, upTo ends) {
	r := h.room
	h.cached.drop()
	frames = maps.Clone(frames)
	for _, frame := range frames {
		frame.hold()
	}
	added := new(ends)
	h.cached = cachedHistory{h.cached.number + 1, byHost, frames, upTo, added}
	number := h.cached.number
	time.AfterFunc(freshFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if h.cached.number == number {
			h.cached.drop()
		}
		r.streams.dropEnds(upTo)
		r.streams.dropEnds(*added)
	})
}

// drop frees the cached history.
func (t *cachedHistory) drop() {
	for _, frame := range t.frames {
		frame.release()
	}
	*t = cachedHistory{number: t.number}
}

// historyUnavailable tells a viewer that it gets no history. The broadcasts
// that came while it was parked do not count as lag until it has caught up.
func (s *Session) historyUnavailable(f *Refusal) {
	s.allowLag()
	f.History = true
	s.Report(f)
}

// historyTake returns how long the session may take to receive a history. It is
// shorter when memory is short.
func (s *Session) historyTake() time.Duration {
	limit := s.shard.hub.Config().HistoryTake
	if b := &s.shard.hub.budget; b.LevelWith(b.Limit()/16) >= budget.Tight {
		limit = min(limit, hastyHistory)
	}
	return limit
}

const hastyHistory = 5 * time.Second

// fitsHistory reports whether the budget has space for histories of this many
// bytes.
func (h *Hub) fitsHistory(bytes int) bool { return h.budget.LevelWith(int64(bytes)) < budget.Tight }
