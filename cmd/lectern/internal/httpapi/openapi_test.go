package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// loaded is the description that the relay serves.
var loaded = sync.OnceValues(func() (*apitest.Description, error) { return apitest.Parse(description) })

func TestDescriptionIsOpenAPI(t *testing.T) {
	d, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if !d.Doc.IsOpenAPI31OrLater() {
		t.Errorf("it is OpenAPI %s", d.Doc.OpenAPI)
	}
	s := newAPIServer(t, hub.Config{})
	s.key = "" // it is served all the same
	a := s.do(http.MethodGet, "/v1/api/openapi.json", "", apitest.NoKey).Want(t, 200)
	if !bytes.Equal(a.Text, description) {
		t.Error("another description is served")
	}
}

// TestDescriptionHasTheRoutes compares it with the handlers, in both directions.
func TestDescriptionHasTheRoutes(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	have := []string{"GET " + eventsPath} // the reactor serves it
	var want []string
	for _, r := range s.routes {
		have = append(have, r.method+" "+r.path)
	}
	for _, o := range describedOperations(t) {
		want = append(want, o.method+" "+o.path)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the handlers are\n%q, described are\n%q", have, want)
	}
}

// TestDescriptionHasTheFields compares its parameters and the bodies' fields
// with those that the handlers take.
func TestDescriptionHasTheFields(t *testing.T) {
	d, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range newAPIServer(t, hub.Config{}).api.operations() {
		operation := d.Doc.Paths.Value(o.path).GetOperation(o.method)
		var query, fields []string
		for _, p := range operation.Parameters {
			if p.Value.In == "query" {
				query = append(query, p.Value.Name)
			}
		}
		if operation.RequestBody != nil {
			for name := range operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties {
				fields = append(fields, name)
			}
		}
		slices.Sort(fields)
		if !slices.Equal(query, o.query) || !slices.Equal(fields, slices.Sorted(slices.Values(o.fields))) {
			t.Errorf("%s %s takes %q and %q, described are %q and %q", o.method, o.path, o.query, o.fields, query, fields)
		}
	}
}

type describedOperation struct {
	method, path string
	statuses     []int
}

func describedOperations(t *testing.T) (all []describedOperation) {
	t.Helper()
	d, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range d.Doc.Paths.Map() {
		for method, operation := range item.Operations() {
			o := describedOperation{method: method, path: path}
			for status := range operation.Responses.Map() {
				n, err := strconv.Atoi(status)
				if err != nil {
					t.Errorf("%s %s has a response %s", method, path, status)
				}
				o.statuses = append(o.statuses, n)
			}
			all = append(all, o)
		}
	}
	return all
}

// TestEveryDescribedStatus provokes every status of every operation; do compares
// the answers with the description.
func TestEveryDescribedStatus(t *testing.T) {
	for _, o := range describedOperations(t) {
		for _, status := range o.statuses {
			if o.path == eventsPath {
				continue // TestEventsAreAsDescribed in package e2e has them
			}
			t.Run(o.method+strings.ReplaceAll(o.path, "/", " ")+" "+strconv.Itoa(status), func(t *testing.T) {
				s := newAPIServer(t, hub.Config{})
				if body, ok := lectureBodies[o.path]; ok {
					provokeLecture(s, status, o.path, body).Want(t, status)
					return
				}
				code := s.create(`{"name":"a room"}`)
				target := strings.ReplaceAll(o.path, "{code}", code)
				body := map[string]string{"/v1/api/rooms": `{}`, "/v1/api/rooms/{code}/broadcast": `{"data":1}`}[o.path]
				provoke(s, status, o.method, target, body).Want(t, status)
			})
		}
	}
}

// lectureBodies are the bodies of the requests of a lecture.
var lectureBodies = map[string]string{
	"/v1/hosts": `{"type":"create"}`, "/v1/rooms/{code}/viewers": `{"secret":"x"}`, "/v1/rooms/{code}/messages": `{"type":"ping"}`,
}

// provoke sends a request so that its answer has the status.
func provoke(s *apiServer, status int, method string, target, body string) apitest.Reply {
	var changes []apitest.Change
	switch status {
	case 400:
		changes = append(changes, apitest.Header("Origin", "http://example.com", "http://example.com"))
	case 401:
		changes = append(changes, apitest.NoKey)
	case 403:
		changes = append(changes, apitest.Header("Origin", "http://elsewhere.example"))
	case 404:
		s.do(http.MethodDelete, strings.TrimSuffix(target, "/broadcast"), "").Want(s.t, 200)
	case 408:
		changes = append(changes, func(r *http.Request) { r.Body = io.NopCloser(slowBody{}) })
	case 409:
		target = "/v1/api/rooms/" + s.create(`{"history":"host"}`) + "/broadcast"
	case 413:
		changes = append(changes, func(r *http.Request) { r.ContentLength = 1 << 40 })
	case 415:
		changes = append(changes, apitest.Header("Content-Type", "text/plain"))
	case 422:
		changes = append(changes, apitest.Header("Idempotency-Key", "k"))
		s.do(method, target, `{"data":"another"}`, changes...).Want(s.t, 200)
	case 429:
		for range 20 {
			s.do(method, target, body, apitest.WrongKey).Want(s.t, 401)
		}
		changes = append(changes, apitest.WrongKey)
	case 503:
		s.hub.Drain()
		for range cap(s.api.busy) - len(s.api.busy) {
			s.api.busy <- struct{}{}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // who gives up need not wait
		changes = append(changes, func(r *http.Request) { *r = *r.WithContext(ctx) })
	}
	return s.do(method, target, body, changes...)
}

// A slowBody is one whose time is over.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
