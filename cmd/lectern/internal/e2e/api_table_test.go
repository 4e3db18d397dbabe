package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// An apiBinary is the real relay, with an API key.
type apiBinary struct {
	*binary
	description *apitest.Description // that it serves
	answers     bytes.Buffer         // all that it answered
}

func startAPI(t testing.TB, flags ...string) *apiBinary {
	t.Helper()
	b := &apiBinary{binary: startBinaryUnder(t, withKey, flags...)}
	response, err := http.Get("http://" + b.addr + "/v1/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if b.description, err = apitest.Parse(apitest.Read(t, response).Text); err != nil {
		t.Fatal(err)
	}
	return b
}

// A roomPage is the data of a list of rooms.
type roomPage struct {
	Rooms []hub.RoomInfo
	Next  *string
}

// ask sends a request over a connection that is kept, and returns the answer.
func (b *apiBinary) ask(method, path, body string, changes ...apitest.Change) apitest.Reply {
	b.t.Helper()
	a, err := b.tryAsk(method, path, body, changes...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.answers.Write(a.Text)
	return a
}

// tryAsk is ask for goroutines of the test.
func (b *apiBinary) tryAsk(method, path, body string, changes ...apitest.Change) (apitest.Reply, error) {
	request, err := http.NewRequest(method, "http://"+b.addr+path, strings.NewReader(body))
	if err != nil {
		return apitest.Reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+apitest.Key)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, c := range changes {
		c(request)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return apitest.Reply{}, err
	}
	if response.Close && response.StatusCode < 400 { // of what is refused, a long body is not read
		b.t.Errorf("%s %s: the answer ends the connection", method, path)
	}
	a := apitest.Read(b.t, response)
	if err := b.description.Judge(request, nil, a); err != nil {
		b.t.Errorf("%s %s was answered %s, which is not as described: %v", method, path, a, err)
	}
	return a, nil
}

// A told is a message of the relay to a client.
type told struct {
	Type, Code, Token, Epoch, Reason, Error string
	Seq                                     uint64
	Resumed                                 bool
}

// hearType reads until a message of the type comes. It must come.
func hearType(t testing.TB, c *websocket.Conn, kind string) (m told) {
	t.Helper()
	for range 100 {
		text := hear(t, c)
		m = told{}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("heard %s: %v", text, err)
		}
		if m.Type == kind {
			return m
		}
	}
	t.Fatalf("never heard %s", kind)
	return m
}

