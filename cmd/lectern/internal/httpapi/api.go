package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"lectern/hub"
)

// Limits of the HTTP API.
const (
	maxRoomBody = 64 << 10        // bytes of a request that describes a room
	maxRequests = 64              // under way at once, each with a body of at most a broadcast's size
	requestWait = 5 * time.Second // for a request to get one of these places
	retryBusy   = "1"             // Retry-After of 503, in seconds
	retryKeys   = "60"            // Retry-After of 429: the hub counts attempts for a minute
)

// An api is the HTTP API, with which a program, or a person with curl, manages rooms
// from outside. Its methods may be called from anywhere.
type api struct {
	hub   *hub.Hub             // immutable
	key   func() string        // immutable; returns the key, empty while the API is off
	bytes func() (sent uint64) // immutable; returns how many bytes the sockets took

	busy  chan struct{} // immutable; holds one for each request under way
	posts chan struct{} // immutable; holds one for each request of a lecture under way
	kept  keptAnswers
}

func newAPI(h *hub.Hub, key func() string, sent func() uint64) *api {
	return &api{hub: h, key: key, bytes: sent, busy: make(chan struct{}, maxRequests), posts: make(chan struct{}, maxPosts)}
}

// A call is a request that has passed the checks: its key is right, and it has no
// unknown parameters or fields.
type call struct {
	*http.Request
	header http.Header // of the answer
	query  url.Values
	body   []byte
	fields fields // of the body

	writer http.ResponseWriter // of a request that reads its body itself
	memory *reservation        // for that body
}

// code returns the room's code in the path, in the form that the relay writes. A
// malformed code is returned as it is: no room has it.
func (c call) code() string {
	typed := c.PathValue("code")
	if code, ok := hub.ParseCode(typed); ok {
		return code
	}
	return typed
}

// An operation is one of the API's requests.
type operation struct {
	method, path string
	query        []string   // its known parameters
	fields       []string   // the known fields of its body
	maxBody      func() int // in bytes; nil if there is no body
	serve        func(c call) (status int, data any, err error)
}

// operations returns the operations of the API. openapi.json describes them.
func (a *api) operations() []operation {
	room := func() int { return maxRoomBody }
	message := func() int { return a.hub.Config().MaxHostMessage }
	return []operation{
		{http.MethodGet, "/v1/api/rooms", []string{"after", "limit"}, nil, nil, a.listRooms},
		{http.MethodPost, "/v1/api/rooms", nil, roomFields, room, a.createRoom},
		{http.MethodGet, "/v1/api/rooms/{code}", nil, nil, nil, a.showRoom},
		{http.MethodDelete, "/v1/api/rooms/{code}", nil, nil, nil, a.deleteRoom},
		{http.MethodPost, "/v1/api/rooms/{code}/broadcast", nil, []string{"data"}, message, a.broadcast},
		{http.MethodGet, "/v1/api/summary", nil, nil, nil, a.summary},
	}
}

// routes returns the operations as routes, and the route of their description. The
// description needs no key, because all of it is public.
func (a *api) routes() []route {
	routes := []route{{http.MethodGet, "/v1/api/openapi.json", serveDescription}}
	for _, o := range a.operations() {
		routes = append(routes, route{o.method, o.path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, o) }})
	}
	return append(routes, a.lectureRoutes()...)
}

// serve answers a request to the API.
func (a *api) serve(w http.ResponseWriter, r *http.Request, o operation) {
	w.Header().Set("Cache-Control", "no-store") // it may hold a token
	status, data, err := a.call(w, r, o)
	w = countedAnswer{w, a.hub.Budget()}
	if err != nil {
		p := problemOf(err)
		if cause := refusalCauses[p]; cause != "" {
			a.hub.Refused(cause, a.client(r))
		}
		refuse(w, p)
		return
	}
	answer(w, status, "", data)
}

// call checks a request, in the order of the statuses in PROTOCOL.md, and serves
// it.
func (a *api) call(w http.ResponseWriter, r *http.Request, o operation) (status int, data any, err error) {
	if err := a.authorize(r); err != nil {
		return 0, nil, err
	}
	leave, err := enter(r.Context(), a.busy)
	if err != nil {
		return 0, nil, err
	}
	defer leave()
	c := call{Request: r, header: w.Header()}
	if c.query, err = parameters(r.URL, o.query...); err != nil {
		return 0, nil, err
	}
	if o.maxBody != nil {
		memory := &reservation{budget: a.hub.Budget()}
		defer memory.giveBack()
		if c.body, err = readBody(w, r, o.maxBody(), memory); err != nil {
			return 0, nil, err
		}
		if c.fields, err = decode(c.body, o.fields...); err != nil {
			return 0, nil, err
		}
	}
	return o.serve(c)
}

// enter waits for one of the places for requests under way.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}
