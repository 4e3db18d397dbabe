package registry

import (
	"time"

	"lectern/hub/roomcode"
)

// A room that is on disk and has not been read yet sleeps. It counts as open,
// and clients that ask for it wait until it is read instead of being told that
// it does not exist.

// MaxWake is how long a client waits for a room to be read from disk.
const MaxWake = 5 * time.Second

// A sleeper is a sleeping room. It is guarded by Registry.mu until it is removed
// from Registry.sleeping.
type sleeper struct {
	waiting []func()    // called when the room is there, or after MaxWake
	timer   *time.Timer // runs MaxWake after the first of waiting
}

// Sleep registers the codes of rooms that the store has yet to give back.
// Want asks for
// one of them, and must not block. Invalid codes are ignored. It must be called
// before anything is served.
func (g *Registry[R]) Sleep(codes []string, want func(code string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want = want
	for _, text := range codes {
		if c, ok := roomcode.Parse(text); ok && g.sleeping[c] == nil {
			g.sleeping[c] = new(sleeper)
			g.open.Add(1)
		}
	}
}

// Wake makes a room available under its code, which may have slept.
func (g *Registry[R]) Wake(c roomcode.Code, r *R) {
	g.mu.Lock()
	slept := g.sleeping[c]
	if slept == nil {
		g.open.Add(1)
	}
	delete(g.sleeping, c)
	g.rooms[c] = r
	g.mu.Unlock()
	slept.wake()
}

// Lost notes that a sleeping room cannot be restored.
func (g *Registry[R]) Lost(c roomcode.Code) {
	g.mu.Lock()
	slept := g.sleeping[c]
	if slept == nil {
		g.mu.Unlock()
		return
	}
	delete(g.sleeping, c)
	g.open.Add(-1)
	g.mu.Unlock()
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
func (g *Registry[R]) sleeps(c roomcode.Code) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.sleeping[c] != nil
}

// Find returns an open room, nil if there is none or it sleeps.
func (g *Registry[R]) Find(c roomcode.Code) (r *R, sleeps bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.rooms[c], g.sleeping[c] != nil
}

// Await calls f when a room no longer sleeps, which may be at once, or after
// MaxWake at most. f must not block.
func (g *Registry[R]) Await(c roomcode.Code, f func()) {
	g.mu.Lock()
	s := g.sleeping[c]
	if s == nil {
		g.mu.Unlock()
		f()
		return
	}
	s.waiting = append(s.waiting, f)
	first := s.timer == nil
	if first {
		s.timer = time.AfterFunc(MaxWake, func() { g.tooLate(c, s) })
	}
	g.mu.Unlock()
	if first {
		g.want(c.String())
	}
}

// tooLate calls the functions that have waited for MaxWake.
func (g *Registry[R]) tooLate(c roomcode.Code, s *sleeper) {
	g.mu.Lock()
	if g.sleeping[c] != s {
		g.mu.Unlock()
		return
	}
	waiting := s.waiting
	s.waiting, s.timer = nil, nil
	g.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// Awake blocks until the rooms no longer sleep, for MaxWake at most. Workers
// must not call it.
func (g *Registry[R]) Awake(codes ...roomcode.Code) {
	var late <-chan time.Time
	for _, c := range codes {
		if !g.sleeps(c) {
			continue
		}
		if late == nil {
			late = time.After(MaxWake)
		}
		came := make(chan struct{})
		g.Await(c, func() { close(came) })
		select {
		case <-came:
		case <-late:
			return
		}
	}
}
