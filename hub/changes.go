package hub

import (
	"sync"

	"lectern/hub/broadcast"
)

// changes are the rooms that a store has still to look at. A hub without a store
// has none.
type changes struct {
	mu    sync.Mutex
	rooms []*Room // guarded by mu; each once, with its mark set
}

// Persist has the hub note from now on which rooms change, and leave them open
// when it drains. Viewers' tokens are made with the key. It must be called
// before anything is served.
func (h *Hub) Persist(key [32]byte) {
	h.key = key
	h.changes = new(changes)
}

// Changed returns the rooms that have changed since the last call: those that
// are new, and those that were closed, too. It may be called from anywhere.
func (h *Hub) Changed() []*Room {
	c := h.changes
	c.mu.Lock()
	rooms := c.rooms
	c.rooms = nil
	c.mu.Unlock()
	for _, r := range rooms {
		r.marked.Store(false) // before anybody looks at it: what changes now marks it again
	}
	return rooms
}

// changed marks the room for the store. It is called after each change that
// outlives the relay. The second broadcast of an interval costs one load.
func (r *Room) changed() {
	c := r.hub.changes
	if c == nil || r.marked.Load() || !r.marked.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	c.rooms = append(c.rooms, r)
	c.mu.Unlock()
}

// End returns the place after the room's last broadcast. It may be called from
// anywhere.
func (r *Room) End() broadcast.Cursor { return r.log.End() }

// stays reports whether the room outlives the relay, which is about to end:
// then nothing closes it but the host or the API.
func (r *Room) stays() bool { return r.hub.changes != nil && r.hub.draining.Load() }
