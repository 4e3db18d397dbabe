// Package registry keeps the rooms of a relay by their codes: the open rooms,
// those that sleep because they are on disk and were not read yet, and the codes
// that rest because their rooms were closed lately.
package registry

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lectern/hub/roomcode"
)

// A Registry keeps rooms. Its methods may be called from any goroutine unless
// they say otherwise, and take no lock but its own.
type Registry[R any] struct {
	open atomic.Int64      // rooms, including those that sleep
	want func(code string) // immutable once served; asks for a room that sleeps

	mu       sync.RWMutex
	rooms    map[roomcode.Code]*R        // guarded by mu
	sleeping map[roomcode.Code]*sleeper  // guarded by mu
	resting  map[roomcode.Code]time.Time // guarded by mu; codes of closed rooms, and when they closed
	rest     []roomcode.Code             // guarded by mu; the codes in resting, oldest first
}

// New returns an empty Registry.
func New[R any]() *Registry[R] {
	return &Registry[R]{
		rooms: make(map[roomcode.Code]*R), sleeping: make(map[roomcode.Code]*sleeper), resting: make(map[roomcode.Code]time.Time),
	}
}

// Open returns the number of open rooms, including those that sleep.
func (g *Registry[R]) Open() int64 { return g.open.Load() }

// Lookup returns the open room with this code, nil if there is none.
func (g *Registry[R]) Lookup(c roomcode.Code) *R {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.rooms[c]
}

// RestTime is how long a closed room's code is not given to a new room. Clients
// of the closed room that reconnect automatically would otherwise end up among
// strangers. maxResting bounds the number of such codes; beyond it the oldest
// becomes free early.
const (
	RestTime   = time.Hour
	maxResting = 100_000
)

// Add adds a new room under a code that draw draws: the first that is free. It
// returns false if there are as many rooms as most.
func (g *Registry[R]) Add(r *R, most int, draw func() roomcode.Code) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.rooms)+len(g.sleeping) >= most {
		return false
	}
	g.freeCodesLocked(maxResting)
	for {
		c := draw()
		_, taken := g.rooms[c]
		_, rests := g.resting[c]
		if !taken && !rests && g.sleeping[c] == nil {
			g.rooms[c] = r
			g.open.Add(1)
			return true
		}
	}
}

// Remove takes a room out of the registry and reserves its code for RestTime.
func (g *Registry[R]) Remove(c roomcode.Code) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.rooms, c)
	g.open.Add(-1)
	g.freeCodesLocked(maxResting - 1)
	g.resting[c] = time.Now()
	g.rest = append(g.rest, c)
}

// freeCodesLocked frees codes that have rested for RestTime, and the oldest
// beyond limit.
func (g *Registry[R]) freeCodesLocked(limit int) {
	for len(g.rest) > 0 && (len(g.rest) > limit || time.Since(g.resting[g.rest[0]]) > RestTime) {
		delete(g.resting, g.rest[0])
		g.rest = g.rest[1:]
	}
}

// Rested reports whether a room with this code was closed within RestTime.
func (g *Registry[R]) Rested(c roomcode.Code) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, rests := g.resting[c]
	return rests
}

// An Entry is a room of a list.
type Entry[R any] struct {
	Code roomcode.Code
	Room *R // nil if it sleeps
}

// Page returns up to limit rooms beyond a code, in the order of their codes, and
// whether there are more.
func (g *Registry[R]) Page(beyond roomcode.Code, limit int) (page []Entry[R], more bool) {
	g.mu.RLock()
	all := make([]Entry[R], 0, len(g.rooms)+len(g.sleeping))
	add := func(c roomcode.Code, r *R) {
		if bytes.Compare(c[:], beyond[:]) > 0 {
			all = append(all, Entry[R]{c, r})
		}
	}
	for c, r := range g.rooms {
		add(c, r)
	}
	for c := range g.sleeping {
		add(c, nil)
	}
	g.mu.RUnlock()
	slices.SortFunc(all, func(a, b Entry[R]) int { return bytes.Compare(a.Code[:], b.Code[:]) })
	return all[:min(limit, len(all))], len(all) > limit
}
