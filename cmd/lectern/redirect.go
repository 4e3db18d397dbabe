package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of plain HTTP beside TLS. A request is answered from memory and ends its
// connection, so an honest client keeps its place for a round trip.
const (
	redirectTimeout = 5 * time.Second // for a request, and for its answer
	maxRedirectHead = 4 << 10         // bytes; net/http adds 4 KiB
	maxRedirects    = 24              // connections; they fit the descriptors that a relay keeps for itself
)

// newRedirectServer returns the server of --redirect-addr.
func newRedirectServer(handler http.Handler, log *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: redirectTimeout,
		ReadTimeout:       redirectTimeout,
		WriteTimeout:      redirectTimeout,
		MaxHeaderBytes:    maxRedirectHead,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true,
	}
	server.SetKeepAlivesEnabled(false)
	return server
}

// A redirectListener has at most maxRedirects connections. A newcomer
// beyond them replaces the oldest connection of the address that has the most, so
// silent connections keep nobody out.
type redirectListener struct {
	net.Listener

	mu   sync.Mutex
	open []*redirectConn // guarded by mu; oldest first
}

// A redirectConn gives its place back on Close.
type redirectConn struct {
	net.Conn
	listener *redirectListener // immutable
	from     netip.Addr        // immutable; its network
}

// Accept returns the next connection.
func (l *redirectListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &redirectConn{Conn: conn, listener: l}
	if peer, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.from = network(peer.AddrPort().Addr())
	}
	if crowded := l.enter(c); crowded != nil {
		_ = crowded.Conn.Close()
	}
	return c, nil
}

// enter takes a place for a connection. It returns the connection that had the
// place, if all were taken.
func (l *redirectListener) enter(c *redirectConn) (crowded *redirectConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c)
	if len(l.open) <= maxRedirects {
		return nil
	}
	of := make(map[netip.Addr]int)
	most := 0
	for _, o := range l.open {
		of[o.from]++
		most = max(most, of[o.from])
	}
	at := slices.IndexFunc(l.open, func(o *redirectConn) bool { return of[o.from] == most })
	crowded = l.open[at]
	l.open = slices.Delete(l.open, at, at+1)
	return crowded
}

// Close closes the connection.
func (c *redirectConn) Close() error {
	c.listener.mu.Lock()
	c.listener.open = slices.DeleteFunc(c.listener.open, func(o *redirectConn) bool { return o == c })
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
