package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

// A worker runs tasks in a goroutine.
type worker struct{ tasks chan func() bool }

func newWorker(t testing.TB) *worker {
	w := &worker{make(chan func() bool, 1024)}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case task := <-w.tasks:
				for task() {
				}
			case <-done:
				return
			}
		}
	}()
	return w
}

func (w *worker) Post(task func() bool)       { w.tasks <- task }
func (w *worker) PostAgain(task func() bool)  { go w.Post(task) }
func (w *worker) PostBehind(task func() bool) { go w.Post(task) }
func (w *worker) Spent() bool                 { return false }
func (w *worker) Now() uint32                 { return 1 << 31 }

// As sends the token of a host or a viewer.
func as(token string) apitest.Change { return apitest.Header("Authorization", "Bearer "+token) }

// number sends a message's number.
func number(n int) apitest.Change { return apitest.Header("Idempotency-Key", strconv.Itoa(n)) }

// An entry is what a client that has joined is told.
type entry struct {
	Type, Code, Token, Epoch, Ticket string
	ID, Seq                          int
	Number                           *int
	Recovered                        bool
}

func (s *apiServer) enter(path, body string) (e entry) {
	s.t.Helper()
	s.do(http.MethodPost, path, body, apitest.NoKey).Want(s.t, 201).Into(s.t, &e)
	return e
}

// say sends a message and returns the answers.
func (s *apiServer) say(e entry, body string, changes ...apitest.Change) (answers []string, seq int) {
	s.t.Helper()
	var told struct {
		Answers []json.RawMessage
		Seq     int
	}
	s.do(http.MethodPost, "/v1/rooms/"+e.Code+"/messages", body, append(changes, as(e.Token))...).Want(s.t, 200).Into(s.t, &told)
	for _, text := range told.Answers {
		answers = append(answers, string(text))
	}
	return answers, told.Seq
}

func TestALectureByPost(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	s.key = "" // the API is off
	host := s.enter("/v1/hosts", `{"type":"create","roster":true}`)
	viewer := s.enter("/v1/rooms/"+host.Code+"/viewers", `{"name":"Ada"}`)
	if host.Type != "created" || *host.Number != 0 || viewer.Type != "joined" || viewer.ID != 1 || len(viewer.Ticket) != 32 {
		t.Fatalf("host %+v, viewer %+v", host, viewer)
	}
	if answers, seq := s.say(host, `{"type":"command","data":1}`, number(1)); len(answers) != 0 || seq != 1 {
		t.Errorf("a broadcast was answered %q, %d", answers, seq)
	}
	if answers, seq := s.say(host, `{"type":"command","data":1}`, number(1)); len(answers) != 0 || seq != 1 {
		t.Errorf("a broadcast that came again was answered %q, %d", answers, seq)
	}
	if answers, seq := s.say(host, `{"type":"ping","data":"é"}`, number(2)); len(answers) != 1 || answers[0] != `{"type":"pong","data":"é"}` || seq != 0 {
		t.Errorf("a ping was answered %q", answers)
	}
	if answers, _ := s.say(viewer, `{"type":"list"}`); len(answers) != 1 || answers[0] != `{"type":"list","viewers":[{"id":1,"name":"Ada"}],"total":1}` {
		t.Errorf("list was answered %q", answers)
	}
	back := s.enter("/v1/rooms/"+host.Code+"/viewers", fmt.Sprintf(`{"token":"%s","epoch":"%s","seq":0}`, viewer.Token, viewer.Epoch))
	if !back.Recovered || back.ID != 1 {
		t.Errorf("the viewer came back as %+v", back)
	}
	large := `{"type":"ping","data":"` + strings.Repeat("x", 200_000) + `"}` // is checked in a goroutine
	if answers, _ := s.say(host, large); len(answers) != 1 || len(answers[0]) != len(large) {
		t.Errorf("a large ping had %d answers", len(answers))
	}
	if answers, seq := s.say(host, strings.Replace(large, "ping", "command", 1), number(3)); len(answers) != 0 || seq != 2 {
		t.Errorf("a large broadcast was answered %q, %d", answers, seq)
	}
	again := s.enter("/v1/hosts", fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, host.Code, host.Token))
	if again.Seq != 2 {
		t.Errorf("the host resumed as %+v", again)
	}
	if answers, _ := s.say(host, `{"type":"close"}`, number(1)); len(answers) != 1 || answers[0] != `{"type":"closed","reason":"host_closed"}` {
		t.Errorf("close was answered %q", answers)
	}
}

