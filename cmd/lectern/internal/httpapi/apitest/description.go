package apitest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// A Description is the API in OpenAPI, read by a library that the product does not
// use. It may be used from anywhere.
type Description struct {
	Doc    *openapi3.T
	router routers.Router
}

// Parse reads a description and checks it.
func Parse(text []byte) (*Description, error) {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, err
	}
	router, err := legacy.NewRouter(doc)
	return &Description{doc, router}, err
}

// Judge compares a request and its answer with the description: the answer of an
// operation with the schema of its status, any other with the schema of a problem.
// The body of an accepted request must be as described, too; it is nil if the
// test does not know it.
func (d *Description) Judge(r *http.Request, body []byte, a Reply) error {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions && a.Status == http.StatusNoContent {
		return nil
	}
	route, path, err := d.router.FindRoute(&http.Request{Method: r.Method, URL: &url.URL{Path: r.URL.EscapedPath()}})
	empty := strings.HasSuffix(r.URL.Path, "/") // no code is no operation, nor is another method
	if err != nil || empty || a.Status == http.StatusMethodNotAllowed {
		var problem any = map[string]any{"code": float64(a.Code), "message": a.Message}
		return d.Doc.Components.Schemas["Problem"].Value.VisitJSON(problem, openapi3.EnableJSONSchema2020())
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: path, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
	if body != nil && a.Status < 300 {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		whole := *input
		whole.Request = again
		if err := openapi3filter.ValidateRequest(context.Background(), &whole); err != nil {
			return err
		}
	}
	events := strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") // the library cannot read them
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.Status, Header: a.Header,
		Body:    io.NopCloser(bytes.NewReader(a.Text)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: events},
	})
}
