package hub

import "lectern/frame"

// Direct messages between the host and one viewer. The receiver's worker queues
// each one at its place in the room's order. What waits for one connection is
// bounded: when the bound is reached, the sender is told too_fast and the
// message is dropped.

// directToHost passes a viewer's message to the host. The viewer's worker calls
// it.
func (r *Room) directToHost(s *Session, data []byte, tag Tag) *Refusal {
	m, f := s.direct(Direct{From: s.id, Data: data})
	if f != nil {
		return f
	}
	host := r.host()
	if host == nil {
		return refused(HostAway)
	}
	whole := m.inLanguageOf(host)
	size, limit := int64(len(whole)), int64(r.hub.Config().MaxPrivate)
	if r.toHost.Add(size) > limit {
		r.toHost.Add(-size)
		return refused(HostBusy)
	}
	id := s.id
	host.shard.Post(func() bool {
		r.toHost.Add(-size)
		if host.room != r || !host.has(flagHost) || host.phase != open {
			r.bounce(s, id, tag, refused(HostAway))
			return false
		}
		if !host.takesDirect(whole) {
			r.bounce(s, id, tag, refused(HostBusy))
			return false
		}
		host.push(private{frame: whole, place: host.place(), direct: true})
		host.conn.Flush()
		return false
	})
	return nil
}

// directToViewer passes a host's message to the viewer with the id. The host's
// worker calls it.
func (r *Room) directToViewer(host *Session, id uint32, data []byte, tag Tag) *Refusal {
	m, f := host.direct(Direct{Data: data})
	if f != nil {
		return f
	}
	r.mu.Lock()
	viewer, f := r.viewerLocked(host, id)
	if f != nil {
		r.mu.Unlock()
		return f
	}
	log := r.streams.in(viewer.encoding)
	end := log.End()
	r.mu.Unlock()
	whole := m.inLanguageOf(viewer)
	size, limit := int64(len(whole)), int64(maxDirectToViewers*r.hub.Config().MaxPrivate)
	if r.toViewers.Add(size) > limit {
		r.toViewers.Add(-size)
		return refused(ViewerBusy)
	}
	viewer.shard.Post(func() bool {
		r.toViewers.Add(-size)
		switch {
		case viewer.room != r || viewer.id != id || viewer.phase != open:
			r.bounce(host, 0, tag, noSuchViewer(id))
		case !viewer.takesDirect(whole):
			r.bounce(host, 0, tag, refused(ViewerBusy))
		case viewer.has(flagHost) || viewer.log() != log: // the viewer has left and come back
			viewer.push(private{frame: whole, place: viewer.place(), direct: true})
			viewer.conn.Flush()
		default:
			viewer.push(private{frame: whole, place: end.Position(), direct: true})
			viewer.conn.Flush()
		}
		return false
	})
	return nil
}

// A directMessage is a direct message, encoded in its sender's dialect.
type directMessage struct {
	Direct
	from  *Session
	whole []byte // the frame in the sender's dialect
}

// direct encodes a message for one receiver. It refuses a message that is too
// large for any receiver.
func (s *Session) direct(e Direct) (directMessage, *Refusal) {
	whole := s.language().AppendEvent(nil, e)
	if limit := s.Config().MaxPrivate; payloadSize(whole) > limit {
		return directMessage{}, &Refusal{Kind: DirectTooLarge, Limit: limit}
	}
	return directMessage{e, s, whole}, nil
}

// payloadSize returns the bytes of a frame that its limit counts.
func payloadSize(whole []byte) int {
	if whole[0] < 0x80 {
		return len(whole) // of an event stream: the first byte of a WebSocket's frame has FIN
	}
	return len(frame.Payload(whole))
}

// inLanguageOf returns the frame for a receiver. It does not refer to the
// sender's buffers.
func (m directMessage) inLanguageOf(to *Session) []byte {
	if to.dialect == m.from.dialect {
		return m.whole
	}
	return to.language().AppendEvent(nil, m.Direct)
}

// maxDirectToViewers is how many times MaxPrivate may be on its way to the
// viewers of a room, between the workers.
const maxDirectToViewers = 16

// takesDirect reports whether one more direct message fits in the session's
// queue.
func (s *Session) takesDirect(whole []byte) bool {
	waits := 0
	if s.out != nil {
		waits = s.out.bytes
	}
	return waits+len(whole) <= s.shard.hub.Config().MaxPrivate
}

// tellHost queues a broadcast that came over HTTP for the host, in the host's
// dialect. A host that is too far behind with these is closed as too slow, and
// its room waits for it. The host's worker calls it.
func (s *Session) tellHost(r *Room, whole []byte, seq uint64) {
	h := r.hub
	if mine := &h.encodings[s.encoding]; mine.dialect != h.encodings[r.streams.encoding()].dialect {
		whole = mine.Broadcast(nil, r.broadcastIn(whole, seq))
	}
	if s.out != nil && s.out.bytes+len(whole) > s.shard.hub.shrunk(s.shard.hub.Config().LagLimit) {
		s.tooSlow(CauseLag)
		return
	}
	s.push(private{frame: whole})
}

// bounce tells a sender that its message was not delivered.
func (r *Room) bounce(s *Session, id uint32, tag Tag, f *Refusal) {
	f.Tag = tag
	r.tell(s, id, func() { s.Report(f) })
}
