// Package httpapi answers plain HTTP: the API with which a program manages rooms
// from outside, /health, and the admin address. It takes requests from net/http
// and asks the hub; it opens no sockets.
package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"lectern/hub"
)

// Limits of the plain HTTP side.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second // for the head and the body
	lingerTimeout  = time.Second      // for the rest of a body that was answered before it came
	idleTimeout    = 30 * time.Second // between two requests
	maxHeaders     = 64 << 10         // bytes; the largest --max-head; the relay has checked the head before
)

// NewServer returns a server with the timeouts of the relay's own port.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       withConn,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // it would answer OPTIONS * itself
	}
}

// connKey is the key of a request's context for its connection.
type connKey struct{}

// withConn is a server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// keepsConn reports whether another request may follow on the connection. A
// connection that has a method Keeps decides; net/http would not know.
func keepsConn(request *http.Request) bool {
	c, ok := request.Context().Value(connKey{}).(interface{ Keeps() bool })
	return !ok || c.Keeps()
}

// A route is a method and a path with a handler.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	serve  http.HandlerFunc
}

// register adds routes. It answers OPTIONS on their paths, and any other method with
// 405.
func register(mux *http.ServeMux, routes []route) {
	methods := make(map[string][]string)
	for _, r := range routes {
		mux.HandleFunc(r.method+" "+r.path, r.serve)
		methods[r.path] = append(methods[r.path], r.method)
		if r.method == http.MethodGet { // ServeMux lets it serve HEAD, too
			methods[r.path] = append(methods[r.path], http.MethodHead)
		}
	}
	for at, known := range methods {
		allow := strings.Join(append(known, http.MethodOptions), ", ")
		mux.HandleFunc(at, func(w http.ResponseWriter, request *http.Request) {
			if request.Method == http.MethodOptions {
				preflight(w, request, allow)
				return
			}
			w.Header().Set("Allow", allow)
			answer(w, http.StatusMethodNotAllowed, "only "+allow+" are allowed here", nil)
		})
	}
}

// A Config is what the HTTP side serves, and what it asks the rest of the process.
// Its functions may be called from anywhere.
type Config struct {
	Hub         *hub.Hub
	Key         func() string          // returns the API's key, empty while the API is off
	Sent        func() uint64          // returns how many bytes the WebSockets' sockets took
	Leaving     func() bool            // reports whether the relay was told to end
	IsAdminHost func(name string) bool // reports whether --admin-host has a name, in lower case
}

// A Site answers plain HTTP, on the relay's own port and on the admin address.
type Site struct {
	Config
	api *api
}

// New returns a Site.
func New(c Config) *Site { return &Site{Config: c, api: newAPI(c.Hub, c.Key, c.Sent)} }

// Public returns the handler of the relay's own port.
func (s *Site) Public() http.Handler {
	mux := http.NewServeMux()
	register(mux, s.routes())
	mux.HandleFunc(eventsPath, events)
	mux.HandleFunc("/", s.otherwise)
	return s.origins(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodOptions && request.URL.Path == "*" { // RFC 9110 9.3.7
			preflight(w, request, "GET, HEAD, POST, DELETE, OPTIONS")
			return
		}
		// ServeMux would redirect to a path without the dots and double slashes.
		if tidy := path.Clean("/" + request.URL.Path); strings.TrimSuffix(request.URL.Path, "/") != strings.TrimSuffix(tidy, "/") {
			notFound(w, request)
			return
		}
		if !keepsConn(request) {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, request)
		c := http.NewResponseController(w)                   // a recorder has no deadlines
		_ = c.SetReadDeadline(time.Now().Add(lingerTimeout)) // net/http goes on to read a refused body
	}))
}

// routes returns the routes of the relay's own port.
func (s *Site) routes() []route { return append(s.health(), s.api.routes()...) }

// eventsPath is the path of event streams. The reactor serves their requests.
const eventsPath = "/v1/rooms/{code}/events"

// events answers requests that are not for an event stream.
func events(w http.ResponseWriter, request *http.Request) {
	const allow = "GET, OPTIONS"
	switch request.Method {
	case http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control") // besides the API's
		preflight(w, request, allow)
	case http.MethodGet: // the path is escaped in a way that the reactor does not know
		notFound(w, request)
	default:
		w.Header().Set("Allow", allow)
		answer(w, http.StatusMethodNotAllowed, "only "+allow+" are allowed here", nil)
	}
}

// webSocketMethods are the methods that the paths of WebSockets allow.
const webSocketMethods = "GET, HEAD, OPTIONS"

// otherwise answers requests for paths without a route, among them those of
// WebSockets. There an answer ends the connection, because the client expects
// something else.
func (s *Site) otherwise(w http.ResponseWriter, request *http.Request) {
	if !s.Hub.IsWebSocketPath(request.URL.Path) {
		notFound(w, request)
		return
	}
	w.Header().Set("Connection", "close")
	switch request.Method {
	case http.MethodOptions:
		preflight(w, request, webSocketMethods)
	case http.MethodGet, http.MethodHead:
		// RFC 9110 15.5.22: the answer names the protocol to upgrade to. The
		// connection adds Connection: Upgrade.
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		answer(w, http.StatusUpgradeRequired, "this is a WebSocket's path: connect with ws:// or wss://", nil)
	default:
		w.Header().Set("Allow", webSocketMethods)
		answer(w, http.StatusMethodNotAllowed, "only "+webSocketMethods+" are allowed here", nil)
	}
}

// health returns the routes for whether the process lives, and whether it takes new
// connections. They need no key.
func (s *Site) health() []route {
	tell := func(w http.ResponseWriter, state string) {
		answer(w, http.StatusOK, "", map[string]string{"status": state})
	}
	return []route{
		{http.MethodGet, "/health/live", func(w http.ResponseWriter, _ *http.Request) { tell(w, "live") }},
		{http.MethodGet, "/health/ready", func(w http.ResponseWriter, _ *http.Request) {
			if s.Leaving() || s.Hub.Draining() {
				refuse(w, problemOf(hub.ErrShuttingDown))
				return
			}
			tell(w, "ready")
		}},
	}
}

func notFound(w http.ResponseWriter, request *http.Request) {
	answer(w, http.StatusNotFound, "there is nothing at "+request.URL.Path, nil)
}
