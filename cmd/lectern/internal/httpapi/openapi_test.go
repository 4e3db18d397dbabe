package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"lectern/hub"
)

// loaded is the description, read and checked by a library that the product
// does not use.
var loaded = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
})

// finder finds a request's operation in the description.
var finder = sync.OnceValues(func() (routers.Router, error) {
	doc, err := loaded()
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// described compares a request and its answer with the description: the answer
// of an operation with that of its status, any other with a problem's schema.
// What was accepted must have been as described, too.
func described(r *http.Request, a reply) error {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions && a.status == http.StatusNoContent {
		return nil
	}
	doc, err := loaded()
	if err != nil {
		return err
	}
	find, err := finder()
	if err != nil {
		return err
	}
	route, path, err := find.FindRoute(&http.Request{Method: r.Method, URL: &url.URL{Path: r.URL.EscapedPath()}})
	empty := strings.HasSuffix(r.URL.Path, "/") // no code is no operation, nor is another method
	if err != nil || empty || a.status == http.StatusMethodNotAllowed {
		var problem any = map[string]any{"code": float64(a.Code), "message": a.Message}
		return doc.Components.Schemas["Problem"].Value.VisitJSON(problem, openapi3.EnableJSONSchema2020())
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: path, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
	if sent, ok := r.Context().Value(sentBody{}).([]byte); ok && a.status < 300 {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(sent))
		whole := *input
		whole.Request = again
		if err := openapi3filter.ValidateRequest(context.Background(), &whole); err != nil {
			return err
		}
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header,
		Body:    io.NopCloser(bytes.NewReader(a.text)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// sentBody is the key of a request's body in its context.
type sentBody struct{}

func TestDescriptionIsOpenAPI(t *testing.T) {
	doc, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("it is OpenAPI %s", doc.OpenAPI)
	}
	s := newAPIServer(t, hub.Config{})
	s.key = "" // it is served all the same
	a := s.do(http.MethodGet, "/v1/api/openapi.json", "", noKey).want(t, 200)
	if !bytes.Equal(a.text, description) {
		t.Error("another description is served")
	}
}

// TestDescriptionHasTheRoutes compares it with the handlers, in both directions.
func TestDescriptionHasTheRoutes(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	var have, want []string
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
	doc, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range newAPIServer(t, hub.Config{}).api.operations() {
		operation := doc.Paths.Value(o.path).GetOperation(o.method)
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
	doc, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
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
			t.Run(o.method+strings.ReplaceAll(o.path, "/", " ")+" "+strconv.Itoa(status), func(t *testing.T) {
				s := newAPIServer(t, hub.Config{})
				code := s.create(`{"name":"a room"}`)
				target := strings.ReplaceAll(o.path, "{code}", code)
				body := map[string]string{"/v1/api/rooms": `{}`, "/v1/api/rooms/{code}/broadcast": `{"data":1}`}[o.path]
				provoke(s, status, o.method, target, body).want(t, status)
			})
		}
	}
}

// provoke sends a request so that its answer has the status.
func provoke(s *apiServer, status int, method string, target, body string) reply {
	var changes []change
	switch status {
	case 400:
		changes = append(changes, header("Origin", "http://example.com", "http://example.com"))
	case 401:
		changes = append(changes, noKey)
	case 403:
		changes = append(changes, header("Origin", "http://elsewhere.example"))
	case 404:
		s.do(http.MethodDelete, strings.TrimSuffix(target, "/broadcast"), "").want(s.t, 200)
	case 408:
		changes = append(changes, func(r *http.Request) { r.Body = io.NopCloser(slowBody{}) })
	case 409:
		target = "/v1/api/rooms/" + s.create(`{"history":"host"}`) + "/broadcast"
	case 413:
		changes = append(changes, func(r *http.Request) { r.ContentLength = 1 << 40 })
	case 415:
		changes = append(changes, header("Content-Type", "text/plain"))
	case 422:
		changes = append(changes, header("Idempotency-Key", "k"))
		s.do(method, target, `{"data":"another"}`, changes...).want(s.t, 200)
	case 429:
		for range 20 {
			s.do(method, target, body, wrongKey).want(s.t, 401)
		}
		changes = append(changes, wrongKey)
	case 503:
		s.hub.Drain()
		for range cap(s.api.busy) {
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
