package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// The first of a room's streams is its record. A history made from it is
// encoded at most once in freshFor, in a goroutine, for all viewers that wait
// for it.

// A recordHistory is the encoding of a room's history from its record. It is
// guarded by the room's lock.
type recordHistory struct {
	number  uint32        // counts the encodings; parked viewers remember theirs
	running bool          // an encoding is under way
	begun   time.Duration // when the latest encoding began
	upTo    ends          // while running: where the history ends in each Log
	due     bool          // the next encoding is scheduled
}

// askRecord parks a viewer until a history is made from the record, and
// schedules that. It returns false if the room is closed, or if the host keeps
// the history and the record no longer reaches back to the first broadcast. The
// viewer's worker calls it.
func (h *history) askRecord(s *Session) bool {
	r := h.room
	r.mu.Lock()
	oldest, c := r.streams.oldest(), &h.record
	if r.closed || oldest.Seq() > 0 && !r.options.relayTells {
		r.mu.Unlock()
		return false
	}
	number := c.number
	if !c.running || !c.upTo.of(s.encoding).fits(s) {
		number++
		h.encodeSoonLocked()
	}
	r.mu.Unlock()
	r.audiences.of(s.shard).park(s, fromRecord, number)
	return true
}

// encodeSoonLocked schedules the next encoding, at freshFor after the previous
// one began or at once.
func (h *history) encodeSoonLocked() {
	r := h.room
	c := &h.record
	if c.due {
		return
	}
	c.due = true
	if wait := c.begun + freshFor - r.hub.now(); c.number > 0 && wait > 0 {
		time.AfterFunc(wait, func() { r.hub.encoders.Do(h.encodeRecord) })
	} else {
		r.hub.encoders.Do(h.encodeRecord)
	}
}

// encodeRecord encodes the history for the viewers that wait for it.
func (h *history) encodeRecord() {
	r := h.room
	r.mu.Lock()
	c := &h.record
	c.due = false
	switch {
	case r.closed:
		r.mu.Unlock()
		return
	case c.running: // the previous encoding takes longer than freshFor
		c.begun = r.hub.now()
		h.encodeSoonLocked()
		r.mu.Unlock()
		return
	}
	c.number++
	oldest, number, upTo := r.streams.oldest(), c.number, r.streams.takeEnds()
	c.running, c.begun, c.upTo = true, r.hub.now(), upTo
	r.mu.Unlock()

	useful := oldest.Seq() == 0 || r.options.relayTells
	fits := r.hub.fitsHistory(r.hub.historySize(oldest, upTo))
	var histories map[encoding]*shared
	if useful && fits {
		histories = r.encodeHistories(oldest, upTo)
	}

	r.mu.Lock()
	c.running, c.upTo = false, ends{}
	if histories != nil {
		h.cacheLocked(false, histories, upTo)
	} else {
		r.streams.dropEnds(upTo)
	}
	r.mu.Unlock()
	r.audiences.unpark(fromRecord, number, func(s *Session) {
		switch {
		case histories != nil:
			s.spliceHistory(histories[s.encoding], upTo.of(s.encoding).end)
		case !fits:
			s.historyUnavailable(relayBusy())
		case !h.askHost(s):
			s.historyUnavailable(refused(HistoryWithoutHost))
		}
	}, func() {
		for _, history := range histories {
			history.release()
		}
	})
}

// encodeHistories encodes the broadcasts between a place in the record and its
// end, once for all encodings that share a history, and packs each history at most
// once. upTo begins with the record's end.
func (r *Room) encodeHistories(from broadcast.Cursor, upTo ends) map[encoding]*shared {
	h := r.hub
	histories := make(map[encoding]*shared, len(upTo))
	plain, packed := make(map[encoding]*shared, 1), make(map[encoding]*shared, 1)
	for _, to := range upTo {
		e, of := &h.encodings[to.encoding], h.historyOf(to.encoding)
		if plain[of] == nil {
			plain[of] = h.newShared(h.encodings[of].History(r.epoch, from, upTo[0].end))
		}
		history := plain[of]
		if e.Pack != nil {
			if packed[of] == nil {
				packed[of] = h.packed(e, history)
			}
			history = packed[of]
		}
		histories[to.encoding] = history.hold()
	}
	for _, made := range []map[encoding]*shared{plain, packed} {
		for _, history := range made {
			history.release()
		}
	}
	return histories
}

// packed returns a packed history, which the caller holds; the same one if it does
// not become shorter.
func (h *Hub) packed(e *registered, history *shared) *shared {
	short := h.pack(e, history.frame)
	if len(short) >= len(history.frame) {
		return history.hold()
	}
	return h.newShared(short)
}

// historySize returns an upper bound of the size of these histories in bytes.
func (h *Hub) historySize(from broadcast.Cursor, upTo ends) (size int) {
	type made struct {
		of     encoding
		packed bool
	}
	seen := make(map[made]bool, 1)
	for _, to := range upTo {
		of := h.historyOf(to.encoding)
		for _, one := range []made{{of, false}, {of, h.encodings[to.encoding].Pack != nil}} {
			if !seen[one] {
				seen[one] = true
				size += h.encodings[of].HistorySize(from, upTo[0].end)
			}
		}
	}
	return size
}

// spliceHistory queues a history, and moves the session's cursor to where the
// history ends. The rest of a frame that the session is in the middle of goes
// out first.
func (s *Session) spliceHistory(history *shared, upTo broadcast.Cursor) {
	partial := s.cursor.Rest()
	s.outbound().splice(private{frame: history.frame, shared: history.hold(), place: upTo.Position(), kind: bulky})
	s.out.since = s.shard.Now()
	s.cursor = upTo
	if partial != nil {
		s.out.pushRest(partial)
	}
	s.allowLag()
}

// yieldEvery is how many messages an encoder handles before it lets other
// goroutines run: some 50 us.
const yieldEvery = 128
