package hub

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"lectern/hub/address"
	"lectern/hub/attempts"
	"lectern/hub/broadcast"
	"lectern/hub/budget"
	"lectern/hub/credentials"
	"lectern/hub/refusals"
	"lectern/hub/registry"
	"lectern/hub/roomcode"
	"lectern/hub/turnstile"
)

// A Hub is the registry of rooms, and holds everything that its sessions share.
// Create it with New. Its methods may be called from any goroutine unless they
// say otherwise.
type Hub struct {
	settings   atomic.Pointer[Config]
	began      time.Time                       // immutable
	background func(f func())                  // immutable; runs work that would hold up a worker, in a goroutine
	checks     *turnstile.Turnstile            // immutable; runs the checks of large messages
	encoders   *turnstile.Turnstile            // immutable; runs the encoding of histories and backfills
	inflations *turnstile.Turnstile            // immutable; inflates large messages of clients that are no hosts
	newLog     func(seq uint64) *broadcast.Log // immutable; makes the rooms' Logs
	tokens     credentials.ViewerTokens        // immutable once served
	shards     []*shard                        // immutable; one for each worker
	dialects   []served                        // immutable once served; the first is a placeholder
	encodings  []registered                    // immutable once served; the encodings of all dialects
	events     eventPaths                      // immutable once served
	paths      map[string]uint8                // immutable once served; URL path to place in dialects

	connections atomic.Int64  // in any phase
	handshaking atomic.Int64  // connections in the opening phase
	upgraded    atomic.Int64  // connections that have become WebSockets or event streams, and standing sessions
	streaming   atomic.Int64  // event streams
	polls       atomic.Int64  // connections in the phase polling
	standing    atomic.Int64  // standing sessions
	posted      atomic.Uint64 // messages that came by POST
	draining    atomic.Bool   // the relay is shutting down: no new rooms or connections

	held atomic.Int64 // bytes in all rooms' Logs
	left atomic.Int64 // bytes of the names of viewers that have left

	budget    budget.Budget // memory that peers can make the relay use
	refusals  refusals.Counter
	pressure  atomic.Int32 // how often limits are halved, see shrunk
	answers   answers
	attempts  attempts.Table
	tickets   tickets
	tokensOf  standingTokens
	addresses address.Table
	changes   *changes // immutable once served; nil without a store

	compressors compressors
	compression compressionCounters

	rooms *registry.Registry[Room] // immutable
}

// maxOffloads is how many large messages are checked at the same time, and how
// many histories are encoded at the same time. A relay with fewer than four
// workers uses half as many as it has workers, at least one, so that workers
// still find a free processor.
const maxOffloads = 2

// New returns a hub whose sessions are spread over the given workers.
func New(config Config, workers []Worker) *Hub {
	h := &Hub{
		began:      time.Now(),
		background: func(f func()) { go f() }, newLog: broadcast.New,
		paths: make(map[string]uint8), dialects: make([]served, 1),
		rooms: registry.New[Room](),
	}
	background := func(f func()) { h.background(f) } // tests replace h.background
	offloads := max(1, min(maxOffloads, len(workers)/2))
	h.checks = turnstile.New(offloads, background)
	h.encoders = turnstile.New(offloads, background)
	h.inflations = turnstile.New(1, background)
	h.compressors.init(&h.budget, len(workers), offloads)
	h.Configure(config)
	_, _ = crand.Read(h.tokens.Key[:]) // never fails: crypto/rand ends the program instead
	for i, w := range workers {
		h.shards = append(h.shards, &shard{
			Worker: w, hub: h, index: i,
			silent: waitingList{flag: flagSilent}, begun: waitingList{flag: flagBegun},
		})
	}
	return h
}

// Configure replaces the configuration of a running hub. Rooms and connections
// that were accepted under the previous configuration stay.
func (h *Hub) Configure(config Config) {
	config = config.withDefaults()
	h.settings.Store(&config)
}

// Config returns the current configuration with defaults filled in. The caller
// must not change it.
func (h *Hub) Config() *Config { return h.settings.Load() }

// NewSession returns the session of a new connection on the worker with the
// given index. Only that worker may call it. It may close another connection of
// that worker to make room.
func (h *Hub) NewSession(worker int, conn Conn) *Session {
	s := &Session{shard: h.shards[worker], conn: conn}
	now := s.shard.Now()
	s.lastReceived, s.lastSent, s.since = now, now, now
	h.connections.Add(1)
	s.admit()
	return s
}

