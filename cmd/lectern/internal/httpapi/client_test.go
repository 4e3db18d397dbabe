package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
	"lectern/hub/classroom"
	"lectern/hub/echo"
)

// An apiServer is the relay's own port without sockets and workers: what the
// HTTP API is in memory.
type apiServer struct {
	t       testing.TB
	hub     *hub.Hub
	api     *api
	routes  []route
	workers []*worker
	handler http.Handler // of the relay's own port
	admin   http.Handler
	key     string // that the relay has; requests are sent with apitest.Key
}

// newHub returns a hub that speaks the classroom's dialect, and sends messages back at
// /echo/.
func newHub(config hub.Config, workers ...hub.Worker) *hub.Hub {
	h := hub.New(config, workers)
	lectures := classroom.New()
	h.Serve(lectures, "/", "/v1/websocket")
	h.ServeEvents(classroom.NewEvents(), "/v1/rooms/", "/events", lectures)
	h.Serve(echo.Dialect{}, "/echo/")
	return h
}

func newAPIServer(t testing.TB, config hub.Config) *apiServer {
	s := &apiServer{t: t, workers: []*worker{newWorker(t), newWorker(t)}, key: apitest.Key}
	s.hub = newHub(config, s.workers[0], s.workers[1])
	site := New(Config{
		Hub: s.hub, Key: func() string { return s.key }, Sent: func() uint64 { return 4711 },
		Leaving: func() bool { return false }, IsAdminHost: func(string) bool { return false },
	})
	s.api, s.routes, s.handler, s.admin = site.api, site.routes(), site.Public(), site.Admin(http.NotFoundHandler(), nil)
	return s
}

// from makes a request one of another address.
func from(address string) apitest.Change {
	return func(r *http.Request) { r.RemoteAddr = address + ":1234" }
}

// request returns one with the right key and, with a body, the right type.
func (s *apiServer) request(method, target, body string, changes ...apitest.Change) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+apitest.Key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range changes {
		c(r)
	}
	return r
}

// do returns the answer to a request. It is checked against the description.
func (s *apiServer) do(method, target, body string, changes ...apitest.Change) apitest.Reply {
	s.t.Helper()
	r := s.request(method, target, body, changes...)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	answered := apitest.Read(s.t, w.Result())
	d, err := loaded()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.Judge(r, []byte(body), answered); err != nil {
		s.t.Errorf("%s %s was answered %s, which is not as described: %v", method, apitest.Shorten(target), answered, err)
	}
	return answered
}

// create makes a room and returns its code.
func (s *apiServer) create(body string) string {
	s.t.Helper()
	return s.do(http.MethodPost, "/v1/api/rooms", body).Want(s.t, 201).Room(s.t).Code
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
