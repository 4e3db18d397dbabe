package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// The first of a room's streams is its record. The history that it tells is
// encoded at most every freshFor, aside from the workers, for all who wait for it.

// A record is a room's history while it is encoded. It is guarded by the room's
// lock.
type record struct {
	number  uint32        // counts them; those parked know theirs
	running bool          // it is being encoded
	begun   time.Duration // when
	upTo    ends          // while it runs, the places up to which it tells
	due     bool          // the next one waits for its time
}

// askRecord parks a viewer until the record is encoded, and has that done. It
// returns false if the room is closed, or the record no longer reaches back to
// the first broadcast in a room whose host would. It is called by the viewer's
// worker.
func (r *Room) askRecord(s *Session) bool {
	r.mu.Lock()
	oldest, c := r.log.Oldest(), &r.record
	if r.closed || oldest.Seq() > 0 && !r.options.relayTells {
		r.mu.Unlock()
		return false
	}
	number := c.number
	if !c.running || !c.upTo.of(s.encoding).fits(s) {
		number++
		r.encodeSoonLocked()
	}
	r.mu.Unlock()
	r.audience(s.shard).park(s, fromRecord, number)
	return true
}

// encodeSoonLocked has the next history encoded, now or when its time has come.
func (r *Room) encodeSoonLocked() {
	c := &r.record
	if c.due {
		return
	}
	c.due = true
	if wait := c.begun + freshFor - r.hub.now(); c.number > 0 && wait > 0 {
		time.AfterFunc(wait, func() { r.hub.encoders.do(r.encodeRecord) })
	} else {
		r.hub.encoders.do(r.encodeRecord)
	}
}

// encodeRecord encodes the history for those who wait for it.
func (r *Room) encodeRecord() {
	r.mu.Lock()
	c := &r.record
	c.due = false
	switch {
	case r.closed:
		r.mu.Unlock()
		return
	case c.running: // for longer than freshFor
		c.begun = r.hub.now()
		r.encodeSoonLocked()
		r.mu.Unlock()
		return
	}
	c.number++
	oldest, number, upTo := r.log.Oldest(), c.number, r.takeEndsLocked()
	c.running, c.begun, c.upTo = true, r.hub.now(), upTo
	r.mu.Unlock()

	useful := oldest.Seq() == 0 || r.options.relayTells
	fits := r.hub.fitsHistory(r.hub.historySize(oldest, upTo))
	var histories map[encoding]*shared
	if useful && fits {
		histories = r.hub.encodeHistories(oldest, upTo)
	}

	r.mu.Lock()
	c.running, c.upTo = false, ends{}
	if histories != nil {
		r.keepLocked(false, histories, upTo)
	} else {
		r.dropEndsLocked(upTo)
	}
	r.mu.Unlock()
	r.unpark(fromRecord, number, func(s *Session) {
		switch {
		case histories != nil:
			s.spliceHistory(histories[s.encoding], upTo.of(s.encoding).end)
		case !fits:
			s.historyUnavailable(relayBusy())
		case !r.askHost(s):
			s.historyUnavailable(refused(HistoryWithoutHost))
		}
	}, func() {
		for _, history := range histories {
			history.release()
		}
	})
}

// encodeHistories encodes the messages of the record from a place up to its end, once
// for each dialect: its encodings tell the same. The first of the ends is the record's.
func (h *Hub) encodeHistories(from broadcast.Cursor, upTo ends) map[encoding]*shared {
	histories := make(map[encoding]*shared, len(upTo))
	made := make(map[uint8]*shared, 1)
	for _, to := range upTo {
		e := &h.encodings[to.encoding]
		if history, ok := made[e.dialect]; ok {
			histories[to.encoding] = history.hold()
			continue
		}
		history := h.newShared(e.History(from, upTo[0].end))
		made[e.dialect], histories[to.encoding] = history, history
	}
	return histories
}

// historySize returns how many bytes these histories have at most.
func (h *Hub) historySize(from broadcast.Cursor, upTo ends) (size int) {
	seen := make(map[uint8]bool, 1)
	for _, to := range upTo {
		if e := &h.encodings[to.encoding]; !seen[e.dialect] {
			seen[e.dialect] = true
			size += e.HistorySize(from, upTo[0].end)
		}
	}
	return size
}

// spliceHistory queues a history and moves the session to the place up to which
// it tells, once the frame that it is in the middle of has gone out.
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

// yieldEvery is after how many messages an encoder lets others run: some 50 us.
const yieldEvery = 128