// uptime returns the time since the hub was created.
func (h *Hub) uptime() time.Duration { return time.Since(h.began) }

// IsWebSocketPath reports whether a dialect is served at the URL path.
func (h *Hub) IsWebSocketPath(path string) bool {
	_, ok := h.paths[path]
	return ok
}

// Budget returns the memory budget.
func (h *Hub) Budget() *budget.Budget { return &h.budget }

// Connections returns the number of open connections, in any phase.
func (h *Hub) Connections() int64 { return h.connections.Load() }

// Drain begins a shutdown: the hub admits no new connections or rooms, and
// rooms that lose their host close with ReasonShutdown, or stay open for the
// store if there is one. It closes the standing sessions. To close the others, call
// Shutdown on each.
func (h *Hub) Drain() {
	h.draining.Store(true)
	for _, s := range h.shards {
		s.shutdownStanding()
	}
}

// Draining reports whether Drain was called.
func (h *Hub) Draining() bool { return h.draining.Load() }

// retryAfter returns a random time after which a client should reconnect when
// the relay restarts. The window grows with the number of connections so that
// at most about 1,000 clients reconnect in a second.
func (h *Hub) retryAfter() time.Duration {
	window := time.Second + time.Duration(h.connections.Load())*time.Millisecond
	return rand.N(window)
}

// lookup returns the open room with this code, nil if there is none.
func (h *Hub) lookup(c roomcode.Code) *Room { return h.rooms.Lookup(c) }

// register adds a new room to the registry under a free code. It returns false
// if the relay has its maximum of rooms, is shutting down or is short of
// memory.
func (h *Hub) register(r *Room) bool {
	c := h.Config()
	if h.draining.Load() || h.budget.Level() >= budget.Full {
		return false
	}
	draw := func() roomcode.Code {
		r.code = roomcode.Draw(c.HexCodes)
		return r.code
	}
	if !h.rooms.Add(r, c.MaxRooms, draw) {
		return false
	}
	r.changed()
	return true
}

// remove takes a closed room out of the registry.
func (h *Hub) remove(r *Room) {
	h.rooms.Remove(r.code)
	h.addresses.CloseRoom(r.from)
	r.changed()
}

// Wake makes a room that Restore has created available to clients.
func (h *Hub) Wake(r *Room) { h.rooms.Wake(r.code, r) }

// Lost notes that a sleeping room cannot be restored.
func (h *Hub) Lost(code string) {
	if c, ok := roomcode.Parse(code); ok {
		h.rooms.Lost(c)
	}
}

// Stats are the hub's figures. Counters start at zero when the hub is created.
type Stats struct {
	Connections int64 // in any phase
	Handshaking int64 // connections whose request is not complete
	Open        int64 // WebSockets, event streams and standing sessions
	Streams     int64 // event streams among them
	Standing    int64 // standing sessions among them, which are no connections
	Polls       int64 // connections with a request that polls; the rest are refused requests
	Rooms       int
	Viewers     int64
	Stalled     int64             // viewers whose socket buffers are full
	LogBytes    int64             // held by the rooms' Logs
	Received    uint64            // messages from clients
	Posted      uint64            // of them, those that came by POST
	Broadcasts  uint64            // broadcasts that hosts sent
	Delivered   uint64            // broadcasts times the viewers that received them
	Skipped     uint64            // broadcasts times the viewers that were moved past them
	Recovered   uint64            // viewers that came back and received all that they had missed
	Unrecovered uint64            // viewers that came back when that was no longer possible
	Slow        [causes]Slow      // indexed by Cause
	Sweeps      SweepTimes        // of broadcasts to rooms that had viewers
	Closes      map[Reason]uint64 // ended connections, by reason
	Compression Compression
}

// Stats adds up the figures of all workers and rooms.
func (h *Hub) Stats() Stats {
	t := Stats{
		Connections: h.connections.Load(),
		Handshaking: h.handshaking.Load(),
		Open:        h.upgraded.Load(),
		Standing:    h.standing.Load(),
		Polls:       h.polls.Load(),
		Posted:      h.posted.Load(),
		Streams:     h.streaming.Load(),
		Rooms:       int(h.rooms.Open()),
		LogBytes:    h.held.Load(),
		Closes:      make(map[Reason]uint64, reasons),
		Compression: h.compression.figures(),
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
		c.sweeps.addTo(&t.Sweeps)
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
