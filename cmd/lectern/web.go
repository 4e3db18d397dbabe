package main

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
	answerTimeout  = 10 * time.Second // from the answer's first byte to its last
	lingerTimeout  = time.Second      // for the rest of a body that was answered before it came
	idleTimeout    = 30 * time.Second // between two requests
	maxHeaders     = 64 << 10         // bytes; the largest --max-head, which has judged the head before
)

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // it would answer OPTIONS * in another way
	}
}

// connKey is the key of a request's context for its connection.
type connKey struct{}

// withConn is a server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// keepsConn reports whether another request may follow on the connection, which the
// connection may know better than net/http.
func keepsConn(request *http.Request) bool {
	c, ok := request.Context().Value(connKey{}).(interface{ Keeps() bool })
	return !ok || c.Keeps()
}

// A route is a request that is answered.
type route struct {
	method string
	path   string // a pattern of http.ServeMux
	serve  http.HandlerFunc
}

// register adds routes. Other methods on their paths are answered 405, and
// OPTIONS.
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

// publicHandler serves the relay's own port.
func (r *relay) publicHandler() http.Handler {
	return r.handler(newAPI(r.hub, r.apiKey, r.sentBytes))
}

// handler serves the relay's own port, with an API.
func (r *relay) handler(a *api) http.Handler {
	mux := http.NewServeMux()
	register(mux, r.routes(a))
	mux.HandleFunc("/", r.otherwise)
	return r.origins(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
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
		_ = c.SetReadDeadline(time.Now().Add(lingerTimeout)) // net/http reads on what was refused
	}))
}

// routes returns those of the relay's own port.
func (r *relay) routes(a *api) []route { return append(r.health(), a.routes()...) }

// webSocketMethods are those of the WebSockets' paths.
const webSocketMethods = "GET, HEAD, OPTIONS"

// otherwise answers what no route does: mostly WebSockets' paths, where an answer
// ends its connection, because the client expects something else there.
func (r *relay) otherwise(w http.ResponseWriter, request *http.Request) {
	if !r.hub.IsWebSocketPath(request.URL.Path) {
		notFound(w, request)
		return
	}
	w.Header().Set("Connection", "close")
	switch request.Method {
	case http.MethodOptions:
		preflight(w, request, webSocketMethods)
	case http.MethodGet, http.MethodHead:
		// RFC 9110 15.5.22: the answer names what to upgrade to. httpConn adds
		// Connection: Upgrade.
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		answer(w, http.StatusUpgradeRequired, "this is a WebSocket's path: connect with ws:// or wss://", nil)
	default:
		w.Header().Set("Allow", webSocketMethods)
		answer(w, http.StatusMethodNotAllowed, "only "+webSocketMethods+" are allowed here", nil)
	}
}

// sentBytes returns how many bytes the WebSockets' sockets took.
func (r *relay) sentBytes() (n uint64) {
	for _, w := range r.pool.Workers() {
		n += w.Stats().BytesOut
	}
	return n
}

// health returns the routes that tell whether the process lives, and whether it
// takes new connections. They are open.
func (r *relay) health() []route {
	tell := func(w http.ResponseWriter, state string) {
		answer(w, http.StatusOK, "", map[string]string{"status": state})
	}
	return []route{
		{http.MethodGet, "/health/live", func(w http.ResponseWriter, _ *http.Request) { tell(w, "live") }},
		{http.MethodGet, "/health/ready", func(w http.ResponseWriter, _ *http.Request) {
			if r.leaving.Load() || r.hub.Draining() {
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
