package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"unicode/utf8"

	"lectern/hub"
	"lectern/hub/classroom"
)

// These operations are for lectures without WebSockets: hosts and viewers join by POST, and
// send their messages by POST. The reactor serves their events (hub/standing.go). They need
// no API key, but the same secrets, tokens and create key as over a WebSocket.

// maxPosts is how many of these requests may be under way at once. The body of each has at
// most the size of a host's message.
const maxPosts = 256

// lectureRoutes returns the operations as routes.
func (a *api) lectureRoutes() (routes []route) {
	for _, o := range a.lectureOperations() {
		routes = append(routes, route{o.method, o.path, func(w http.ResponseWriter, r *http.Request) { a.post(w, r, o) }})
	}
	return routes
}

// lectureOperations returns the operations of lectures. openapi.json describes them.
func (a *api) lectureOperations() []operation {
	short := func() int { return a.hub.Config().MaxViewerMessage }
	return []operation{
		{http.MethodPost, "/v1/hosts", nil, nil, short, a.openHost},
		{http.MethodPost, "/v1/rooms/{code}/viewers", nil, nil, short, a.joinViewer},
		{http.MethodPost, "/v1/rooms/{code}/messages", nil, nil, nil, a.takeMessage},
	}
}

// post answers a request of a lecture.
func (a *api) post(w http.ResponseWriter, r *http.Request, o operation) {
	w.Header().Set("Cache-Control", "no-store") // it may hold a token
	status, data, err := a.callPost(w, r, o)
	w = countedAnswer{w, a.hub.Budget()}
	if err != nil {
		p := problemOf(err)
		if cause := refusalCauses[p]; cause != "" {
			a.hub.Refused(cause, a.client(r))
		}
		refuseAs(w, p, errorNames[p.status])
		return
	}
	if f, ok := data.(refusal); ok {
		f.write(w)
		return
	}
	answer(w, status, "", data)
}

// errorNames are the protocol's names for the problems of a request that no dialect has
// seen, by status. So a client finds the reason in the same field, whoever refuses it.
var errorNames = map[int]string{
	http.StatusBadRequest:            hub.BadMessage.Code(),
	http.StatusUnauthorized:          hub.BadToken.Code(),
	http.StatusRequestEntityTooLarge: hub.TooLarge.Code(),
	http.StatusUnsupportedMediaType:  hub.BadMessage.Code(),
	http.StatusServiceUnavailable:    hub.RelayBusy.Code(),
}

// callPost checks a request of a lecture and serves it.
func (a *api) callPost(w http.ResponseWriter, r *http.Request, o operation) (status int, data any, err error) {
	if a.hub.Draining() {
		return 0, nil, hub.ErrShuttingDown
	}
	leave, err := enter(r.Context(), a.posts)
	if err != nil {
		return 0, nil, err
	}
	defer leave()
	c := call{Request: r, header: w.Header(), writer: w}
	if c.query, err = parameters(r.URL, o.query...); err != nil {
		return 0, nil, err
	}
	memory := &reservation{budget: a.hub.Budget()}
	defer memory.giveBack()
	c.memory = memory
	if o.maxBody != nil {
		if err = c.read(o.maxBody()); err != nil {
			return 0, nil, err
		}
	}
	return o.serve(c)
}

// read reads the request's body, which must be UTF-8. The dialect checks whether it is JSON.
func (c *call) read(limit int) (err error) {
	if c.body, err = readBody(c.writer, c.Request, limit, c.memory); err == nil && !utf8.Valid(c.body) {
		err = badRequest("the body is not valid UTF-8")
	}
	return err
}

// A refusal is the answer to a request that the hub or the dialect refuses.
type refusal struct{ *hub.Refusal }

// write writes the envelope, which has the error's name as well.
func (f refusal) write(w http.ResponseWriter) {
	status := classroom.Status(f.Refusal)
	switch {
	case f.Retry > 0:
		w.Header().Set("Retry-After", strconv.FormatInt((f.Retry.Milliseconds()+999)/1000, 10))
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retryBusy)
	}
	write(w, status, append(classroom.AppendRefusalBody(nil, f.Refusal), '\n'))
}

// openHost has the client create or resume a room as its host.
func (a *api) openHost(c call) (status int, data any, err error) {
	if f := classroom.CheckHost(c.body); f != nil {
		return a.refused(c, f)
	}
	result, err := a.hub.PostHost(c.Context(), a.client(c.Request), c.body)
	if err != nil || result.Refusal != nil {
		return 0, refusal{result.Refusal}, err
	}
	return entered(result, `,"number":0`)
}

// joinViewer has the client join a room as a viewer.
func (a *api) joinViewer(c call) (status int, data any, err error) {
	e, f := classroom.ReadViewer(c.body, c.PathValue("code"), a.hub.Config())
	if f != nil {
		return a.refused(c, f)
	}
	result, err := a.hub.PostViewer(c.Context(), a.client(c.Request), e)
	if err != nil || result.Refusal != nil {
		return 0, refusal{result.Refusal}, err
	}
	return entered(result, "")
}

// refused counts what the dialect refuses, and answers with it.
func (a *api) refused(c call, f *hub.Refusal) (status int, data any, err error) {
	a.hub.Refused(f.Kind.Code(), a.client(c.Request))
	return 0, refusal{f}, nil
}

// entered answers with the message joined or created, to which it adds the ticket and more
// fields.
func entered(result hub.Result, more string) (status int, data any, err error) {
	message := result.Answers[0]
	text := append(message[:len(message)-1:len(message)-1], `,"ticket":"`+result.Ticket+`"`+more+`}`...)
	return http.StatusCreated, json.RawMessage(text), nil
}

// takeMessage handles a message of the client that the token stands for.
func (a *api) takeMessage(c call) (status int, data any, err error) {
	token, ok := bearer(c.Header)
	if !ok {
		return 0, nil, &problem{http.StatusUnauthorized, "this needs the token of a host or a viewer, as Authorization: Bearer TOKEN"}
	}
	number, err := messageNumber(c.Header)
	if err != nil {
		return 0, nil, err
	}
	to, f, err := a.hub.FindAddressee(c.Context(), a.client(c.Request), c.PathValue("code"), token)
	if err != nil || f != nil {
		return 0, refusal{f}, err
	}
	limit := a.hub.Config().MaxViewerMessage
	if to.IsHost() {
		limit = a.hub.Config().MaxHostMessage
	}
	if err = c.read(limit); err != nil {
		return 0, nil, err
	}
	result, err := to.Post(c.Context(), c.body, number)
	if err != nil {
		return 0, nil, err
	}
	if result.Refusal != nil {
		return 0, refusal{result.Refusal}, nil
	}
	if result.Again {
		c.header.Set("Idempotent-Replayed", "true")
	}
	told := struct {
		Answers []json.RawMessage `json:"answers"`
		Seq     uint64            `json:"seq,omitempty"`
	}{make([]json.RawMessage, len(result.Answers)), result.Seq}
	for i, text := range result.Answers {
		told.Answers[i] = text
	}
	return http.StatusOK, told, nil
}

// messageNumber returns the number of a host's message, 0 if it has none.
func messageNumber(h http.Header) (number uint64, err error) {
	key, given, err := idempotencyKey(h)
	if err != nil || !given {
		return 0, err
	}
	if number, err = strconv.ParseUint(key, 10, 64); err != nil || number == 0 {
		return 0, wrong("Idempotency-Key", "the number of the message, from 1")
	}
	return number, nil
}
