package main

import (
	"net"
	"sync"
	"sync/atomic"

	"lectern/hub"
	"lectern/hub/budget"
	"lectern/netpoll"
)

// A handover is a net.Listener whose connections come out of the reactor:
// those that turned out not to be WebSockets. It bounds how many of them there
// are, from the hand-over to the close.
type handover struct {
	addr  net.Addr   // immutable
	limit func() int // immutable; connections at once
	hub   *hub.Hub   // immutable once served

	open atomic.Int64 // connections that were taken and are not closed

	mu      sync.Mutex
	waiting []net.Conn    // guarded by mu; for Accept, oldest first
	closed  bool          // guarded by mu
	wake    chan struct{} // immutable; holds one when something is waiting, closed by Close
}

func newHandover(addr net.Addr, limit func() int) *handover {
	return &handover{addr: addr, limit: limit, wake: make(chan struct{}, 1)}
}

// errHTTPFull is told to plain HTTP requests beyond the limit.
var errHTTPFull = &hub.PlainRefusal{Cause: "http_full", Message: "too many plain HTTP requests are under way; try again"}

// take moves a connection from the reactor to the HTTP server. It is called by
// the connection's worker, and does not block. After an error the connection is
// where it was.
func (h *handover) take(conn hub.Conn, read []byte) error {
	if h.open.Add(1) > int64(h.limit()) {
		h.open.Add(-1)
		return errHTTPFull
	}
	c, err := conn.(*netpoll.Conn).Detach(read)
	if err != nil {
		h.open.Add(-1)
		return err
	}
	h.hub.Budget().Add(budget.HTTP, httpConnBytes)
	plain := &httpConn{Conn: c, from: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = plain.Close()
		return nil
	}
	h.waiting = append(h.waiting, plain)
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return nil
}

// Open returns how many connections there are, each with one descriptor. It may
// be called from anywhere.
func (h *handover) Open() int { return int(h.open.Load()) }

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
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.wake)
	for _, c := range h.waiting {
		_ = c.Close()
	}
	h.waiting = nil
	return nil
}

// Addr returns the address of the relay's own listener.
func (h *handover) Addr() net.Addr { return h.addr }