func TestWhatIsWrongWithAPost(t *testing.T) {
	s := newAPIServer(t, hub.Config{CreateKey: "a key to create rooms"})
	post := func(path, body string, status int, name string, changes ...apitest.Change) {
		t.Helper()
		a := s.do(http.MethodPost, path, body, append([]apitest.Change{apitest.NoKey}, changes...)...).Want(t, status)
		var told struct{ Error string }
		if err := json.Unmarshal(a.Text, &told); err != nil || told.Error != name {
			t.Errorf("POST %s %s was answered %s, want the error %s", path, body, a.Text, name)
		}
	}
	host := s.enter("/v1/hosts", `{"type":"create","secret":"mitosis","key":"a key to create rooms"}`)
	viewers, messages := "/v1/rooms/"+host.Code+"/viewers", "/v1/rooms/"+host.Code+"/messages"
	viewer := s.enter(viewers, `{"secret":"mitosis"}`)
	post("/v1/hosts", `{"type":"create"}`, 403, "create_forbidden")
	post("/v1/hosts", `{"type":"join"}`, 400, "bad_message")
	post("/v1/hosts", `{`, 400, "bad_json")
	post("/v1/hosts", `{"type":"resume","code":"`+host.Code+`","token":"x"}`, 403, "bad_token")
	post(viewers, `{}`, 403, "secret_required")
	post(viewers, `[]`, 400, "bad_message")
	post(viewers, `{"secret":"x"}`, 403, "wrong_secret")
	post(viewers, `{"type":"create"}`, 400, "bad_message")
	post(viewers, `{"token":"x"}`, 403, "bad_token")
	post("/v1/rooms/K7QM-2XHD/viewers", `{}`, 404, "room_not_found")
	post("/v1/rooms/x/viewers", `{}`, 404, "room_not_found")
	post(messages, `{"type":"ping"}`, 401, "bad_token")
	post(messages, `{"type":"ping"}`, 403, "bad_token", as("x"))
	post(messages, `{"type":"ping"}`, 403, "bad_token", as(strings.Repeat("0", 32)))
	post("/v1/rooms/K7QM-2XHD/messages", `{"type":"ping"}`, 404, "room_not_found", as(viewer.Token))
	post(messages, `{"type":"dance"}`, 400, "unknown_type", as(viewer.Token))
	post(messages, `{"type":"command","data":1}`, 403, "not_host", as(viewer.Token))
	post(messages, `{"type":"create"}`, 409, "already_in_room", as(viewer.Token))
	post(messages, `{"type":"kick","id":7}`, 404, "no_such_viewer", as(host.Token))
	post(messages, "{\"type\":\"ping\",\"data\":\"\xff\"}", 400, "bad_message", as(host.Token))
	post(messages, `{"type":"ping","data":"`+strings.Repeat("x", 16<<10)+`"}`, 413, "too_large", as(viewer.Token))
	post(messages, `{"type":"ping"}`, 403, "not_host", as(viewer.Token), number(1))
	post(messages, `{"type":"ping"}`, 400, "bad_message", as(host.Token), apitest.Header("Idempotency-Key", "one"))
	post(messages, `{"type":"ping"}`, 400, "bad_message", as(host.Token), number(0))
	post(messages, `{"type":"ping"}`, 409, "unexpected_number", as(host.Token), number(2))
	post(messages+"?token="+host.Token, `{"type":"ping"}`, 400, "bad_message")
	post(messages, `{"type":"ping"}`, 415, "bad_message", as(host.Token), apitest.Header("Content-Type", "text/plain"))
	post(viewers, `{}`, 403, "origin_not_allowed", apitest.Header("Origin", "https://elsewhere.example"))
	s.say(viewer, `{"type":"leave"}`)
	post(messages, `{"type":"ping"}`, 409, "not_in_room", as(viewer.Token))
	post(viewers, `{"token":"`+viewer.Token+`"}`, 201, "")
	s.do(http.MethodDelete, "/v1/api/rooms/"+host.Code, "").Want(t, 200)
	post(messages, `{"type":"ping"}`, 404, "room_not_found", as(host.Token))
}

// TestMessagesAtTheSameTimeHaveOneEffect sends each of a host's messages many times at once.
func TestMessagesAtTheSameTimeHaveOneEffect(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	host := s.enter("/v1/hosts", `{"type":"create"}`)
	for n := 1; n <= 20; n++ {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, seq := s.say(host, fmt.Sprintf(`{"type":"command","data":%d}`, n), number(n)); seq != n {
					t.Errorf("message %d was broadcast %d", n, seq)
				}
			})
			all.Go(func() { // from far off
				s.do(http.MethodPost, "/v1/rooms/"+host.Code+"/messages", `{"type":"command","data":0}`, as(host.Token), number(n+50)).Want(t, 409)
			})
		}
		all.Wait()
	}
	info, _ := s.hub.Room(host.Code)
	if info.Seq != 20 {
		t.Errorf("%d broadcasts", info.Seq)
	}
}

