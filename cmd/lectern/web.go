package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the plain HTTP side.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second
	idleTimeout    = 30 * time.Second
	maxHeaders     = 16 << 10 // bytes
)

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// answer writes the JSON envelope: data of a good answer, the message of any
// other.
func answer(w http.ResponseWriter, status int, message string, data any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Code    int    `json:"code"`
		Message string `json:"message,omitempty"`
		Data    any    `json:"data,omitempty"`
	}{status, message, data})
}

// publicHandler serves the relay's own port.
func (r *relay) publicHandler() http.Handler {
	mux := http.NewServeMux()
	r.handleHealth(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, request *http.Request) {
		if !r.hub.IsWebSocketPath(request.URL.Path) {
			notFound(w, request)
			return
		}
		// RFC 9110 15.5.22: the answer names what to upgrade to.
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		answer(w, http.StatusUpgradeRequired, "this is a WebSocket's path: connect with ws:// or wss://", nil)
	})
	return mux
}

// adminHandler serves the admin address.
func (r *relay) adminHandler() http.Handler {
	mux := http.NewServeMux()
	r.handleHealth(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(r.hub, r.pool), promhttp.HandlerOpts{}))
	if r.config.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("/", notFound)
	return mux
}

// handleHealth tells whether the process lives, and whether it takes new
// connections.
func (r *relay) handleHealth(mux *http.ServeMux) {
	health := func(path string, check func() (status int, state string)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, request *http.Request) {
			if request.Method != http.MethodGet && request.Method != http.MethodHead {
				w.Header().Set("Allow", "GET, HEAD")
				answer(w, http.StatusMethodNotAllowed, "only GET and HEAD are allowed here", nil)
				return
			}
			status, state := check()
			if status != http.StatusOK {
				answer(w, status, state, nil)
				return
			}
			answer(w, status, "", map[string]string{"status": state})
		})
	}
	health("/health/live", func() (int, string) { return http.StatusOK, "live" })
	health("/health/ready", func() (int, string) {
		if r.hub.Draining() {
			return http.StatusServiceUnavailable, "the relay is shutting down"
		}
		return http.StatusOK, "ready"
	})
}

func notFound(w http.ResponseWriter, request *http.Request) {
	answer(w, http.StatusNotFound, "there is nothing at "+request.URL.Path, nil)
}
