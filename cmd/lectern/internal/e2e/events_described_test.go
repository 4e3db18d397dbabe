package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

// TestEventsAreAsDescribed compares the reactor's answers to requests for events with the
// description of the API: every parameter, and every status.
func TestEventsAreAsDescribed(t *testing.T) {
	t.Parallel()
	b := startAPI(t, "--max-viewers", "1", "--codes", "hex6")
	operation := b.description.Doc.Paths.Value("/v1/rooms/{code}/events").Get
	var want []string
	for _, p := range operation.Parameters {
		want = append(want, p.Value.In+" "+p.Value.Name)
	}
	provoked := make(map[string]bool)

	post := func(path, body string) (told struct{ Code, Epoch, Ticket, Token string }) {
		b.ask(http.MethodPost, path, body).Want(t, 201).Into(t, &told)
		return told
	}
	code := post("/v1/hosts", `{"type":"create"}`).Code
	get := func(status int, name, path string, changes ...apitest.Change) string {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+b.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes {
			change(r)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		a := apitest.Reply{Status: response.StatusCode, Header: response.Header, Text: text}
		var told struct{ Error string }
		if status >= 400 {
			_ = json.Unmarshal(text, &told)
		}
		if a.Status != status || told.Error != name {
			t.Errorf("%s was answered %d %s, want %d %s", path, a.Status, text, status, name)
		}
		if err := b.description.Judge(r, nil, a); err != nil {
			t.Errorf("%s is not as described: %v", path, err)
		}
		for key := range r.URL.Query() {
			provoked["query "+key] = true
		}
		provoked[strconv.Itoa(a.Status)] = true
		return string(text)
	}

	viewer := post("/v1/rooms/"+code+"/viewers", `{}`)
	events := "/v1/rooms/" + code + "/events"
	token := apitest.Header("Authorization", "Bearer "+viewer.Token)
	place := apitest.Header("Last-Event-ID", viewer.Epoch+"-0")
	provoked["header Last-Event-ID"] = true
	if text := get(200, "", events+"?wait=1s&ticket="+viewer.Ticket); strings.Contains(text, "joined") {
		t.Errorf("a ticket joined again: %s", text)
	}
	get(200, "", events+"?wait=1s", token, place)
	get(200, "", events+"?wait=1s&name=Ada&history=false&last_event_id="+viewer.Epoch+"-0", token)
	get(204, "", events, apitest.Header("Last-Event-ID", "ended"))
	get(400, "bad_message", events+"?wait=soon")
	get(400, "bad_message", events+"?history=maybe")
	get(400, "bad_message", events+"?last_event_id=x")
	get(400, "bad_message", events+"?name="+strings.Repeat("x", 65))
	get(403, "bad_token", events+"?ticket=spent")
	get(403, "origin_not_allowed", events, apitest.Header("Origin", "https://elsewhere.example"))
	get(404, "room_not_found", "/v1/rooms/000000/events?wait=1s")
	get(503, "room_full", events)
	get(503, "room_full", events+"?wait=1s")
	wrong := func(n int) string { return "/v1/rooms/0000" + strconv.Itoa(10+n) + "/events" }
	for n := range 19 {
		get(404, "room_not_found", wrong(n))
	}
	get(429, "too_many_attempts", wrong(20))

	want = append(want, slices.Collect(maps.Keys(operation.Responses.Map()))...)
	slices.Sort(want)
	if tried := slices.Sorted(maps.Keys(provoked)); !slices.Equal(want, tried) {
		t.Errorf("described are %q, tried were %q", want, tried)
	}
}
