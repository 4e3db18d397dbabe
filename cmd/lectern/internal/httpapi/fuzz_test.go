package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"lectern/hub"
)

// FuzzDecode compares decode with encoding/json, and wants what it refuses to be
// a client's mistake.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, ` {"data" : [1,{"a":"\"}"}] } `, `{"data":"\\"}`, `{"name":"x","name":1}`, `{"\u0064ata":null}`, `[]`, `null`,
		`{"max_viewers":-0}`, `{"data":1}x`, "{\"data\":\"\xff\"}", `{"x":1}`, `{"data":` + strings.Repeat("[", 301) + strings.Repeat("]", 301) + `}`} {
		f.Add([]byte(seed))
	}
	a := newAPI(hub.New(hub.Config{}, nil), nil, nil)
	allowed := append([]string{"data"}, roomFields...)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decode(body, allowed...)
		if err != nil {
			if p := (*problem)(nil); !errors.As(err, &p) || p.status != 400 || p.message == "" || !utf8.ValidString(p.message) {
				t.Fatalf("refused with %v", err)
			}
			if plain(body, allowed) {
				t.Fatalf("%q was refused: %v", body, err)
			}
			return
		}
		if !plain(body, allowed) {
			t.Fatalf("%q was accepted", body)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(want) != len(got) {
			t.Fatalf("%q: %d fields, encoding/json has %d, %v", body, len(got), len(want), err)
		}
		for name, value := range got {
			if !bytes.Equal(value, want[name]) || !bytes.Contains(body, value) {
				t.Fatalf("%q: %s is %q, encoding/json has %q", body, name, value, want[name])
			}
		}
		options, err := a.readOptions(got)
		if field := (*hub.FieldError)(nil); err != nil && !errors.As(err, &field) {
			t.Fatalf("the options were refused with %v", err)
		}
		if _, _, err := a.hub.CreateRoom(options); err != nil && !errors.Is(err, hub.ErrTooManyRooms) {
			t.Fatalf("options that were read make no room: %v", err)
		}
	})
}

// plain judges a body as decode should, token by token.
func plain(body []byte, allowed []string) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // of any size
	var deepest, depth int
	var names []string
	isName := false // the next token at depth 1 is
	for first := true; ; first = false {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || first && token != json.Delim('{') {
			return false
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
			isName = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if depth == 1 && isName {
				names = append(names, token.(string))
				isName = false
				continue
			}
		}
		isName = depth == 1 // a value is over
	}
	slices.Sort(names)
	unknown := func(name string) bool { return !slices.Contains(allowed, name) }
	return utf8.Valid(body) && json.Valid(body) && deepest <= maxNesting && deepest > 0 &&
		len(slices.Compact(slices.Clone(names))) == len(names) && !slices.ContainsFunc(names, unknown)
}
