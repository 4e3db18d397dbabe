// Package apitest reads the answers of the HTTP API for tests, and holds them to
// its description. The tests of httpapi use it in memory, those of e2e with the
// real binary.
package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lectern/hub"
)

// Key is the API's key in the tests.
const Key = "key-of-the-tests-0123456789"

// A Change turns a request into another.
type Change func(*http.Request)

// Header replaces the lines of a header.
func Header(name string, values ...string) Change {
	return func(r *http.Request) {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
}

// NoKey takes the key away.
func NoKey(r *http.Request) { r.Header.Del("Authorization") }

// WrongKey sends another key.
func WrongKey(r *http.Request) { r.Header.Set("Authorization", "Bearer key-of-somebody-else-01234") }

// A Reply is an answer of the relay.
type Reply struct {
	Status  int             `json:"-"`
	Header  http.Header     `json:"-"`
	Text    []byte          `json:"-"` // as it came
	Code    int             // of the envelope, and so on
	Message string          // of an answer that is an error
	Data    json.RawMessage // of any other
}

// Read reads an answer, and checks what all answers have in common.
func Read(t testing.TB, response *http.Response) Reply {
	t.Helper()
	defer response.Body.Close()
	a := Reply{Status: response.StatusCode, Header: response.Header}
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	a.Text = text.Bytes()
	if a.Status == http.StatusNoContent {
		return a
	}
	if kind := a.Header.Get("Content-Type"); kind != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", kind)
	}
	if n := a.Header.Get("Content-Length"); len(a.Text) > 0 && n != strconv.Itoa(len(a.Text)) {
		t.Errorf("Content-Length %q of %d bytes", n, len(a.Text))
	}
	if bytes.Contains(a.Text, []byte(Key)) {
		t.Errorf("the answer shows the API key: %s", a)
	}
	if len(a.Text) == 0 || bytes.HasPrefix(a.Text, []byte("{\n  \"openapi\"")) {
		return a
	}
	if err := json.Unmarshal(a.Text, &a); err != nil || a.Code != a.Status || (a.Message == "") != (a.Status < 300) {
		t.Errorf("%d: no envelope of this status: %s, %v", a.Status, a.Text, err)
	}
	return a
}

func (a Reply) String() string {
	return fmt.Sprintf("%d %s", a.Status, Shorten(strings.TrimSpace(string(a.Text))))
}

// Shorten keeps a failure readable.
func Shorten(text string) string {
	if len(text) > 300 {
		return text[:300] + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return text
}

// Want expects a status, and a message with each of the words.
func (a Reply) Want(t testing.TB, status int, words ...string) Reply {
	t.Helper()
	missing := func(word string) bool { return !strings.Contains(a.Message, word) }
	if a.Status != status || slices.ContainsFunc(words, missing) {
		t.Fatalf("answered %s, want %d with %q", a, status, words)
	}
	return a
}

// A Room is a room in an answer, with the token if it was just made.
type Room struct {
	hub.RoomInfo
	Token string
}

// Room decodes a room.
func (a Reply) Room(t testing.TB) (r Room) {
	t.Helper()
	a.Into(t, &r)
	return r
}

// Seq decodes the number of a broadcast.
func (a Reply) Seq(t testing.TB) uint64 {
	t.Helper()
	var told struct{ Seq uint64 }
	a.Into(t, &told)
	return told.Seq
}

// Into decodes the answer's data.
func (a Reply) Into(t testing.TB, to any) {
	t.Helper()
	if err := json.Unmarshal(a.Data, to); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
}
