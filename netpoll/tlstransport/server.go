//go:build linux

// Package tlstransport speaks TLS on the reactor: it is a [netpoll.Transport], first
// for the handshake and then for the records.
//
// A connection's socket belongs to its worker from accept to close. The worker collects
// the ClientHello. When that is complete, crypto/tls makes the handshake in a goroutine
// that reads and writes memory, and the worker carries the bytes. Then the goroutine
// ends. TLS 1.3 goes on with [tlsrecord], TLS 1.2 with the tls.Conn of the handshake;
// both hold a few kilobytes, and neither has a goroutine or a timer.
//
// # Limits
//
// At most MaxHandshakes handshakes run at once, and one address has at most a quarter
// of them. The others wait, and the addresses take turns. A handshake whose client has
// kept it waiting for more than two seconds is given up when another one could have its
// place. At most Computing handshakes compute at once, so that the workers find a free
// processor. The time from connecting to the first request is bounded by the session,
// as it is without TLS.
package tlstransport

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lectern/netpoll"
)

// The errors of connections that end during their handshakes.
var (
	ErrPlain     = errors.New("tlstransport: plain HTTP on a TLS port")
	ErrNotTLS    = errors.New("tlstransport: the first bytes are no TLS handshake")
	ErrHello     = errors.New("tlstransport: the ClientHello is too large or broken")
	ErrDisplaced = errors.New("tlstransport: the handshake took long, and others waited")
	ErrMemory    = errors.New("tlstransport: no memory for a handshake")
)

// Config of a [Server].
type Config struct {
	// TLS is the configuration of the handshakes. Its session ticket keys should be
	// set, see [tlsrecord.Server].
	TLS *tls.Config
	// MaxHandshakes bounds the handshakes that run at once. Default 256.
	MaxHandshakes int
	// Computing bounds the handshakes that compute at once. Default: half of the
	// processors, at least one.
	Computing int
	// Plain is the answer to a client that speaks plain HTTP. Default: none.
	Plain []byte
	// Full reports whether memory is short, so that no handshake may begin. It may be
	// called from any goroutine. Default: it never is.
	Full func() bool
	// Failed is called by the worker with the error of each handshake that fails,
	// unless the client hung up. Default: they are only counted.
	Failed func(from netip.Addr, err error)
}

func (c Config) withDefaults() Config {
	if c.MaxHandshakes <= 0 {
		c.MaxHandshakes = 256
	}
	if c.Computing <= 0 {
		c.Computing = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if c.Full == nil {
		c.Full = func() bool { return false }
	}
	if c.Failed == nil {
		c.Failed = func(netip.Addr, error) {}
	}
	return c
}

const (
	// perAddress is the share of the running handshakes that one address may have: a
	// quarter.
	perAddress = 4
	// patience is how long a handshake may wait for its client in all, while others
	// wait for its place.
	patience = 2 * time.Second
	// handshakeBytes is about what a running handshake takes: a goroutine's stack, the
	// tls.Conn and its buffers. TestAHandshakeTakesWhatIsCounted measures it.
	handshakeBytes = 48 << 10
)

// A Server makes the handshakes of a relay's connections. Its methods may be called
// from any goroutine unless they say otherwise.
type Server struct {
	config    Config        // immutable
	computing chan struct{} // immutable; holds one for each handshake that computes
	ending    sync.WaitGroup

	resumed, full [2]atomic.Uint64 // handshakes, by version, see Stats
	failed        atomic.Uint64
	queued        atomic.Int64 // handshakes that wait

	mu      sync.Mutex
	running int                     // guarded by mu
	from    map[netip.Addr]*address // guarded by mu
	turns   list.List               // guarded by mu; of the addresses that have waiting handshakes
}

// An address is a network from which handshakes run or wait. All fields are guarded by
// the server's mu.
type address struct {
	network netip.Addr
	running int
	waiting list.List     // of *handshake
	turn    *list.Element // in Server.turns; nil if no handshake waits
}

// NewServer returns a server.
func NewServer(config Config) *Server {
	config = config.withDefaults()
	return &Server{
		config: config, computing: make(chan struct{}, config.Computing),
		from: make(map[netip.Addr]*address),
	}
}

// Accept has a new connection's bytes go through TLS. Only a [netpoll.OpenFunc] may
// call it. The network is what counts as one address. The worker calls begun when the
// client has sent its whole ClientHello.
func (s *Server) Accept(w *netpoll.Worker, c *netpoll.Conn, network netip.Addr, begun func()) {
	c.Through(&handshake{server: s, worker: w, conn: c, network: network, begun: begun})
}

// Wait waits until no handshake runs. The pool must be closed.
func (s *Server) Wait() { s.ending.Wait() }

// Stats are a server's figures. The counters start at zero.
type Stats struct {
	Running, Waiting int
	Full12, Full13   uint64 // handshakes that succeeded, by version
	Resumed12        uint64 // of them with a session ticket
	Resumed13        uint64
	Failed           uint64
}

// Stats returns the server's figures.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	return Stats{
		Running: running, Waiting: int(s.queued.Load()),
		Full12: s.full[0].Load(), Full13: s.full[1].Load(),
		Resumed12: s.resumed[0].Load(), Resumed13: s.resumed[1].Load(),
		Failed: s.failed.Load(),
	}
}

