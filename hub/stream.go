package hub

import (
	"runtime"
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

// streams are the streams of a room. A change, under the room's lock, replaces
// the slice.
type streams struct{ atomic.Pointer[[]*stream] }

// of returns the stream in an encoding, nil if nobody wants it.
func (all *streams) of(e encoding) *stream {
	for _, st := range *all.Load() {
		if st.encoding == e {
			return st
		}
	}
	return nil
}

// in returns the room's Log in an encoding, nil if nobody wants it.
func (r *Room) in(e encoding) *broadcast.Log {
	if st := r.streams.of(e); st != nil {
		return st.log
	}
	return nil
}

// recordEncoding returns the encoding of the room's record.
func (r *Room) recordEncoding() encoding { return (*r.streams.Load())[0].encoding }

// wantLocked adds a reader of an encoding, and starts a Log in it if there is
// none.
func (r *Room) wantLocked(e encoding) *broadcast.Log {
	st := r.streams.of(e)
	if st == nil {
		st = &stream{encoding: e, log: r.log.Follow()}
		all := append(slices.Clone(*r.streams.Load()), st)
		r.streams.Store(&all)
	}
	st.wants++
	return st.log
}

// unwant removes a reader of an encoding.
func (r *Room) unwant(e encoding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwantLocked(e)
}

// unwantLocked removes a reader of an encoding. A Log without readers is
// dropped, unless it is the record.
func (r *Room) unwantLocked(e encoding) {
	st := r.streams.of(e)
	st.wants--
	if st.wants == 0 && st.log != r.log {
		all := slices.DeleteFunc(slices.Clone(*r.streams.Load()), func(other *stream) bool { return other == st })
		r.streams.Store(&all)
		r.countBytesLocked()
	}
}

// appendLocked appends a broadcast to the Log in each encoding that somebody
// wants.
func (r *Room) appendLocked(b Broadcast) {
	now := r.hub.now()
	for _, st := range slices.Backward(*r.streams.Load()) { // the record last, because the others follow it
		r.hub.write(st.log, st.encoding, b, now)
	}
	r.trimLocked(now)
	r.grown.Add(1)
}

// noticeLocked sends every viewer an event at this place of the room's order.
// The caller wakes the audiences afterwards.
func (r *Room) noticeLocked(e Event) {
	now := r.hub.now()
	for _, st := range slices.Backward(*r.streams.Load()) {
		r.hub.writeEvent(st.log, st.encoding, e, now)
	}
	r.trimLocked(now)
	r.grown.Add(1)
}

// write appends a broadcast to a Log in its encoding.
func (h *Hub) write(l *broadcast.Log, in encoding, b Broadcast, now time.Duration) {
	e := &h.encodings[in]
	frame := e.Broadcast(l.Reserve(len(b.Payload) + e.Longer)[:0], b)
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

// A backfill is the encoding of a room's past for viewers that come back in an
// encoding that was not written all along. It is guarded by the room's lock.
type backfill struct {
	running bool
	waiting []func() // called when it is finished
}

// backfill extends the Log in an encoding back to where the record begins, and
// then calls done. Somebody must want the encoding, and it must not be the
// record's. The past is encoded once for all who wait for it, in a goroutine
// and without the room's lock, so that the host can broadcast meanwhile. It may
// be called from any goroutine.
func (r *Room) backfill(e encoding, done func()) {
	r.mu.Lock()
	st := r.streams.of(e)
	b := &st.backfill
	b.waiting = append(b.waiting, done)
	first := !b.running
	b.running = true
	r.mu.Unlock()
	if first {
		r.hub.encoders.do(func() {
			r.encodePast(st)
			r.mu.Lock()
			waiting := b.waiting
			*b = backfill{}
			r.mu.Unlock()
			for _, done := range waiting {
				done()
			}
		})
	}
}

// encodePast encodes the part of the record that a stream lacks.
func (r *Room) encodePast(st *stream) {
	r.mu.Lock()
	l := st.log
	if st.wants == 0 || r.closed { // all viewers that wanted it have left
		r.mu.Unlock()
		return
	}
	front, until, from := l.Oldest(), l.Before(), r.log.Oldest()
	r.mu.Unlock()
	if from.Position() >= until {
		return
	}
	h := r.hub
	sameDialect := h.encodings[st.encoding].dialect == h.encodings[r.recordEncoding()].dialect
	past := h.newLog(from.Seq())
	for n := 1; from.Position() < until; n++ {
		whole, isMessage := from.NextFrame()
		if isMessage {
			h.write(past, st.encoding, broadcastIn(whole, from.Seq()), h.now())
		} else if sameDialect { // a dialect of its own leaves out past events
			writeNotice(past, whole, h.now())
		}
		if n%yieldEvery == 0 {
			runtime.Gosched() // let workers that have something to do go first
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if st.wants > 0 && !r.closed {
		l.Prepend(past, front)
		r.trimLocked(h.now())
	}
}
