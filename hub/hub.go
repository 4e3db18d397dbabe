package hub

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// A Hub is the registry of rooms and everything that its sessions share. New
// makes one. All its methods may be called from anywhere.
type Hub struct {
	settings  atomic.Pointer[Config]
	began     time.Time                       // immutable
	aside     func(f func())                  // immutable; runs what would hold up a worker in a goroutine
	checks    turnstile                       // of large messages
	encoders  turnstile                       // of histories, and of what comes back needs in another encoding
	newLog    func(seq uint64) *broadcast.Log // immutable; makes the rooms' Logs
	key       [32]byte                        // immutable once served; what viewers' tokens are made with
	macs      sync.Pool                       // of *viewerHash, with that key
	shards    []*shard                        // immutable; one for each worker
	dialects  []served                        // immutable once served; the first is nobody's
	encodings []registered                    // immutable once served; of all dialects
	paths     map[string]uint8                // immutable once served; URL paths, and places in dialects

	connections atomic.Int64 // all of them, whatever their phase
	handshaking atomic.Int64 // of them, in the opening phase
	upgraded    atomic.Int64 // of them, past it
	draining    atomic.Bool  // no new rooms, and nobody new

	held atomic.Int64 // bytes of all rooms' Logs
	open atomic.Int64 // rooms
	left atomic.Int64 // bytes of the names of viewers that have gone

	budget    budget.Budget // of everything that peers can make grow
	refusals  refusals
	pressure  atomic.Int32 // see shrunk
	answers   answers
	attempts  attempts
	addresses addresses
	changes   *changes // immutable once served; nil without a store

	mu       sync.RWMutex
	rooms    map[code]*Room     // guarded by mu
	sleeping map[code]*sleeper  // guarded by mu; rooms on disk that are not in rooms yet
	resting  map[code]time.Time // guarded by mu; when rooms that are gone were closed
	rest     []code             // guarded by mu; those in resting, oldest first
	want     func(code string)  // immutable once served; asks for a room that sleeps
}

// maxOffloads is how many large messages are checked at the same time, and how many
// histories are encoded. Where there are few workers, and so processors, it is half
// as many as workers: else they would have to wait.
const maxOffloads = 2

// New returns a hub whose sessions live on the given workers.
func New(config Config, workers []Worker) *Hub {
	h := &Hub{
		began: time.Now(),
		aside: func(f func()) { go f() }, newLog: broadcast.New,
		paths: make(map[string]uint8), dialects: make([]served, 1),
		rooms: make(map[code]*Room), sleeping: make(map[code]*sleeper), resting: make(map[code]time.Time),
	}
	aside := func(f func()) { h.aside(f) } // tests replace it
	offloads := max(1, min(maxOffloads, len(workers)/2))
	h.checks = turnstile{run: aside, limit: offloads}
	h.encoders = turnstile{run: aside, limit: offloads}
	h.Configure(config)
	_, _ = crand.Read(h.key[:]) // never fails: crypto/rand ends the program instead
	for i, w := range workers {
		h.shards = append(h.shards, &shard{
			Worker: w, hub: h, index: i,
			silent: waitingList{mark: flagSilent}, begun: waitingList{mark: flagBegun},
		})
	}
	return h
}

// Configure replaces the configuration, while the hub runs.
// What was accepted under the one before stays.
func (h *Hub) Configure(config Config) {
	config = config.withDefaults()
	h.settings.Store(&config)
}

// Config returns the present configuration, with the defaults filled in. It
// must not be changed.
func (h *Hub) Config() *Config { return h.settings.Load() }

// NewSession returns the session of a new connection on the worker with the
// given index. It is called by that worker, and may close another connection of
// it.
func (h *Hub) NewSession(worker int, conn Conn) *Session {
	s := &Session{shard: h.shards[worker], conn: conn}
	now := s.shard.Now()
	s.lastReceived, s.lastSent, s.since = now, now, now
	h.connections.Add(1)
	s.admit()
	return s
}

// uptime returns for how long the hub has been there.
func (h *Hub) uptime() time.Duration { return time.Since(h.began) }

// IsWebSocketPath reports whether WebSockets are served at the URL path.
func (h *Hub) IsWebSocketPath(path string) bool {
	_, ok := h.paths[path]
	return ok
}

// Budget returns the budget of everything that peers can make grow.
func (h *Hub) Budget() *budget.Budget { return &h.budget }

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

// restTime is how long a closed room's code rests, so that nobody's automatic
// return ends among strangers, and maxResting how many codes do at most: the
// oldest is let go before its time.
const (
	restTime   = time.Hour
	maxResting = 100_000
)

// register enters a new room under a code that is free. It reports whether
// there was room for one more.
func (h *Hub) register(r *Room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rooms)+len(h.sleeping) >= h.Config().MaxRooms || h.draining.Load() || h.budget.Level() >= budget.Full {
		return false
	}
	h.wakeCodesLocked(maxResting)
	for {
		r.code = drawCode(h.Config().HexCodes)
		_, taken := h.rooms[r.code]
		_, rests := h.resting[r.code]
		if !taken && !rests && h.sleeping[r.code] == nil {
			break
		}
	}
	h.rooms[r.code] = r
	h.open.Add(1)
	r.changed()
	return true
}

// remove takes a room out of the registry, and lets its code rest.
func (h *Hub) remove(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rooms, r.code)
	h.open.Add(-1)
	h.addresses.closeRoom(r.from)
	h.wakeCodesLocked(maxResting - 1)
	h.resting[r.code] = time.Now()
	h.rest = append(h.rest, r.code)
	r.changed()
}

// wakeCodesLocked lets codes go that have rested, and so many that at most
// limit are left.
func (h *Hub) wakeCodesLocked(limit int) {
	for len(h.rest) > 0 && (len(h.rest) > limit || time.Since(h.resting[h.rest[0]]) > restTime) {
		delete(h.resting, h.rest[0])
		h.rest = h.rest[1:]
	}
}

// rested reports whether a room with this code was closed in the last hour.
func (h *Hub) rested(c code) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, rests := h.resting[c]
	return rests
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
	Skipped     uint64            // broadcasts times viewers that were moved past them
	Recovered   uint64            // viewers that came back and got all that they had missed
	Unrecovered uint64            // viewers that came back too late for that
	Slow        [causes]Slow      // by Cause
	Closes      map[Reason]uint64 // ended connections
}

// Stats adds up the figures of all workers and rooms.
func (h *Hub) Stats() Stats {
	t := Stats{
		Connections: h.connections.Load(),
		Handshaking: h.handshaking.Load(),
		Open:        h.upgraded.Load(),
		Rooms:       int(h.open.Load()),
		LogBytes:    h.held.Load(),
		Closes:      make(map[Reason]uint64, reasons),
	}
	for _, s := range h.shards {
		c := &s.counters
		t.Viewers += c.viewers.Load()
		t.Stalled += c.stalled.Load()
		t.Received += c.received.Load()
		t.Broadcasts += c.appended.Load()
		t.Delivered += c.delivered.Load()
		t.Skipped += c.skipped.Load()
		t.Recovered += c.recovered.Load()
		t.Unrecovered += c.lost.Load()
		for why := range c.slow {
			t.Slow[why].Closed += c.slow[why].closed.Load()
			t.Slow[why].Skipped += c.slow[why].skipped.Load()
		}
		for why := range c.closes {
			t.Closes[Reason(why)] += c.closes[why].Load()
		}
	}
	return t
}