// succeeded counts a handshake.
func (s *Server) succeeded(state tls.ConnectionState) {
	version := 0
	if state.Version == tls.VersionTLS13 {
		version = 1
	}
	if state.DidResume {
		s.resumed[version].Add(1)
	} else {
		s.full[version].Add(1)
	}
}

// start runs a handshake, now or when its turn comes.
func (s *Server) start(h *handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.from[h.network]
	if a == nil {
		a = &address{network: h.network}
		s.from[h.network] = a
	}
	h.waits = a.waiting.PushBack(h)
	s.queued.Add(1)
	if a.turn == nil {
		a.turn = s.turns.PushBack(a)
	}
	s.beginLocked()
}

// beginLocked runs handshakes that wait, in turns of their addresses, as long as there
// are places.
func (s *Server) beginLocked() {
	for s.running < s.config.MaxHandshakes {
		e := s.firstLocked()
		if e == nil {
			return
		}
		a := e.Value.(*address)
		h := a.waiting.Front().Value.(*handshake)
		s.turns.MoveToBack(e)
		s.leaveLocked(a, h)
		a.running++
		s.running++
		s.ending.Go(h.run)
	}
}

// firstLocked returns the first address whose turn could come, nil if there is none. At
// most as many addresses as fit have their whole share, so few are passed over.
func (s *Server) firstLocked() *list.Element {
	share := max(1, s.config.MaxHandshakes/perAddress)
	for e := s.turns.Front(); e != nil; e = e.Next() {
		if e.Value.(*address).running < share {
			return e
		}
	}
	return nil
}

// couldUse reports whether another handshake waits that could have the place of one that
// runs.
func (s *Server) couldUse(h *handshake) bool {
	if s.queued.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from[h.network].waiting.Len() > 0 {
		return true
	}
	return s.running >= s.config.MaxHandshakes && s.firstLocked() != nil
}

// leaveLocked takes a handshake off those that wait.
func (s *Server) leaveLocked(a *address, h *handshake) {
	a.waiting.Remove(h.waits)
	h.waits = nil
	s.queued.Add(-1)
	if a.waiting.Len() == 0 {
		s.turns.Remove(a.turn)
		a.turn = nil
	}
}

// cancel takes a handshake off those that wait, if it waits.
func (s *Server) cancel(h *handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.waits != nil {
		a := s.from[h.network]
		s.leaveLocked(a, h)
		s.forgetLocked(a)
	}
}

// end gives a handshake's place to the next one.
func (s *Server) end(h *handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.from[h.network]
	a.running--
	s.running--
	s.forgetLocked(a)
	s.beginLocked()
}

func (s *Server) forgetLocked(a *address) {
	if a.running == 0 && a.waiting.Len() == 0 {
		delete(s.from, a.network)
	}
}