// TestHTTPTable walks through every line of the API's table in PROTOCOL.md.
func TestHTTPTable(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-of-the-tests"
	b := startAPI(t)
	whole := t // to whose end the connections last
	var made apitest.Room
	var host, viewer *websocket.Conn
	var lecture struct{ Code, Token string } // over HTTP only
	var shown []string                       // tokens and secrets that must not be told again
	in := func(path string) string { return strings.ReplaceAll(path, "{code}", made.Code) }

	lines := []struct {
		line string
		test func(t *testing.T)
	}{
		{"POST /v1/api/rooms", func(t *testing.T) {
			a := b.ask("POST", "/v1/api/rooms", `{"name":"Biologie","secret":"`+secret+`","max_viewers":5,"history":"relay","slow":"close","roster":true}`).Want(t, 201)
			made = a.Room(t)
			if made.Name != "Biologie" || made.MaxViewers != 5 || made.Host || a.Header.Get("Location") != in("/v1/api/rooms/{code}") {
				t.Errorf("made %+v at %q", made, a.Header.Get("Location"))
			}
			b.answers.Reset() // its own token is told once, here

			host = dial(whole, b.url("/"))
			say(t, host, `{"type":"resume","code":"`+made.Code+`","token":"`+made.Token+`"}`)
			shown = append(shown, made.Token, hearType(t, host, "created").Token, secret, apitest.Key)
			viewer = dial(whole, b.url("/"))
			say(t, viewer, `{"type":"join","code":"`+made.Code+`","secret":"`+secret+`"}`)
			shown = append(shown, hearType(t, viewer, "joined").Token)
		}},
		{"GET /v1/api/rooms", func(t *testing.T) {
			var page roomPage
			b.ask("GET", "/v1/api/rooms?limit=10", "").Want(t, 200).Into(t, &page)
			if len(page.Rooms) != 1 || page.Rooms[0].Code != made.Code || page.Next != nil {
				t.Errorf("listed %+v", page)
			}
		}},
		{"GET /v1/api/rooms/{code}", func(t *testing.T) {
			room := b.ask("GET", in("/v1/api/rooms/{code}"), "").Want(t, 200).Room(t)
			if room.Viewers != 1 || !room.Host || room.Seq != 0 || room.Created != made.Created {
				t.Errorf("shown %+v", room)
			}
		}},
		{"POST /v1/api/rooms/{code}/broadcast", func(t *testing.T) {
			const data = `{ "von" : "aussen\u0021",  "n":[1.0,2e0] }`
			path := in("/v1/api/rooms/{code}/broadcast")
			for range 3 {
				if seq := b.ask("POST", path, `{"data": `+data+` }`, apitest.Header("Idempotency-Key", "once")).Want(t, 200).Seq(t); seq != 1 {
					t.Errorf("number %d", seq)
				}
			}
			b.ask("POST", path, `{"data":null}`).Want(t, 200)
			expect(t, viewer, `{"type":"broadcast","data":`+data+`}`)
			expect(t, viewer, `{"type":"broadcast","data":null}`)
			hearType(t, host, "broadcast")
			expect(t, host, `{"type":"broadcast","data":null}`)

			other := dial(t, b.url("/"))
			say(t, other, `{"type":"create"}`)
			b.ask("POST", "/v1/api/rooms/"+hearType(t, other, "created").Code+"/broadcast", `{"data":1}`).Want(t, 409, "host")
			say(t, other, `{"type":"close"}`)
			hearType(t, other, "closed")
		}},
		{"GET /v1/api/summary", func(t *testing.T) {
			var s struct {
				Rooms, Viewers int
				Messages       struct{ Delivered uint64 }
				Bytes          struct{ Delivered uint64 }
				Limits         struct {
					HostMessage int `json:"max_host_message"`
				}
			}
			b.ask("GET", "/v1/api/summary", "").Want(t, 200).Into(t, &s)
			if s.Rooms != 1 || s.Viewers != 1 || s.Messages.Delivered < 2 || s.Bytes.Delivered == 0 || s.Limits.HostMessage != 1<<20 {
				t.Errorf("summed up as %+v", s)
			}
		}},
		{"DELETE /v1/api/rooms/{code}", func(t *testing.T) {
			b.ask("DELETE", in("/v1/api/rooms/{code}"), "").Want(t, 200)
			for name, c := range map[string]*websocket.Conn{"viewer": viewer, "host": host} {
				if m := hearType(t, c, "closed"); m.Reason != "deleted" {
					t.Errorf("the %s heard %+v", name, m)
				}
				if code := hearClose(t, c); code != 4000 {
					t.Errorf("the %s was closed with %d", name, code)
				}
			}
			b.ask("DELETE", in("/v1/api/rooms/{code}"), "").Want(t, 404)
			b.ask("GET", in("/v1/api/rooms/{code}"), "").Want(t, 404)
			b.ask("POST", in("/v1/api/rooms/{code}/broadcast"), `{"data":1}`).Want(t, 404)
		}},
		{"POST /v1/hosts", func(t *testing.T) {
			b.ask("POST", "/v1/hosts", `{"type":"create"}`, apitest.NoKey).Want(t, 201).Into(t, &lecture)
			b.ask("POST", "/v1/hosts", `{"type":"join"}`, apitest.NoKey).Want(t, 400)
		}},
		{"POST /v1/rooms/{code}/viewers", func(t *testing.T) {
			b.ask("POST", "/v1/rooms/"+lecture.Code+"/viewers", `{"name":"Ada"}`, apitest.NoKey).Want(t, 201)
			b.ask("POST", in("/v1/rooms/{code}/viewers"), `{}`, apitest.NoKey).Want(t, 404)
		}},
		{"POST /v1/rooms/{code}/messages", func(t *testing.T) {
			token := apitest.Header("Authorization", "Bearer "+lecture.Token)
			b.ask("POST", "/v1/rooms/"+lecture.Code+"/messages", `{"type":"list"}`, token, apitest.Header("Idempotency-Key", "1")).Want(t, 200)
			b.ask("POST", "/v1/rooms/"+lecture.Code+"/messages", `{"type":"list"}`).Want(t, 403)
		}},
		{"GET /v1/rooms/{code}/events", func(t *testing.T) { b.ask("GET", "/v1/rooms/ZZZZ-ZZZZ/events", "", apitest.NoKey).Want(t, 404) }},
		{"GET /v1/api/openapi.json", func(t *testing.T) { b.ask("GET", "/v1/api/openapi.json", "", apitest.NoKey).Want(t, 200) }},
		{"GET /health/live", func(t *testing.T) { b.ask("GET", "/health/live", "", apitest.NoKey).Want(t, 200) }},
		{"GET /health/ready", func(t *testing.T) { b.ask("GET", "/health/ready", "", apitest.NoKey).Want(t, 200) }},
	}
	_, section, _ := strings.Cut(page(t, "PROTOCOL.md"), "\n## HTTP")
	var tested, described []string
	for _, l := range lines {
		if !hasRow(section, l.line) {
			t.Errorf("PROTOCOL.md lacks %s", l.line)
		}
		tested = append(tested, l.line)
		if !t.Run(strings.ReplaceAll(l.line, "/", " "), l.test) {
			return
		}
	}
	for path, item := range b.description.Doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(tested)
	if slices.Sort(described); !slices.Equal(tested, described) {
		t.Errorf("tested are %q, described %q", tested, described)
	}
	for _, s := range shown {
		if strings.Contains(b.answers.String(), s) || strings.Contains(b.logged(), s) {
			t.Errorf("an answer or the log tells the secret %s", s)
		}
	}
}
