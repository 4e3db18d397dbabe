package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"lectern/hub"
	"lectern/hub/budget"
	"lectern/netpoll"
)

// perAddress is the share of the places that one address may have: a quarter, so
// that one machine keeps nobody else from the API and from /health.
const perAddress = 4

// A handover is a net.Listener whose connections come out of the reactor: those
// that turned out not to be WebSockets. It bounds how many of them there are, from
// the hand-over until they are closed or given back. Those that wait for another
// request make room for newcomers.
type handover struct {
	addr   net.Addr   // immutable
	limit  func() int // immutable; connections at once
	hub    *hub.Hub   // immutable once served
	opener opener     // immutable once served; for what goes back to the reactor

	mu      sync.Mutex
	open    int                // guarded by mu; connections that were taken and are not closed
	from    map[netip.Addr]int // guarded by mu; of them, by address
	idle    []*httpConn        // guarded by mu; of them, those between two requests, longest first
	waiting []net.Conn         // guarded by mu; for Accept, oldest first
	closed  bool               // guarded by mu
	wake    chan struct{}      // immutable; holds one when something is waiting, closed by Close
}

func newHandover(addr net.Addr, limit func() int) *handover {
	return &handover{addr: addr, limit: limit, from: make(map[netip.Addr]int), wake: make(chan struct{}, 1)}
}

// What plain HTTP requests beyond the limits are told.
var (
	errHTTPFull = &hub.PlainRefusal{Cause: "http_full", Message: "too many plain HTTP requests are under way; try again"}
	errHTTPMany = &hub.PlainRefusal{Cause: "http_address", Message: "too many plain HTTP requests from this address are under way; try again"}
)

// A detacher is a connection that can leave the reactor. net/http gets it as the
// net.Conn that a [netpoll.Detached] is, whatever its bytes go through.
type detacher interface {
	Detach(unread []byte) (*netpoll.Detached, error)
}

// take moves a connection from the reactor to the HTTP server. It is called by
// the connection's worker, and does not block. After an error the connection is
// where it was.
func (h *handover) take(conn hub.Conn, from netip.Addr, read []byte) error {
	from = network(from)
	if err := h.enter(from); err != nil {
		return err
	}
	c, err := detach(conn)
	if err != nil {
		h.leave(from)
		return err
	}
	h.put(&httpConn{Conn: c, from: from, handover: h, in: read})
	return nil
}

// An attacher is a connection that can go back to the reactor.
type attacher interface {
	Attach(unread []byte, open netpoll.OpenFunc) error
}

// giveBack moves a connection back to the reactor, to a session that receives what
// was read first. It closes what cannot go back.
func (h *handover) giveBack(conn net.Conn, read []byte) error {
	if back, ok := conn.(attacher); ok && back.Attach(read, h.opener.reopen(conn)) == nil {
		return nil
	}
	return conn.Close()
}

// enter takes a place for a connection, if there is one for its address, or one can
// be had from a connection that is idle.
func (h *handover) enter(from netip.Addr) error {
	limit := h.limit()
	for {
		idle, err := h.tryEnter(from, limit)
		if idle == nil {
			return err
		}
		_ = idle.Close()
	}
}

// tryEnter takes a place for a connection. Otherwise it returns why there is none,
// and the connection that was idle for longest of those that could make room.
func (h *handover) tryEnter(from netip.Addr, limit int) (idle *httpConn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	many := h.from[from] >= max(1, limit/perAddress)
	if full := h.open >= limit; full || many {
		err = errHTTPMany
		if full {
			err = errHTTPFull
		}
		at := slices.IndexFunc(h.idle, func(c *httpConn) bool { return !many || c.from == from })
		if at < 0 {
			return nil, err
		}
		idle = h.idle[at]
		h.idle = slices.Delete(h.idle, at, at+1)
		return idle, err
	}
	h.open++
	h.from[from]++
	h.hub.Budget().Add(budget.HTTP, httpConnBytes)
	return nil, nil
}

// track is the server's ConnState hook: it notes which connections are idle.
func (h *handover) track(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*httpConn)
	if !ok || state != http.StateIdle && state != http.StateActive {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(c)
	if state == http.StateIdle && !c.hasBegun() && !c.isClosed() {
		h.idle = append(h.idle, c)
	}
}

// forget takes a connection off the idle ones. The caller holds mu.
func (h *handover) forget(c *httpConn) {
	if at := slices.Index(h.idle, c); at >= 0 {
		h.idle = slices.Delete(h.idle, at, at+1)
	}
}

// gone gives back the place of a connection that is closed or leaves.
func (h *handover) gone(c *httpConn) {
	h.mu.Lock()
	h.forget(c)
	h.mu.Unlock()
	h.leave(c.from)
}

// leave gives a place back.
func (h *handover) leave(from netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
	if h.from[from]--; h.from[from] == 0 {
		delete(h.from, from)
	}
	h.hub.Budget().Add(budget.HTTP, -httpConnBytes)
}

// put gives a connection to Accept.
func (h *handover) put(c net.Conn) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.waiting = append(h.waiting, c)
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	h.mu.Unlock()
	if closed {
		_ = c.Close()
	}
}

// network returns what counts as one address: an IPv4 address, or a /64 of IPv6.
func network(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // fits
		return p.Addr()
	}
	return a
}

// Open returns how many connections there are, each with one descriptor. It may
// be called from anywhere.
func (h *handover) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Accept returns the next connection.
func (h *handover) Accept() (net.Conn, error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(h.waiting) > 0 {
			c := h.waiting[0]
			h.waiting[0] = nil
			h.waiting = h.waiting[1:]
			h.mu.Unlock()
			return c, nil
		}
		h.mu.Unlock()
		<-h.wake
	}
}

// Close ends Accept, and closes the connections that wait for it.
func (h *handover) Close() error {
	h.mu.Lock()
	waiting := h.waiting
	h.waiting = nil
	if !h.closed {
		h.closed = true
		close(h.wake)
	}
	h.mu.Unlock()
	for _, c := range waiting {
		_ = c.Close()
	}
	return nil
}

// Addr returns the address of the relay's own listener.
func (h *handover) Addr() net.Addr { return h.addr }
