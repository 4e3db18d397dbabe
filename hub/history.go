package hub

import (
	"maps"
	"sync/atomic"
	"time"

	"lectern/hub/broadcast"
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

// silentAfter is how long the host may take to answer in a room whose record
// can answer in its place.
const silentAfter = 250 * time.Millisecond

// A source is where a history comes from.
type source uint8

// The sources. A parked viewer waits for one of them.
const (
	fromHost source = iota
	fromRecord
	sources // number of sources
)

// A historyRequest is a room's pending request to its host. It is guarded by
// the room's lock.
type historyRequest struct {
	open   bool
	sent   bool          // the request has been sent to the host
	number uint32        // number of the request; parked viewers remember theirs
	at     time.Duration // when a request was last sent
	timer  *time.Timer   // runs until the request may be sent, or the host is late
}

func (q *historyRequest) stop() {
	if q.open {
		q.timer.Stop()
		q.open, q.sent = false, false
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

// giveHistory gives a viewer the cached history, or parks it until there is a
// new one. It returns false if there is no source for a history. The viewer's
// worker calls it.
func (r *Room) giveHistory(s *Session) bool {
	if r.giveCached(s) {
		return true
	}
	if r.options.relayTells {
		return r.askRecord(s)
	}
	r.mu.Lock()
	hostHasAll := r.hostSlot.host != nil && r.hostSlot.since == 0
	r.mu.Unlock()
	return !hostHasAll && r.askRecord(s) || r.askHost(s)
}

// beginAtHistory moves a viewer that has just joined, and will ask for the
// history, to the place where the cached history or the one being made ends.
func (r *Room) beginAtHistory(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frame, to := r.cachedLocked(s.encoding)
	if frame == nil {
		to = r.recordHistory.upTo.of(s.encoding)
	}
	if to.log == s.log() {
		s.cursor = to.end
		s.allowLag()
	}
}

// giveCached gives a viewer the cached history. It returns false if there is
// none, or if the viewer has received broadcasts that came after it.
func (r *Room) giveCached(s *Session) bool {
	r.mu.Lock()
	frame, to := r.cachedLocked(s.encoding)
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

// cachedLocked returns the cached history in an encoding that a viewer reads,
// and where it ends, nil if there is none. If nobody wanted that encoding when
// the history was told, it is made from the frame in the record's encoding, once
// and if the budget has room for it. The encoding's Log then stays as long as the
// cached history does, whoever leaves.
func (r *Room) cachedLocked(e encoding) (frame *shared, to endOf) {
	c := &r.cachedHistory
	if frame := c.frames[e]; frame != nil || len(c.upTo) == 0 {
		return frame, c.upTo.of(e)
	}
	record := c.upTo[0]
	original, seq := c.frames[record.encoding], record.end.Seq()
	end, ok := r.in(e).At(seq + 1)
	if !ok {
		return nil, endOf{}
	}
	h, mine := r.hub, &r.hub.encodings[e]
	switch {
	case c.byHost && h.fitsHistory(len(original.frame)):
		frame = h.newShared(mine.Broadcast(nil, broadcastIn(original.frame, seq)))
	case !c.byHost && mine.dialect == h.encodings[record.encoding].dialect:
		frame = original.hold()
	default:
		return nil, endOf{}
	}
	to = endOf{e, r.wantLocked(e), end}
	c.frames[e], c.upTo, *c.added = frame, append(c.upTo, to), append(*c.added, to)
	return frame, to
}

// cacheHistoryLocked caches a history for freshFor. It takes over the caller's
// claim on upTo, see takeEndsLocked.
func (r *Room) cacheHistoryLocked(byHost bool, frames map[encoding]*shared, upTo ends) {
	r.cachedHistory.drop()
	frames = maps.Clone(frames)
	for _, frame := range frames {
		frame.hold()
	}
	added := new(ends)
	r.cachedHistory = cachedHistory{r.cachedHistory.number + 1, byHost, frames, upTo, added}
	number := r.cachedHistory.number
	time.AfterFunc(freshFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cachedHistory.number == number {
			r.cachedHistory.drop()
		}
		r.dropEndsLocked(upTo)
		r.dropEndsLocked(*added)
	})
}

// drop frees the cached history.
func (t *cachedHistory) drop() {
	for _, frame := range t.frames {
		frame.release()
	}
	*t = cachedHistory{number: t.number}
}

// ends are the ends of a room's Logs at one moment.
type ends []endOf

type endOf struct {
	encoding encoding
	log      *broadcast.Log
	end      broadcast.Cursor
}

// of returns the end of the Log in an encoding, the zero endOf if there was
// none.
func (all ends) of(e encoding) endOf {
	for _, end := range all {
		if end.encoding == e {
			return end
		}
	}
	return endOf{}
}

// takeEndsLocked returns the current ends of the room's Logs. It counts as a
// reader of each Log until dropEndsLocked, so that viewers that join in the
// meantime can continue from there.
func (r *Room) takeEndsLocked() (now ends) {
	for _, st := range *r.streams.Load() {
		st.wants++
		now = append(now, endOf{st.encoding, st.log, st.log.End()})
	}
	return now
}

// dropEndsLocked reverses takeEndsLocked.
func (r *Room) dropEndsLocked(taken ends) {
	for _, end := range taken {
		r.unwantLocked(end.encoding)
	}
}

// fits reports whether a viewer has received nothing beyond this end.
func (to endOf) fits(s *Session) bool {
	return to.log == s.log() && to.end.Position() >= s.cursor.Position()
}

// askHost parks a viewer until the host's history is there, and asks the host
// unless a request is pending. It returns false if the host is away. The
// viewer's worker calls it.
func (r *Room) askHost(s *Session) bool {
	r.mu.Lock()
	if r.hostSlot.host == nil {
		r.mu.Unlock()
		return false
	}
	q := &r.historyRequest
	if !q.open {
		q.open = true
		q.number++
		if wait := q.at + freshFor - r.hub.now(); q.number > 1 && wait > 0 {
			request := q.number
			q.timer = time.AfterFunc(wait, func() { r.sendHistoryRequest(request) })
		} else {
			r.sendHistoryRequestLocked()
		}
	}
	request := q.number
	r.mu.Unlock()
	r.audience(s.shard).park(s, fromHost, request)
	return true
}

// sendHistoryRequest sends a request that had to wait for freshFor.
func (r *Room) sendHistoryRequest(request uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := &r.historyRequest; q.open && !q.sent && q.number == request && r.hostSlot.host != nil {
		r.sendHistoryRequestLocked()
	}
}

func (r *Room) sendHistoryRequestLocked() {
	q := &r.historyRequest
	q.sent, q.at = true, r.hub.now()
	request := q.number
	q.timer = time.AfterFunc(min(silentAfter, r.hub.Config().HistoryTimeout), func() { r.hostLate(request) })
	r.askHostLocked()
}

// askHostLocked sends the pending request to the current host.
func (r *Room) askHostLocked() {
	host := r.hostSlot.host
	r.tell(host, 0, func() { host.tell(HistoryRequest{}) })
}

// answerHistory gives the host's history, as it is, to the viewers that wait
// for it. If no request is pending, it is dropped. The host's worker calls it.
func (r *Room) answerHistory(host *Session, payload []byte) {
	r.mu.Lock()
	if !r.historyRequest.sent || r.hostSlot.host != host {
		r.mu.Unlock()
		return
	}
	r.historyRequest.stop()
	request, upTo := r.historyRequest.number, r.takeEndsLocked()
	r.mu.Unlock()

	if !r.hub.fitsHistory(len(upTo) * len(payload)) {
		r.mu.Lock()
		r.dropEndsLocked(upTo)
		r.mu.Unlock()
		r.unpark(fromHost, request, func(s *Session) { s.historyUnavailable(relayBusy()) }, nil)
		return
	}
	// Encode it once in each encoding, with the number of the last broadcast
	// that it covers.
	frames := make(map[encoding]*shared)
	for _, to := range upTo {
		history := Broadcast{to.end.Seq(), payload}
		frames[to.encoding] = r.hub.newShared(r.hub.encodings[to.encoding].Broadcast(nil, history))
	}
	r.mu.Lock()
	r.cacheHistoryLocked(true, frames, upTo)
	r.mu.Unlock()
	r.unpark(fromHost, request, func(s *Session) {
		s.spliceHistory(frames[s.encoding], upTo.of(s.encoding).end)
	}, func() {
		for _, frame := range frames {
			frame.release()
		}
	})
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

// hostLate runs when the host has not answered within silentAfter. If the
// record reaches back to the first broadcast, it answers; otherwise the host
// has the rest of HistoryTimeout.
func (r *Room) hostLate(request uint32) {
	wait := r.hub.Config().HistoryTimeout - silentAfter
	r.mu.Lock()
	q, oldest := &r.historyRequest, r.log.Oldest()
	if wait > 0 && oldest.Seq() > 0 && q.sent && q.number == request {
		q.timer = time.AfterFunc(wait, func() { r.hostSilent(request) })
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if r.endHistoryRequest(request) {
		r.unpark(fromHost, request, func(s *Session) {
			if !r.askRecord(s) && !r.askHost(s) { // the record has been trimmed since
				s.historyUnavailable(refused(HistoryWithoutHost))
			}
		}, nil)
	}
}

// hostSilent runs when the host has not answered within HistoryTimeout. If the
// record does not answer either, the viewers continue the live stream where
// they stopped.
func (r *Room) hostSilent(request uint32) {
	if r.endHistoryRequest(request) {
		r.doWithoutHost(request)
	}
}

// endHistoryRequest ends the wait for the host. It returns false if the wait
// had ended before.
func (r *Room) endHistoryRequest(request uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.historyRequest.open || r.historyRequest.number != request {
		return false
	}
	r.historyRequest.stop()
	return true
}

// doWithoutHost gives the record's history to the viewers whose request the
// host will not answer.
func (r *Room) doWithoutHost(request uint32) {
	r.unpark(fromHost, request, func(s *Session) {
		if !r.askRecord(s) {
			s.historyUnavailable(refused(HistoryUnanswered))
		}
	}, nil)
}

// historyUnavailable tells a viewer that it gets no history. The broadcasts
// that came while it was parked do not count as lag until it has caught up.
func (s *Session) historyUnavailable(f *Refusal) {
	s.allowLag()
	f.History = true
	s.Report(f)
}

// park has a viewer wait for the answer to a request.
func (a *audience) park(s *Session, from source, request uint32) {
	s.set(flagParked)
	if a.parked[from] == nil {
		a.parked[from] = make(map[*Session]uint32)
	}
	a.parked[from][s] = request
}

// unpark calls f for each viewer that waits for this request or an older one,
// on the viewer's worker, and lets it continue. When all workers have finished,
// it calls done unless that is nil. It may be called from any goroutine.
func (r *Room) unpark(from source, request uint32, f func(*Session), done func()) {
	var left atomic.Int32
	left.Store(1)
	finish := func() {
		if left.Add(-1) == 0 && done != nil {
			done()
		}
	}
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			left.Add(1)
			a.shard.Post(func() (more bool) {
				if more = a.unpark(from, request, f); !more {
					finish()
				}
				return more
			})
		}
	}
	finish()
}

// unpark is Room.unpark on one worker. It returns true if it has to be run
// again.
func (a *audience) unpark(from source, request uint32, f func(*Session)) (more bool) {
	for s, waits := range a.parked[from] {
		if waits > request {
			continue
		}
		delete(a.parked[from], s)
		s.clear(flagParked)
		f(s)
		s.conn.Flush()
		if a.shard.Spent() {
			return true
		}
	}
	if len(a.parked[from]) == 0 {
		a.parked[from] = nil
	}
	return false
}
