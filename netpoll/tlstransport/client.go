//go:build linux

package tlstransport

import (
	"crypto/tls"
	"math"

	"lectern/netpoll"
)

// A Client makes the clients' side of handshakes, for a load generator. How many run at
// once is the caller's to bound.
type Client struct{ handshakes *Server }

// NewClient returns a client. The configuration names the server.
func NewClient(config *tls.Config) *Client {
	return &Client{NewServer(Config{TLS: config, MaxHandshakes: math.MaxInt})}
}

// Connect has a new connection's bytes go through TLS. Only a [netpoll.OpenFunc] may
// call it. The socket need not be connected yet.
func (c *Client) Connect(w *netpoll.Worker, conn *netpoll.Conn) {
	h := &handshake{server: c.handshakes, worker: w, conn: conn, client: true, running: true, wake: make(chan struct{}, 1)}
	conn.Through(h)
	conn.Await()
	c.handshakes.start(h)
}

// Wait waits until no handshake runs. The pool must be closed.
func (c *Client) Wait() { c.handshakes.Wait() }
