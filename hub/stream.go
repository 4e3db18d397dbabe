package hub

import (
	"slices"
	"sync/atomic"
	"time"

	"lectern/hub/broadcast"
)

// A stream is a room's Log in one encoding. The first stream of a room is the
// record, which is always there. The others are created when a viewer first
// wants their encoding, and dropped with the last such viewer.
type stream struct {
	encoding encoding       // immutable
	log      *broadcast.Log // immutable; appended to under the room's lock
	wants    int            // guarded by the room's lock; number of readers
	backfill backfill       // guarded by the room's lock
}

// streams are a room's Logs. The room's lock guards what is not marked
// otherwise, and its holder calls the methods unless they say otherwise.
type streams struct {
	room   *Room                     // immutable
	record *broadcast.Log            // immutable once a session is in the room; the first stream's
	all    atomic.Pointer[[]*stream] // a change replaces the slice; any goroutine may read it
	grown  atomic.Uint64             // atomic; events and broadcasts appended so far

	released bool   // the room is closed
	held     int64  // bytes of the Logs, as last counted
	counted  int64  // bytes that the budget counts for the room
	aged     uint64 // value of grown when age last ran
}

// begin makes a Log the room's record. It must be called before any session
// enters the room.
func (s *streams) begin(l *broadcast.Log, in encoding) {
	s.record = l
	s.all.Store(&[]*stream{{encoding: in, log: l}})
}

// of returns the stream in an encoding, nil if nobody wants it. Any goroutine
// may call it.
func (s *streams) of(e encoding) *stream {
	for _, st := range *s.all.Load() {
		if st.encoding == e {
			return st
		}
	}
	return nil
}

// in returns the room's Log in an encoding, nil if nobody wants it. Any
// goroutine may call it.
func (s *streams) in(e encoding) *broadcast.Log {
	if st := s.of(e); st != nil {
		return st.log
	}
	return nil
}

// end returns the record's end. Any goroutine may call it.
func (s *streams) end() broadcast.Cursor { return s.record.End() }

// oldest returns the place before what the record still has. Any goroutine may
// call it.
func (s *streams) oldest() broadcast.Cursor { return s.record.Oldest() }

// at returns the place in the record before a broadcast, and whether the record
// still has it. Any goroutine may call it.
func (s *streams) at(seq uint64) (broadcast.Cursor, bool) { return s.record.At(seq) }

// size returns how many events and broadcasts were appended so far. Any
// goroutine may call it.
func (s *streams) size() uint64 { return s.grown.Load() }

// bytes returns how many bytes the Logs hold.
func (s *streams) bytes() int64 { return s.held }

// encoding returns the encoding of the record. Any goroutine may call it.
func (s *streams) encoding() encoding { return (*s.all.Load())[0].encoding }

// want adds a reader of an encoding, and starts a Log in it if there is none.
func (s *streams) want(e encoding) *broadcast.Log {
	st := s.of(e)
	if st == nil {
		st = &stream{encoding: e, log: s.record.Follow()}
		all := append(slices.Clone(*s.all.Load()), st)
		s.all.Store(&all)
	}
	st.wants++
	return st.log
}

// unwant removes a reader of an encoding. A Log without readers is dropped,
// unless it is the record.
func (s *streams) unwant(e encoding) {
	st := s.of(e)
	st.wants--
	if st.wants == 0 && st.log != s.record {
		all := slices.DeleteFunc(slices.Clone(*s.all.Load()), func(other *stream) bool { return other == st })
		s.all.Store(&all)
		s.countBytes()
	}
}

// append appends a broadcast to the Log in each encoding that somebody wants.
func (s *streams) append(b Broadcast, p prepared) {
	h := s.room.hub
	now := h.now()
	for _, st := range slices.Backward(*s.all.Load()) { // the record last, because the others follow it
		b.Prepared = p.of(&h.encodings[st.encoding])
		h.write(st.log, st.encoding, b, now)
	}
	s.trim(now)
	s.grown.Add(1)
}

// notice sends every viewer an event at this place of the room's order. The
// caller wakes the audiences afterwards.
func (s *streams) notice(e Event) {
	h := s.room.hub
	now := h.now()
	for _, st := range slices.Backward(*s.all.Load()) {
		h.writeEvent(st.log, st.encoding, e, now)
	}
	s.trim(now)
	s.grown.Add(1)
}

// wantsCount reports whether some viewer wants ViewerCount events.
func (s *streams) wantsCount() bool { return slices.ContainsFunc(*s.all.Load(), s.countsViewers) }

func (s *streams) countsViewers(st *stream) bool {
	return st.wants > 0 && s.room.hub.encodings[st.encoding].CountsViewers
}

// count sends the number of viewers to all who want it.
func (s *streams) count(viewers int, now time.Duration) {
	for _, st := range *s.all.Load() {
		if s.countsViewers(st) {
			s.room.hub.writeEvent(st.log, st.encoding, ViewerCount{viewers}, now)
		}
	}
	s.grown.Add(1)
}

// write appends a broadcast to a Log in its encoding.
func (h *Hub) write(l *broadcast.Log, in encoding, b Broadcast, now time.Duration) {
	e, size := &h.encodings[in], len(b.Payload)
	if b.Prepared != nil {
		size = len(b.Prepared)
	}
	frame := e.Broadcast(l.Reserve(size + e.Longer)[:0], b)
	l.Commit(len(frame), now)
}

// writeEvent appends an event to a Log in its encoding.
func (h *Hub) writeEvent(l *broadcast.Log, in encoding, e Event, now time.Duration) {
	if text := h.appendEvent(nil, in, e); len(text) > 0 {
		writeNotice(l, text, now)
	}
}

func writeNotice(l *broadcast.Log, frame []byte, now time.Duration) {
	copy(l.Reserve(len(frame)), frame)
	l.CommitNotice(len(frame), now)
}
