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
	maxRoomBody     = 64 << 10        // bytes of what describes a room
	maxRequests     = 64              // at once, so some 64 bodies of a broadcast's size
	requestWait     = 5 * time.Second // for one of them to end
	unavailableTime = "1"             // seconds after which to try again, in 503
	guessedTime     = "60"            // and in 429: the minute of hub's limiter
)

// An api is the HTTP API: what a program, or a person with curl, may do with
// rooms from outside. Its methods may be called from anywhere.
type api struct {
	hub   *hub.Hub             // immutable
	key   func() string        // immutable; tells the present key, empty for none
	bytes func() (sent uint64) // immutable; tells what the sockets took

	busy chan struct{} // immutable; holds one for each request under way
	kept keptAnswers
}

func newAPI(h *hub.Hub, key func() string, sent func() uint64) *api {
	return &api{hub: h, key: key, bytes: sent, busy: make(chan struct{}, maxRequests)}
}

// A call is a request that may be served: its key is right, and its query and
// its body have no other fields than they may.
type call struct {
	*http.Request
	header http.Header // of the answer
	query  url.Values
	body   []byte
	fields fields // of the body
}

// code returns the room's code in the path, as the relay writes it. What is no
// code stays as it is, and no room has it.
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
	query        []string   // the parameters that it may have
	fields       []string   // and those of its body
	maxBody      func() int // in bytes; nil if there is no body
	serve        func(c call) (status int, data any, err error)
}

// operations returns all there are. openapi.json describes them.
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

// routes returns the operations as routes, and that of their description, which
// needs no key: it tells nothing that PROTOCOL.md does not.
func (a *api) routes() []route {
	routes := []route{{http.MethodGet, "/v1/api/openapi.json", serveDescription}}
	for _, o := range a.operations() {
		routes = append(routes, route{o.method, o.path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, o) }})
	}
	return routes
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

// call checks whether a request may be served, in the order of the statuses
// that PROTOCOL.md tells, and serves it.
func (a *api) call(w http.ResponseWriter, r *http.Request, o operation) (status int, data any, err error) {
	if err := a.authorize(r); err != nil {
		return 0, nil, err
	}
	leave, err := a.enter(r.Context())
	if err != nil {
		return 0, nil, err
	}
	defer leave()
	c := call{Request: r, header: w.Header()}
	if c.query, err = parameters(r.URL, o.query...); err != nil {
		return 0, nil, err
	}
	if o.maxBody != nil {
		memory := &counted{budget: a.hub.Budget()}
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

// enter waits until the request may be one of those under way.
func (a *api) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	select {
	case a.busy <- struct{}{}:
		return func() { <-a.busy }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}
