package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lectern/hub"
	"lectern/hub/strictjson"
)

// maxNesting is how deep a body may be nested: the limit for what is relayed.
const maxNesting = strictjson.MaxDepth

// fields are those of a JSON object, as they were sent.
type fields map[string]json.RawMessage

// decode reads a JSON object that may have the allowed fields, each once. The
// names' case counts, unlike with json.Unmarshal.
func decode(body []byte, allowed ...string) (fields, error) {
	switch {
	case !utf8.Valid(body): // encoding/json would pass it on
		return nil, badRequest("the body is not valid UTF-8")
	case !json.Valid(body):
		var v json.RawMessage
		return nil, badRequest("the body is not valid JSON: %v", json.Unmarshal(body, &v))
	case body[bytes.IndexAny(body, "{}[]\"tfn0123456789-")] != '{':
		return nil, badRequest("the body must be a JSON object")
	case errors.Is(strictjson.Check(body), strictjson.DepthError{}):
		return nil, badRequest("the body is nested more than %d deep", maxNesting)
	}
	all := make(fields)
	d := json.NewDecoder(bytes.NewReader(body))
	_, err := d.Token() // the brace
	for err == nil && d.More() {
		var name json.Token
		if name, err = d.Token(); err != nil {
			break
		}
		text := name.(string) // as the grammar has it
		if !slices.Contains(allowed, text) {
			return nil, badRequest("%s is no field of this request, which has %s", quoted(text), strings.Join(allowed, ", "))
		}
		if _, twice := all[text]; twice {
			return nil, badRequest("%s is there more than once", quoted(text))
		}
		var value json.RawMessage
		err = d.Decode(&value)
		all[text] = value
	}
	if err != nil { // it is valid, so this cannot be
		return nil, badRequest("the body is not valid JSON: %v", err)
	}
	return all, nil
}

// maxEcho is how many bytes of a client's own words are repeated to it.
const maxEcho = 64

// quoted returns a client's words for a message.
func quoted(text string) string {
	if len(text) > maxEcho {
		return "a name of " + strconv.Itoa(len(text)) + " bytes"
	}
	return strconv.Quote(text)
}

func wrong(field, want string) error { return &hub.FieldError{Field: field, Problem: want} }

// str returns a string that may be missing, and whether it is there.
func (f fields) str(name string) (text string, given bool, err error) {
	raw, given := f[name]
	if !given {
		return "", false, nil
	}
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", true, wrong(name, "a string")
	}
	return text, true, nil
}

// oneOf returns a string that may be missing and else must be one of those
// allowed; the first of them is the default.
func (f fields) oneOf(name string, allowed ...string) (string, error) {
	text, given, err := f.str(name)
	switch {
	case err == nil && !given:
		return allowed[0], nil
	case err != nil || !slices.Contains(allowed, text):
		return "", wrong(name, `"`+strings.Join(allowed, `" or "`)+`"`)
	}
	return text, nil
}

// flag returns a field that may be missing and else must be true or false.
func (f fields) flag(name string) (on bool, err error) {
	switch string(f[name]) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, wrong(name, "true or false")
}

// number returns a whole number from low to high that may be missing, and then
// is standard.
func (f fields) number(name string, low, high, standard int) (int, error) {
	raw, given := f[name]
	if !given {
		return standard, nil
	}
	return whole(name, string(raw), low, high)
}

// whole reads a whole number from low to high.
func whole(name, text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

// parameters reads the query of a request, which may have the allowed
// parameters, each once.
func parameters(u *url.URL, allowed ...string) (url.Values, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, badRequest("the query cannot be read: %v", err)
	}
	for name, values := range query {
		if !slices.Contains(allowed, name) {
			return nil, badRequest("%s is no parameter of this request", quoted(name))
		}
		if len(values) > 1 {
			return nil, badRequest("%s is there more than once", quoted(name))
		}
	}
	return query, nil
}
