package hub

import "time"

// Rooms that a store has on disk and has not given yet sleep: they count as open,
// and nobody who asks for one is told that it is not there.

// maxWake is how long anybody waits for a room to be read from disk.
const maxWake = 5 * time.Second

// A sleeper is a room that sleeps.
type sleeper struct {
	waiting []func()    // called when it is there, or has not come in time
	timer   *time.Timer // of the first who waits
}

// sleep notes rooms that are given later. Codes that are not valid are left out.
func (h *Hub) sleep(codes []string, want func(code string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.want = want
	for _, text := range codes {
		if c, ok := parseCode(text); ok && h.sleeping[c] == nil {
			h.sleeping[c] = new(sleeper)
			h.open.Add(1)
		}
	}
}

// Wake opens a room that Restore has made.
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

// Lost notes that a room that sleeps will not come.
func (h *Hub) Lost(code string) {
	c, ok := parseCode(code)
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

// wake tells those who wait. Nobody else comes: it is no longer in the registry.
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

// sleeps reports whether there is a room that has not been given yet.
func (h *Hub) sleeps(c code) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sleeping[c] != nil
}

// find finds an open room, nil if there is none or it sleeps.
func (h *Hub) find(c code) (r *Room, sleeps bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[c], h.sleeping[c] != nil
}

// await calls f when a room no longer sleeps, at once if it does not, and after
// maxWake if it still does. f must not block.
func (h *Hub) await(c code, f func()) {
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

// tooLate tells those who wait that a room has not come in time.
func (h *Hub) tooLate(c code, s *sleeper) {
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

// awake waits until rooms no longer sleep, maxWake at most. No worker may call it.
func (h *Hub) awake(codes ...code) {
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

// awaitRoom has the session wait for a room that sleeps, and then look again at
// the join or resume that asks for it. Nothing more is looked at meanwhile.
func (s *Session) awaitRoom(c code, e JoinRequest) {
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

// retries reports whether what the session says now has waited for its room.
func (s *Session) retries() bool { return s.more != nil && s.more.retries }
