package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lectern/frame"
)

// Limits of the admin address.
const (
	maxAdmin         = 16               // connections at once
	adminTimeout     = 30 * time.Second // from a request's head to its answer's end; a profile's time comes on top
	adminIdleTimeout = 10 * time.Second
)

// newAdminServer returns the server of the admin address.
func (r *relay) newAdminServer() *http.Server {
	server := newServer(r.adminHandler(), r.log)
	server.WriteTimeout = adminTimeout
	server.IdleTimeout = adminIdleTimeout
	return server
}

// adminHandler serves the admin address.
func (r *relay) adminHandler() http.Handler {
	mux := http.NewServeMux()
	register(mux, r.health())
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(r), promhttp.HandlerOpts{}))
	if r.config.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("/", notFound)
	return r.knownHosts(mux)
}

// knownHosts lets requests pass whose Host is an IP address, localhost or an
// --admin-host. A page can have the name of its own site resolved to this
// address, and would then be of the same origin for the browser (DNS
// rebinding); but its Host is that name.
func (r *relay) knownHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !isKnownHost(request.Host, r.current.Load().AdminHost) {
			r.hub.Refused("misdirected", clientOf(r.hub, request))
			answer(w, http.StatusMisdirectedRequest, "the admin address has an IP address, localhost or an --admin-host as Host, and not "+quoted(request.Host), nil)
			return
		}
		next.ServeHTTP(w, request)
	})
}

// isKnownHost reports whether the admin address answers to a Host header. No
// browser leaves it empty.
func isKnownHost(header string, named []adminHost) bool {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" || slices.Contains(named, adminHost(host)) {
		return true
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// An adminHost is a name that the admin address answers to, in lower case.
type adminHost string

// UnmarshalText refuses what cannot be the name in a Host header. A port is none
// of it.
func (h *adminHost) UnmarshalText(text []byte) error {
	name := strings.ToLower(string(text))
	isNoLetter := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-._", c)
	}
	if name == "" || len(name) > 253 || strings.Trim(name, ".") != name || strings.ContainsFunc(name, isNoLetter) {
		return errors.New(quoted(string(text)) + " is no host's name: it must be like lectern.example.org, without a port")
	}
	*h = adminHost(name)
	return nil
}

// A boundedListener accepts no more than maxAdmin connections at once. Others
// are answered 503.
type boundedListener struct {
	net.Listener
	open atomic.Int64
}

// Accept returns the next connection for which there is a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= maxAdmin {
			return &boundedConn{Conn: c, from: l}, nil
		}
		l.open.Add(-1)
		// A fresh connection's send buffer takes this without blocking.
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write(frame.AppendRefusal(nil, http.StatusServiceUnavailable, "the admin address has all the connections it may have; try again"))
		_ = c.Close()
	}
}

// A boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	from *boundedListener
	once sync.Once
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.once.Do(func() { c.from.open.Add(-1) })
	return c.Conn.Close()
}
