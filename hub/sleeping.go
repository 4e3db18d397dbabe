package hub

import (
	"time"

	"lectern/hub/roomcode"
)

// A room that is on disk and has not been read yet sleeps. It counts as open,
// and clients that ask for it wait until it is read instead of being told that
// it does not exist.

// maxWake is how long a client waits for a room to be read from disk.
const maxWake = 5 * time.Second

// A sleeper is a sleeping room. It is guarded by Hub.mu until it is removed
// from Hub.sleeping.
type sleeper struct {
	waiting []func()    // called when the room is there, or after maxWake
	timer   *time.Timer // runs maxWake after the first of waiting
}

// sleep registers the codes of rooms that the store has yet to give back.
// Invalid codes are ignored.
func (h *Hub) sleep(codes []string, want func(code string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.want = want
	for _, text := range codes {
		if c, ok := roomcode.Parse(text); ok && h.sleeping[c] == nil {
			h.sleeping[c] = new(sleeper)
			h.open.Add(1)
		}
	}
}

// Wake makes a room that Restore has created available to clients.
func (h *Hub) Wake(r *Room) {
	h.mu.Lock()
	slept := h.sleeping[r.code]
	if slept == nil {
		h.open.Add(1)
	}
	delete(h.sleeping, r.code)
	h.rooms[r.code] = r
	h.mu.Unlock()
	slept.wake()
}

// Lost notes that a sleeping room cannot be restored.
func (h *Hub) Lost(code string) {
	c, ok := roomcode.Parse(code)
	h.mu.Lock()
	slept := h.sleeping[c]
	if !ok || slept == nil {
		h.mu.Unlock()
		return
	}
	delete(h.sleeping, c)
	h.open.Add(-1)
	h.mu.Unlock()
	slept.wake()
}

// wake calls the functions that wait. The sleeper is no longer in the registry,
// so none is added meanwhile.
func (s *sleeper) wake() {
	if s == nil {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, f := range s.waiting {
		f()
	}
}

// sleeps reports whether a room sleeps.
func (h *Hub) sleeps(c roomcode.Code) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sleeping[c] != nil
}

// find returns an open room, nil if there is none or it sleeps.
func (h *Hub) find(c roomcode.Code) (r *Room, sleeps bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[c], h.sleeping[c] != nil
}

// await calls f when a room no longer sleeps, which may be at once, or after
// maxWake at most. f must not block.
func (h *Hub) await(c roomcode.Code, f func()) {
	h.mu.Lock()
	s := h.sleeping[c]
	if s == nil {
		h.mu.Unlock()
		f()
		return
	}
	s.waiting = append(s.waiting, f)
	first := s.timer == nil
	if first {
		s.timer = time.AfterFunc(maxWake, func() { h.tooLate(c, s) })
	}
	h.mu.Unlock()
	if first {
		h.want(c.String())
	}
}

// tooLate calls the functions that have waited for maxWake.
func (h *Hub) tooLate(c roomcode.Code, s *sleeper) {
	h.mu.Lock()
	if h.sleeping[c] != s {
		h.mu.Unlock()
		return
	}
	waiting := s.waiting
	s.waiting, s.timer = nil, nil
	h.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// awake blocks until the rooms no longer sleep, for maxWake at most. Workers
// must not call it.
func (h *Hub) awake(codes ...roomcode.Code) {
	var late <-chan time.Time
	for _, c := range codes {
		if !h.sleeps(c) {
			continue
		}
		if late == nil {
			late = time.After(maxWake)
		}
		came := make(chan struct{})
		h.await(c, func() { close(came) })
		select {
		case <-came:
		case <-late:
			return
		}
	}
}

// awaitRoom has the session wait for a room that sleeps, and then handles its
// join or resume again. The session handles no other input in the meantime.
func (s *Session) awaitRoom(c roomcode.Code, e JoinRequest) {
	s.wait(func(finished func()) { s.shard.hub.await(c, finished) }, func(there bool) {
		if !there {
			return
		}
		s.extra().retries = true
		f := s.lookAt(e)
		if s.more != nil {
			s.more.retries = false
		}
		if f != nil {
			f.Tag = e.Tag
			s.Refuse(f)
		}
	})
}

// retries reports whether the message being handled has already waited for its
// room.
func (s *Session) retries() bool { return s.more != nil && s.more.retries }
