package hub

import (
	"sync"

	"lectern/hub/broadcast"
)

// changes are the rooms that the store has not yet looked at since they
// changed.
type changes struct {
	mu    sync.Mutex
	rooms []*Room // guarded by mu; each room once, with its marked set
}

// A Store keeps rooms beyond the life of the relay, on disk or elsewhere. It
// saves the rooms that [Hub.Changed] returns, and gives rooms back with
// [Hub.Restore] and [Hub.Wake]. The hub decides which viewers recover from what
// the store gives back.
type Store interface {
	// Key returns the key of viewers' tokens. It must be the same after every
	// start.
	Key() [32]byte
	// Codes returns the codes of the rooms that the store has yet to give back.
	// The store calls Wake or Lost once for each of them. Until then the room
	// sleeps: it counts as open, and the hub calls Want when a client asks for
	// it. Invalid codes are ignored.
	Codes() []string
	// Want asks for a room that sleeps. It may be called from any goroutine, and
	// must not block.
	Want(code string)
}

// Persist has the hub keep its rooms in a store: the hub records which rooms
// change, and leaves rooms open when it shuts down. Persist must be called
// before anything is served.
func (h *Hub) Persist(s Store) {
	h.tokens.Key = s.Key()
	h.changes = new(changes)
	h.rooms.Sleep(s.Codes(), s.Want)
}

// Changed returns the rooms that have changed since the previous call,
// including new rooms and closed ones. It may be called from any goroutine.
func (h *Hub) Changed() []*Room {
	c := h.changes
	c.mu.Lock()
	rooms := c.rooms
	c.rooms = nil
	c.mu.Unlock()
	for _, r := range rooms {
		r.marked.Store(false) // clear it before the caller looks: a later change marks the room again
	}
	return rooms
}

// changed marks the room for the store. It is called after each change that
// must survive the relay. Marking a room that is already marked costs one
// atomic load.
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
// any goroutine.
func (r *Room) End() broadcast.Cursor { return r.streams.end() }

// stays reports whether the relay is shutting down and a store keeps the room.
// Then only its host or the API may close it.
func (r *Room) stays() bool { return r.hub.changes != nil && r.hub.draining.Load() }
