package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lectern/hub"
)

// testKey is the API's key in the tests.
const testKey = "key-of-the-tests-0123456789"

// An apiServer is the relay's own port without sockets and workers: what the
// HTTP API is in memory.
type apiServer struct {
	t       testing.TB
	hub     *hub.Hub
	api     *api
	routes  []route
	handler http.Handler
	key     string // that the relay has; requests are sent with testKey
}

func newAPIServer(t testing.TB, config hub.Config) *apiServer {
	s := &apiServer{t: t, hub: hub.New(config, nil), key: testKey}
	s.api = newAPI(s.hub, func() string { return s.key }, func() uint64 { return 4711 })
	r := &relay{hub: s.hub}
	s.routes, s.handler = r.routes(s.api), r.handler(s.api)
	return s
}

// A change makes a request another one.
type change func(*http.Request)

func header(name string, values ...string) change {
	return func(r *http.Request) {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
}

func noKey(r *http.Request) { r.Header.Del("Authorization") }

func wrongKey(r *http.Request) { r.Header.Set("Authorization", "Bearer key-of-somebody-else-01234") }

// from makes a request one of another address.
func from(address string) change {
	return func(r *http.Request) { r.RemoteAddr = address + ":1234" }
}

// request returns one with the right key and, with a body, the right type.
func (s *apiServer) request(method, target, body string, changes ...change) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r = r.WithContext(context.WithValue(r.Context(), sentBody{}, []byte(body)))
	r.Header.Set("Authorization", "Bearer "+testKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range changes {
		c(r)
	}
	return r
}

// do returns the answer to a request. It is checked against the description.
func (s *apiServer) do(method, target, body string, changes ...change) reply {
	s.t.Helper()
	r := s.request(method, target, body, changes...)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	answered := readReply(s.t, w.Result())
	if err := described(r, answered); err != nil {
		s.t.Errorf("%s %s was answered %s, which is not as described: %v", method, shorten(target), answered, err)
	}
	return answered
}

// create makes a room and returns its code.
func (s *apiServer) create(body string) string {
	s.t.Helper()
	return s.do(http.MethodPost, "/v1/api/rooms", body).want(s.t, 201).room(s.t).Code
}

// A reply is an answer of the relay.
type reply struct {
	status  int
	header  http.Header
	text    []byte
	Code    int
	Message string
	Data    json.RawMessage
}

// readReply reads an answer, and checks what all have in common.
func readReply(t testing.TB, response *http.Response) reply {
	t.Helper()
	defer response.Body.Close()
	a := reply{status: response.StatusCode, header: response.Header}
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	a.text = text.Bytes()
	if a.status == http.StatusNoContent {
		return a
	}
	if kind := a.header.Get("Content-Type"); kind != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", kind)
	}
	if n := a.header.Get("Content-Length"); len(a.text) > 0 && n != strconv.Itoa(len(a.text)) {
		t.Errorf("Content-Length %q of %d bytes", n, len(a.text))
	}
	if bytes.Contains(a.text, []byte(testKey)) {
		t.Errorf("the answer shows the API key: %s", a)
	}
	if len(a.text) == 0 || bytes.HasPrefix(a.text, []byte("{\n  \"openapi\"")) {
		return a
	}
	if err := json.Unmarshal(a.text, &a); err != nil || a.Code != a.status || (a.Message == "") != (a.status < 300) {
		t.Errorf("%d: no envelope of this status: %s, %v", a.status, a.text, err)
	}
	return a
}

func (a reply) String() string {
	return fmt.Sprintf("%d %s", a.status, shorten(strings.TrimSpace(string(a.text))))
}

// shorten keeps a failure readable.
func shorten(text string) string {
	if len(text) > 300 {
		return text[:300] + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return text
}

// want wants a status, and a message that tells each of the words.
func (a reply) want(t testing.TB, status int, words ...string) reply {
	t.Helper()
	missing := func(word string) bool { return !strings.Contains(a.Message, word) }
	if a.status != status || slices.ContainsFunc(words, missing) {
		t.Fatalf("answered %s, want %d with %q", a, status, words)
	}
	return a
}

// A toldRoom is what is told of a room, with the token of one just made.
type toldRoom struct {
	hub.RoomInfo
	Token string
}

func (a reply) room(t testing.TB) (r toldRoom) {
	t.Helper()
	a.into(t, &r)
	return r
}

func (a reply) seq(t testing.TB) uint64 {
	t.Helper()
	var told struct{ Seq uint64 }
	a.into(t, &told)
	return told.Seq
}

// into decodes the answer's data.
func (a reply) into(t testing.TB, to any) {
	t.Helper()
	if err := json.Unmarshal(a.Data, to); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
