package hub

import "time"

// This file is about asking a host for the history.

// silentAfter is how long the host may take to answer in a room whose record
// can answer in its place.
const silentAfter = 250 * time.Millisecond

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

// askHost parks a viewer until the host's history is there, and asks the host
// unless a request is pending. It returns false if the host is away. The
// viewer's worker calls it.
func (h *history) askHost(s *Session) bool {
	r := h.room
	r.mu.Lock()
	if r.hostSlot.current() == nil {
		r.mu.Unlock()
		return false
	}
	q := &h.request
	if !q.open {
		q.open = true
		q.number++
		if wait := q.at + freshFor - r.hub.now(); q.number > 1 && wait > 0 {
			request := q.number
			q.timer = time.AfterFunc(wait, func() { h.send(request) })
		} else {
			h.sendLocked()
		}
	}
	request := q.number
	r.mu.Unlock()
	r.audiences.of(s.shard).park(s, fromHost, request)
	return true
}

// send sends a request that had to wait for freshFor.
func (h *history) send(request uint32) {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := &h.request; q.open && !q.sent && q.number == request && r.hostSlot.current() != nil {
		h.sendLocked()
	}
}

func (h *history) sendLocked() {
	r := h.room
	q := &h.request
	q.sent, q.at = true, r.hub.now()
	request := q.number
	q.timer = time.AfterFunc(min(silentAfter, r.hub.Config().HistoryTimeout), func() { h.hostLate(request) })
	h.tellHostLocked()
}

// tellHostLocked sends the pending request to the current host.
func (h *history) tellHostLocked() {
	r := h.room
	host := r.hostSlot.current()
	r.tell(host, 0, func() { host.tell(HistoryRequest{}) })
}

// expects reports whether a request to this host is pending.
func (h *history) expects(host *Session) bool {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.request.sent && r.hostSlot.current() == host
}

// answer gives the host's history, as it is, to the viewers that wait
// for it. If no request is pending, it is dropped. The host's worker calls it.
func (h *history) answer(host *Session, payload []byte, p prepared) {
	r := h.room
	r.mu.Lock()
	if !h.request.sent || r.hostSlot.current() != host {
		r.mu.Unlock()
		return
	}
	h.request.stop()
	request, upTo := h.request.number, r.streams.takeEnds()
	r.mu.Unlock()

	if !r.hub.fitsHistory(len(upTo) * len(payload)) {
		r.mu.Lock()
		r.streams.dropEnds(upTo)
		r.mu.Unlock()
		r.audiences.unpark(fromHost, request, func(s *Session) { s.historyUnavailable(relayBusy()) }, nil)
		return
	}
	// Encode it once in each encoding, with the number of the last broadcast
	// that it covers.
	frames := make(map[encoding]*shared)
	for _, to := range upTo {
		e := &r.hub.encodings[to.encoding]
		history := Broadcast{Epoch: r.epoch, Seq: to.end.Seq(), Payload: payload, Prepared: p.of(e)}
		frames[to.encoding] = r.hub.newShared(e.Broadcast(nil, history))
	}
	r.mu.Lock()
	h.cacheLocked(true, frames, upTo)
	r.mu.Unlock()
	r.audiences.unpark(fromHost, request, func(s *Session) {
		s.spliceHistory(frames[s.encoding], upTo.of(s.encoding).end)
	}, func() {
		for _, frame := range frames {
			frame.release()
		}
	})
}

// hostLate runs when the host has not answered within silentAfter. If the
// record reaches back to the first broadcast, it answers; otherwise the host
// has the rest of HistoryTimeout.
func (h *history) hostLate(request uint32) {
	r := h.room
	wait := r.hub.Config().HistoryTimeout - silentAfter
	r.mu.Lock()
	q, oldest := &h.request, r.streams.oldest()
	if wait > 0 && oldest.Seq() > 0 && q.sent && q.number == request {
		q.timer = time.AfterFunc(wait, func() { h.hostSilent(request) })
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	if h.endRequest(request) {
		r.audiences.unpark(fromHost, request, func(s *Session) {
			if !h.askRecord(s) && !h.askHost(s) { // the record has been trimmed since
				s.historyUnavailable(refused(HistoryWithoutHost))
			}
		}, nil)
	}
}

// hostSilent runs when the host has not answered within HistoryTimeout. If the
// record does not answer either, the viewers continue the live stream where
// they stopped.
func (h *history) hostSilent(request uint32) {
	if h.endRequest(request) {
		h.withoutHost(request)
	}
}

// endRequest ends the wait for the host. It returns false if the wait
// had ended before.
func (h *history) endRequest(request uint32) bool {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !h.request.open || h.request.number != request {
		return false
	}
	h.request.stop()
	return true
}

// withoutHost gives the record's history to the viewers whose request the
// host will not answer.
func (h *history) withoutHost(request uint32) {
	r := h.room
	r.audiences.unpark(fromHost, request, func(s *Session) {
		if !h.askRecord(s) {
			s.historyUnavailable(refused(HistoryUnanswered))
		}
	}, nil)
}

// stopRequestLocked ends the wait for the host because the host has left. It
// returns the request's number, and whether viewers wait for its answer.
func (h *history) stopRequestLocked() (request uint32, waits bool) {
	request, waits = h.request.number, h.request.open
	h.request.stop()
	return request, waits
}

// newHostLocked asks a new host what the previous one has not answered.
func (h *history) newHostLocked() {
	if h.request.sent {
		h.tellHostLocked()
	}
}
