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

// maxNesting bounds the nesting of a body; it is the limit of relayed messages.
const maxNesting = strictjson.MaxDepth

// fields are the fields of a JSON object, as they were sent.
type fields map[string]json.RawMessage

// decode reads a JSON object with no fields but the allowed ones, each at most once.
// Unlike json.Unmarshal it distinguishes upper and lower case in names.
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
	if err != nil { // cannot happen: it is valid
		return nil, badRequest("the body is not valid JSON: %v", err)
	}
	return all, nil
}

// maxEcho bounds how many bytes of a client's own text an answer repeats.
const maxEcho = 64

// quoted returns a client's text in the form for a message.
func quoted(text string) string {
	if len(text) > maxEcho {
		return "a name of " + strconv.Itoa(len(text)) + " bytes"
	}
	return strconv.Quote(text)
}

func wrong(field, want string) error { return &hub.FieldError{Field: field, Problem: want} }

// str returns an optional string, and whether it is given.
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

// oneOf returns an optional string, which must be one of the allowed ones. The first
// of these is the default.
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

// flag returns an optional boolean, false by default.
func (f fields) flag(name string) (on bool, err error) {
	switch string(f[name]) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, wrong(name, "true or false")
}

// number returns an optional integer from low to high, standard by default.
func (f fields) number(name string, low, high, standard int) (int, error) {
	raw, given := f[name]
	if !given {
		return standard, nil
	}
	return whole(name, string(raw), low, high)
}

// whole reads an integer from low to high.
func whole(name, text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

// parameters reads the query of a request, with no parameters but the allowed ones,
// each at most once.
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
