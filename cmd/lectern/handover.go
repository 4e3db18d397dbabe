package main

import (
	"net"
	"sync"
	"time"

	"lectern/frame"
	"lectern/hub"
	"lectern/netpoll"
)

// maxHandover is how many connections may wait for the HTTP server.
const maxHandover = 256

// A handover is a net.Listener whose connections come out of the reactor:
// those that turned out not to be WebSockets.
type handover struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn, maxHandover), closed: make(chan struct{})}
}

// take moves a connection from the reactor to the HTTP server. It is called by
// the connection's worker, and does not block.
func (h *handover) take(conn hub.Conn, read []byte) error {
	c, err := conn.(*netpoll.Conn).Detach(read)
	if err != nil {
		return err
	}
	select {
	case h.conns <- c:
	default:
		// A fresh connection's send buffer takes this without blocking.
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write(frame.AppendRefusal(nil, 503, "too many requests are waiting"))
		_ = c.Close()
	}
	return nil
}

// Accept returns the next connection.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept, and closes the connections that wait for it.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	for {
		select {
		case c := <-h.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr returns the address of the relay's own listener.
func (h *handover) Addr() net.Addr { return h.addr }