// TestASlowWorkerHoldsNobody posts to a worker that does nothing.
func TestASlowWorkerHoldsNobody(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	host := s.enter("/v1/hosts", `{"type":"create"}`)
	release := make(chan struct{})
	for _, w := range s.workers {
		w.Post(func() bool { <-release; return false })
	}
	const posts = 300
	var all sync.WaitGroup
	statuses := make(chan int, posts)
	for range posts {
		all.Go(func() {
			r := s.request(http.MethodPost, "/v1/rooms/"+host.Code+"/messages", `{"type":"ping"}`, as(host.Token))
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			statuses <- w.Result().StatusCode
		})
	}
	began := time.Now()
	go func() { all.Wait(); close(statuses) }()
	for status := range statuses {
		if status != http.StatusServiceUnavailable {
			t.Errorf("a POST was answered %d", status)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("they took %v", took)
	}
	close(release)
	if n := len(s.api.posts); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// TestTheManyWhoPostAreBounded has all places taken.
func TestTheManyWhoPostAreBounded(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	for range cap(s.api.posts) {
		s.api.posts <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a client that gives up need not wait
	s.do(http.MethodPost, "/v1/hosts", `{"type":"create"}`, func(r *http.Request) { *r = *r.WithContext(ctx) }).Want(t, 503)
	s.do(http.MethodGet, "/v1/api/rooms", "").Want(t, 200) // the API has places of its own
}

// TestPathsOfEvents asks for a room's events in other ways than by GET, which the reactor
// serves.
func TestPathsOfEvents(t *testing.T) {
	s := newAPIServer(t, hub.Config{AllowOrigins: []string{"https://school.example"}})
	a := s.do(http.MethodOptions, "/v1/rooms/K7QM-2XHD/events", "", apitest.NoKey, apitest.Header("Origin", "https://school.example")).Want(t, 204)
	if methods, headers := a.Header.Get("Access-Control-Allow-Methods"), a.Header.Get("Access-Control-Allow-Headers"); methods != "GET, OPTIONS" || !strings.Contains(headers, "Last-Event-ID") {
		t.Errorf("a page may send %q with %q", methods, headers)
	}
	s.do(http.MethodPost, "/v1/rooms/K7QM-2XHD/events", `{}`, apitest.NoKey).Want(t, 405)
}

// provokeLecture sends a request of a lecture so that its answer has the status. target
// is its path, of a room with a host and a viewer.
func provokeLecture(s *apiServer, status int, target, body string) apitest.Reply {
	host := s.enter("/v1/hosts", `{"type":"create","secret":"x"}`)
	viewer := s.enter("/v1/rooms/"+host.Code+"/viewers", `{"secret":"x"}`)
	target = strings.ReplaceAll(target, "{code}", host.Code)
	changes := []apitest.Change{as(host.Token)}
	switch status {
	case 400:
		changes = append(changes, apitest.Header("Origin", "http://example.com", "http://example.com"))
	case 401:
		changes = []apitest.Change{apitest.NoKey}
	case 403:
		changes = append(changes, apitest.Header("Origin", "http://elsewhere.example"))
	case 404:
		target = strings.ReplaceAll(target, host.Code, "K7QM-2XHD")
		if strings.HasSuffix(target, "/hosts") {
			body = `{"type":"resume","code":"K7QM-2XHD","token":"x"}`
		}
	case 408:
		changes = append(changes, func(r *http.Request) { r.Body = io.NopCloser(slowBody{}) })
	case 409:
		changes = append(changes, number(7))
	case 413:
		changes = append(changes, func(r *http.Request) { r.ContentLength = 1 << 40 })
	case 415:
		changes = append(changes, apitest.Header("Content-Type", "text/plain"))
	case 422:
		changes = append(changes, number(1))
		s.do(http.MethodPost, target, `{"type":"ping","data":"another"}`, changes...).Want(s.t, 200)
	case 429:
		if strings.HasSuffix(target, "/messages") {
			changes = []apitest.Change{as(viewer.Token)}
			for range 10 {
				s.do(http.MethodPost, target, body, changes...)
			}
			break
		}
		s.hub.Configure(hub.Config{HexCodes: true})
		for n := range 40 {
			s.do(http.MethodPost, fmt.Sprintf("/v1/rooms/0000%02d/viewers", n), `{}`)
		}
		target = strings.ReplaceAll(target, host.Code, "000099")
		body = `{"type":"resume","code":"000099","token":"x"}`
		if strings.HasSuffix(target, "/viewers") {
			body = `{"secret":"x"}`
		}
	case 503:
		s.hub.Drain()
	}
	return s.do(http.MethodPost, target, body, changes...)
}
