package main

import (
	"net"
	"net/netip"
	"time"

	"lectern/cmd/lectern/internal/proxyproto"
	"lectern/hub"
	"lectern/netpoll"
)

// An opener makes the session of a connection whose client is known.
type opener func(*netpoll.Worker, hub.Conn) netpoll.Session

// direct has the client at the other end of each connection.
func (open opener) direct() netpoll.OpenFunc {
	return func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session { return open(w, c) }
}

// behind has trusted proxies say for whom they connect, in the PROXY protocol.
func (open opener) behind(h *hub.Hub) netpoll.OpenFunc {
	return func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		if config := h.Config(); !config.Trusts(c.Peer()) {
			return open(w, c)
		}
		return &preamble{hub: h, open: open, worker: w, conn: c, began: w.Now()}
	}
}

// A preamble is the session of a connection from a trusted proxy until its header is
// complete. Whatever else comes ends the connection.
type preamble struct {
	hub    *hub.Hub        // immutable
	open   opener          // immutable
	worker *netpoll.Worker // immutable
	conn   *netpoll.Conn   // immutable
	began  uint32          // immutable; coarse time
	header []byte          // owned by the worker; less than proxyproto.MaxHeader
	ended  bool            // owned by the worker
}

// Receive takes a part of the header, and gives the connection to the client's session
// when the header is complete.
func (p *preamble) Receive(chunk []byte) {
	p.header = append(p.header, chunk...)
	client, size, err := proxyproto.Parse(p.header)
	switch {
	case err != nil:
		p.refuse("proxy_header")
	case size > 0:
		p.conn.Become(p.open(p.worker, p.client(client)), p.header[size:])
	}
}

// client returns the connection as the client's. A proxy that connects for itself is its
// own client.
func (p *preamble) client(from netip.Addr) hub.Conn {
	if !from.IsValid() {
		return p.conn
	}
	return proxiedConn{p.conn, from}
}

func (p *preamble) refuse(cause string) {
	p.hub.Refused(cause, p.conn.Peer())
	p.ended = true
	p.conn.Abort()
}

// Next returns nothing: a preamble says nothing.
func (p *preamble) Next() []byte { return nil }

// Sent does nothing.
func (p *preamble) Sent(int, bool) {}

// Wants reports that only reading goes on, and nothing after the end.
func (p *preamble) Wants() (reading, writing bool) { return !p.ended, !p.ended }

// Established is false: those in a room are served first.
func (p *preamble) Established() bool { return false }

// Tick ends a connection whose header takes too long.
func (p *preamble) Tick() (next time.Duration) {
	limit := p.hub.Config().HandshakeTimeout
	if time.Duration(p.worker.Now()-p.began)*time.Millisecond > limit {
		p.refuse("handshake_timeout")
	}
	return 0
}

// Shutdown ends the connection.
func (p *preamble) Shutdown() { p.ended = true }

// Closed does nothing: the preamble holds nothing.
func (p *preamble) Closed(error) {}

// A proxiedConn is a connection whose client is where the proxy says.
type proxiedConn struct {
	*netpoll.Conn
	from netip.Addr
}

// Peer returns the client's address.
func (c proxiedConn) Peer() netip.Addr { return c.from }

// socketOf returns the connection of the reactor that a session has.
func socketOf(c hub.Conn) *netpoll.Conn {
	if proxied, ok := c.(proxiedConn); ok {
		return proxied.Conn
	}
	return c.(*netpoll.Conn)
}

// A proxiedDetached is a proxiedConn that has left the reactor.
type proxiedDetached struct {
	*netpoll.Detached
	from netip.Addr
}

// RemoteAddr returns the client's address. The port is unknown.
func (d proxiedDetached) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.from, 0))
}

// detach takes a connection out of the reactor. Where its client is goes with it.
func detach(conn hub.Conn) (net.Conn, error) {
	d, err := conn.(detacher).Detach(nil)
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(proxiedConn); ok {
		return proxiedDetached{d, c.from}, nil
	}
	return d, nil
}

// reopen returns what opens the session of a detached connection that goes back to the
// reactor.
func (open opener) reopen(conn net.Conn) netpoll.OpenFunc {
	d, ok := conn.(proxiedDetached)
	if !ok {
		return open.direct()
	}
	return func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session { return open(w, proxiedConn{c, d.from}) }
}
