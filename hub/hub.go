package hub

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A Hub is the registry of rooms and everything that its sessions share. New
// makes one. All its methods may be called from anywhere.
type Hub struct {
	config    Config              // immutable
	shards    []*shard            // immutable; one for each worker
	protocols map[string]Protocol // immutable; by URL path

	connections atomic.Int64 // all of them, whatever their phase
	handshaking atomic.Int64 // of them, in the opening phase
	upgraded    atomic.Int64 // of them, past it
	draining    atomic.Bool  // no new rooms, and nobody new

	mu    sync.RWMutex
	rooms map[code]*Room // guarded by mu
}

// New returns a hub whose sessions live on the given workers.
func New(config Config, workers []Worker) *Hub {
	h := &Hub{config: config.withDefaults(), rooms: make(map[code]*Room)}
	for i, w := range workers {
		h.shards = append(h.shards, &shard{Worker: w, hub: h, index: i})
	}
	classroom := classroom{}
	h.protocols = map[string]Protocol{"/": classroom, "/v1/websocket": classroom}
	if h.config.EchoPath != "" {
		h.protocols[h.config.EchoPath] = echo{}
	}
	return h
}

// NewSession returns the session of a new connection on the worker with the
// given index. It is called by that worker.
func (h *Hub) NewSession(worker int, conn Conn) *Session {
	s := &Session{shard: h.shards[worker], conn: conn}
	now := s.shard.Now()
	s.heard, s.took, s.since = now, now, now
	h.connections.Add(1)
	h.handshaking.Add(1)
	return s
}

// IsWebSocketPath reports whether WebSockets are served at the URL path.
func (h *Hub) IsWebSocketPath(path string) bool {
	_, ok := h.protocols[path]
	return ok
}

// Connections returns how many there are now, whatever their phase.
func (h *Hub) Connections() int64 { return h.connections.Load() }

// Drain announces that the relay ends: nobody is let in any more, and rooms
// that close from now on say that the relay is the reason. The sessions are
// told one by one, by their Shutdown.
func (h *Hub) Drain() { h.draining.Store(true) }

// Draining reports whether Drain was called.
func (h *Hub) Draining() bool { return h.draining.Load() }

// retryAfter draws the time after which one client should come back when the
// relay restarts. The window grows with the number of clients, so that they
// come back at no more than a thousand a second.
func (h *Hub) retryAfter() time.Duration {
	window := time.Second + time.Duration(h.connections.Load())*time.Millisecond
	return rand.N(window)
}

// lookup finds an open room, nil if there is none.
func (h *Hub) lookup(c code) *Room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[c]
}

// create registers a new room under a code that is free. It returns nil if
// there are too many.
func (h *Hub) create(host *Session) *Room {
	r := newRoom(h, host)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rooms) >= h.config.MaxRooms {
		return nil
	}
	for {
		r.code = drawCode()
		if _, taken := h.rooms[r.code]; !taken {
			break
		}
	}
	h.rooms[r.code] = r
	return r
}

// remove takes a room out of the registry.
func (h *Hub) remove(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms, r.code)
}

// Stats are the hub's figures. Those that count are since its start.
type Stats struct {
	Connections int64 // all of them, whatever their phase
	Handshaking int64 // of them, not yet WebSockets
	Open        int64 // of them, WebSockets; the rest are requests that were refused
	Rooms       int
	Viewers     int64
	Stalled     int64             // viewers whose sockets are full
	LogBytes    int64             // held by the rooms' Logs
	Received    uint64            // messages from clients
	Broadcasts  uint64            // of them, relayed
	Delivered   uint64            // broadcasts times viewers that got them
	Closes      map[Reason]uint64 // ended connections
}

// Stats adds up the figures of all workers and rooms.
func (h *Hub) Stats() Stats {
	t := Stats{
		Connections: h.connections.Load(),
		Handshaking: h.handshaking.Load(),
		Open:        h.upgraded.Load(),
		Closes:      make(map[Reason]uint64, reasons),
	}
	for _, s := range h.shards {
		c := &s.counters
		t.Viewers += c.viewers.Load()
		t.Stalled += c.stalled.Load()
		t.Received += c.received.Load()
		t.Broadcasts += c.appended.Load()
		t.Delivered += c.delivered.Load()
		for why := range c.closes {
			t.Closes[Reason(why)] += c.closes[why].Load()
		}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	t.Rooms = len(h.rooms)
	for _, r := range h.rooms {
		t.LogBytes += r.log.Retained()
	}
	return t
}
