package hub

import "fmt"

// Messages between the host and one viewer. Each goes through the other's
// worker and has its place in the room's order. What waits for one connection is
// bounded: when it is full the sender hears too_fast, and nothing was passed on.

// directToHost passes a viewer's message to the host. It is called by the viewer's
// worker.
func (r *Room) directToHost(s *Session, text []byte) *fault {
	if f := r.hub.fitsDirect(text); f != nil {
		return f
	}
	r.mu.Lock()
	host := r.hostSlot.host
	r.mu.Unlock()
	if host == nil {
		return &fault{code: "host_away", message: "the host is not there"}
	}
	limit := int64(r.hub.Config().MaxPrivate)
	if r.toHost.Add(int64(len(text))) > limit {
		r.toHost.Add(-int64(len(text)))
		return hostIsBusy()
	}
	id := s.id
	host.shard.Post(func() bool {
		r.toHost.Add(-int64(len(text)))
		if host.room != r || !host.has(flagHost) || host.phase != open {
			r.bounce(s, id, &fault{code: "host_away", message: "the host is not there"})
			return false
		}
		if !host.takesDirect(text) {
			r.bounce(s, id, hostIsBusy())
			return false
		}
		host.tell(text)
		host.conn.Flush()
		return false
	})
	return nil
}

// directToViewer passes a host's message to the viewer with the id. It is called by
// the host's worker.
func (r *Room) directToViewer(host *Session, id uint32, text []byte) *fault {
	if f := r.hub.fitsDirect(text); f != nil {
		return f
	}
	r.mu.Lock()
	viewer, f := r.viewerLocked(host, id)
	if f != nil {
		r.mu.Unlock()
		return f
	}
	log := r.in(viewer.encoding)
	end := log.End()
	r.mu.Unlock()
	busy := &fault{code: "too_fast", message: "too much waits for this viewer; it was not passed on"}
	limit := int64(maxDirectToViewers * r.hub.Config().MaxPrivate)
	if r.toViewers.Add(int64(len(text))) > limit {
		r.toViewers.Add(-int64(len(text)))
		return busy
	}
	viewer.shard.Post(func() bool {
		r.toViewers.Add(-int64(len(text)))
		switch {
		case viewer.room != r || viewer.id != id || viewer.phase != open:
			r.bounce(host, 0, noSuchViewer(id))
		case !viewer.takesDirect(text):
			r.bounce(host, 0, busy)
		case viewer.has(flagHost) || viewer.log() != log: // it has left, and come back
			viewer.tell(text)
			viewer.conn.Flush()
		default:
			viewer.pushText(text, end.Position())
			viewer.conn.Flush()
		}
		return false
	})
	return nil
}

// maxDirectToViewers is how many times MaxPrivate may be on its way to a room's viewers
// between the workers.
const maxDirectToViewers = 16

// takesDirect reports whether there is room for one more message.
func (s *Session) takesDirect(text []byte) bool {
	waits := 0
	if s.out != nil {
		waits = s.out.bytes
	}
	return waits+len(text) <= s.shard.hub.Config().MaxPrivate
}

// fitsDirect reports whether a message can be passed on to a single receiver at
// all.
func (h *Hub) fitsDirect(text []byte) *fault {
	if limit := h.Config().MaxPrivate; len(text) > limit {
		return &fault{code: "too_large", message: fmt.Sprintf("a message to a single receiver may have at most %d bytes", limit)}
	}
	return nil
}

// tellHost gives the host a broadcast that came over HTTP, as the Log has it. A
// host that is too far behind with them is closed as too slow; its room waits for
// it. It is called by the host's worker.
func (s *Session) tellHost(whole []byte) {
	if s.out != nil && s.out.bytes+len(whole) > s.shard.hub.shrunk(s.shard.hub.Config().LagLimit) {
		s.tooSlow(CauseLag)
		return
	}
	s.push(private{frame: whole})
}

// bounce tells a sender that its message was not passed on.
func (r *Room) bounce(s *Session, id uint32, f *fault) {
	f.re = "message"
	r.tell(s, id, func() { s.report(f) })
}

func hostIsBusy() *fault {
	return &fault{code: "too_fast", message: "too much waits for the host; it was not passed on"}
}
