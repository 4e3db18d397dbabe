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

// A Store keeps rooms beyond the life of the relay, on disk or elsewhere. It takes
// what [Hub.Changed] returns, and gives rooms back with [Hub.Restore] and [Hub.Wake]. Who
// is recovered from what it gives back is for the hub to decide.
type Store interface {
	// Key returns what viewers' tokens are made with. It is the same after every
	// start.
	Key() [32]byte
	// Codes returns the codes of the rooms that the store has not given back. Each
	// is given later, by Wake or Lost. Until then the room sleeps: it counts as open, and
	// the hub asks for it when somebody wants to enter it.
	Codes() []string
	// Want asks for a room that sleeps. It may be called from anywhere, and must not
	// block.
	Want(code string)
}

// Persist has the hub keep its rooms in a store: it notes from now on which rooms
// change, and leaves them open when it drains. It must be called before anything is
// served.
func (h *Hub) Persist(s Store) {
	h.key = s.Key()
	h.changes = new(changes)
	h.sleep(s.Codes(), s.Want)
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
