package httpapi

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lectern/frame"
)

// Limits of the admin address.
const (
	maxAdmin         = 16               // connections at once
	adminTimeout     = 30 * time.Second // from a request's head to its answer's end; a profile's time comes on top
	adminIdleTimeout = 10 * time.Second
	refusalTimeout   = time.Second // to write a 503 to a connection that is one too many
)

// NewAdminServer returns a server with the timeouts of the admin address.
func NewAdminServer(handler http.Handler, log *slog.Logger) *http.Server {
	server := NewServer(handler, log)
	server.WriteTimeout = adminTimeout
	server.IdleTimeout = adminIdleTimeout
	return server
}

// Admin returns the handler of the admin address: health, metrics and, if debug
// is not nil, everything below /debug/.
func (s *Site) Admin(metrics, debug http.Handler) http.Handler {
	mux := http.NewServeMux()
	register(mux, s.health())
	mux.Handle("GET /metrics", metrics)
	if debug != nil {
		mux.Handle("GET /debug/", debug)
	}
	mux.HandleFunc("/", notFound)
	return s.knownHosts(mux)
}

// Profiles returns the handler of net/http/pprof, for Admin.
func Profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", notFound)
	return mux
}

// knownHosts passes requests whose Host is an IP address, localhost or an
// --admin-host. A page can have the name of its own site resolved to this
// address (DNS rebinding), and the browser would then let it read the answers; but
// the Host header still has the page's name.
func (s *Site) knownHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !s.isKnownHost(request.Host) {
			s.Hub.Refused("misdirected", clientOf(s.Hub, request))
			answer(w, http.StatusMisdirectedRequest, "the admin address has an IP address, localhost or an --admin-host as Host, and not "+quoted(request.Host), nil)
			return
		}
		next.ServeHTTP(w, request)
	})
}

// isKnownHost reports whether the admin address answers to a Host header. No
// browser leaves it empty.
func (s *Site) isKnownHost(header string) bool {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" || s.IsAdminHost(host) {
		return true
	}
	_, err = netip.ParseAddr(host)
	return err == nil
}

// An AdminListener accepts at most 16 connections at once and answers 503 to
// others.
type AdminListener struct {
	net.Listener
	open atomic.Int64
}

// Open returns how many connections there are now. It may be called from anywhere.
func (l *AdminListener) Open() int { return int(l.open.Load()) }

// Accept returns the next connection for which there is a place.
func (l *AdminListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= maxAdmin {
			return &adminConn{Conn: c, from: l}, nil
		}
		l.open.Add(-1)
		// The send buffer of a fresh connection takes this at once; the deadline only
		// has to be longer than the scheduler may take on a busy machine.
		_ = c.SetWriteDeadline(time.Now().Add(refusalTimeout))
		_, _ = c.Write(frame.AppendRefusal(nil, http.StatusServiceUnavailable, "the admin address has all the connections it may have; try again"))
		_ = c.Close()
	}
}

// An adminConn gives its place back on Close.
type adminConn struct {
	net.Conn
	from *AdminListener
	once sync.Once
}

// Close closes the connection.
func (c *adminConn) Close() error {
	c.once.Do(func() { c.from.open.Add(-1) })
	return c.Conn.Close()
}
