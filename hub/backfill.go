package hub

import (
	"runtime"

	"lectern/hub/broadcast"
)

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
func (s *streams) backfill(e encoding, done func()) {
	r := s.room
	r.mu.Lock()
	st := s.of(e)
	b := &st.backfill
	b.waiting = append(b.waiting, done)
	first := !b.running
	b.running = true
	r.mu.Unlock()
	if first {
		r.hub.encoders.Do(func() {
			s.encodePast(st)
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
func (s *streams) encodePast(st *stream) {
	r := s.room
	r.mu.Lock()
	l := st.log
	if st.wants == 0 || s.released { // all viewers that wanted it have left
		r.mu.Unlock()
		return
	}
	front, until, from := l.Oldest(), l.Before(), s.record.Oldest()
	r.mu.Unlock()
	if from.Position() >= until {
		return
	}
	h := r.hub
	notices := h.noticesIn(st.encoding, s.encoding())
	past, work := h.newLog(from.Seq()), 0
	for n := 1; from.Position() < until; n++ {
		whole, isMessage := from.NextFrame()
		if isMessage {
			b := r.broadcastIn(whole, from.Seq())
			if b.Prepared = h.prepare(&h.encodings[st.encoding], b.Payload); b.Prepared != nil {
				work += len(b.Payload)
			}
			h.write(past, st.encoding, b, h.now())
		} else if notices != nil { // a dialect of its own leaves out past events
			writeNotice(past, notices(whole), h.now())
		}
		if n%yieldEvery == 0 || work >= prepareInline {
			work = 0
			runtime.Gosched() // let workers that have something to do go first
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if st.wants > 0 && !s.released {
		l.Prepend(past, front)
		s.trim(h.now())
	}
}

// refill appends the broadcasts of a restored room, in segments of just the
// right size, because most restored rooms stay silent.
func (s *streams) refill(messages [][]byte, most int64) {
	h, bytes := s.room.hub, 0
	for _, text := range messages {
		bytes += len(text) + h.encodings[s.encoding()].Longer
	}
	keep := s.retention(h.now())
	if keep.Buffers == 0 || most > 0 && most < keep.Buffers {
		keep.Buffers = most
	}
	size := min(max(bytes/restoredSegments, broadcast.MinSegment), broadcast.MaxSegment)
	s.record.Bound(size, size)
	for i, text := range messages {
		h.write(s.record, s.encoding(), Broadcast{Epoch: s.room.epoch, Payload: text}, h.now())
		if i%64 == 63 || i == len(messages)-1 {
			s.keepOnly(keep)
		}
	}
	s.record.Bound(broadcast.MinSegment, broadcast.MaxSegment)
	s.grown.Add(uint64(len(messages)))
}
