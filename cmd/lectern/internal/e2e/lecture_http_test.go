package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An httpClient is a host or a viewer that uses no WebSocket.
type httpClient struct {
	t      testing.TB
	base   string
	client *http.Client
	code   string
	token  string
	last   string // id of the last event
	number int    // of the last message, for a host

	patient bool // posts again what the relay has no place for, or whose connection was closed before
}

// asJSON is an answer's envelope.
type asJSON struct {
	Code    int
	Error   string
	Message string
	Data    struct {
		Code, Token, Epoch, Ticket, Type string
		ID, Seq, Sent                    int
		Recovered, Resumed               bool
		Answers                          []json.RawMessage
	}
}

func newHTTPClient(t testing.TB, b *binary) *httpClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &httpClient{t: t, base: strings.Replace(b.url(""), "ws", "http", 1), client: &http.Client{Transport: transport}}
}

// post sends a POST. It repeats a host's message whose answer does not come.
func (c *httpClient) post(path, body string, numbered bool) (a asJSON, status int) {
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if numbered && attempt == 0 && rand.N(4) == 0 { // the answer is lost
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), rand.N(3*time.Millisecond))
		}
		status, err := c.tryPost(ctx, path, body, numbered, &a)
		cancel()
		busy := err == nil && status == 503 && c.patient // more connections at once than one address may have
		if err == nil && !busy {
			return a, status
		}
		if !numbered && !c.patient || attempt > 100 {
			c.t.Errorf("POST %s: %v", path, err)
			return a, 0
		}
		time.Sleep(10*time.Millisecond + rand.N(20*time.Millisecond))
	}
}

func (c *httpClient) tryPost(ctx context.Context, path, body string, numbered bool, a *asJSON) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if numbered {
		r.Header.Set("Idempotency-Key", strconv.Itoa(c.number))
	}
	response, err := c.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(text, a); err != nil {
		return 0, fmt.Errorf("%s: %w", text, err)
	}
	return response.StatusCode, nil
}

// hosts creates a room.
func (c *httpClient) hosts(body string) {
	a, status := c.post("/v1/hosts", body, false)
	if status != 201 {
		c.t.Fatalf("POST /v1/hosts was answered %d %+v", status, a)
	}
	c.code, c.token, c.number = a.Data.Code, a.Data.Token, 0
}

// joins joins a room, and returns a ticket.
func (c *httpClient) joins(code, body string) (ticket string) {
	a, status := c.post("/v1/rooms/"+code+"/viewers", body, false)
	if status != 201 {
		c.t.Fatalf("POST viewers was answered %d %+v", status, a)
	}
	c.code, c.token, c.last = a.Data.Code, a.Data.Token, fmt.Sprintf("%s-%d", a.Data.Epoch, a.Data.Seq)
	return a.Data.Ticket
}

// says sends a message, with the next number.
func (c *httpClient) says(body string) asJSON {
	c.number++
	a, status := c.post("/v1/rooms/"+c.code+"/messages", body, true)
	if status != 200 {
		c.t.Errorf("%s was answered %d %+v", body, status, a)
	}
	return a
}

// A heardEvent is an event of a stream.
type heardEvent struct{ id, kind, data string }

// poll polls once. The events count only if all of them have come.
func (c *httpClient) poll(ctx context.Context) (events []heardEvent, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/rooms/"+c.code+"/events?wait=20s", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if c.last != "" {
		r.Header.Set("Last-Event-ID", c.last)
	}
	response, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != 200 {
		return nil, fmt.Errorf("polled %d %s", response.StatusCode, text)
	}
	for e := range eventsOf(bufio.NewScanner(strings.NewReader(string(text)))) {
		events = append(events, e)
		if e.id != "" {
			c.last = e.id
		}
	}
	return events, nil
}

// eventsOf reads an event stream.
func eventsOf(lines *bufio.Scanner) func(yield func(heardEvent) bool) {
	lines.Buffer(nil, 4<<20)
	return func(yield func(heardEvent) bool) {
		var e heardEvent
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.data != "" && !yield(e) {
					return
				}
				e = heardEvent{}
			}
		}
	}
}

// TestALectureOverHTTPOnly holds a lecture without a WebSocket, with answers and responses
// that are lost.
func TestALectureOverHTTPOnly(t *testing.T) {
	for name, flags := range map[string][]string{"http": nil, "https": secure} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const said = 200
			b := startBinary(t, append(slices.Clone(flags), "--poll-grace=5s")...)
			host := newHTTPClient(t, b)
			host.hosts(`{"type":"create"}`)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var viewers sync.WaitGroup
			follow := func(heard func(e heardEvent)) func(e heardEvent) bool {
				n := 0
				return func(e heardEvent) bool {
					heard(e)
					if e.kind == "command" {
						if n++; e.data != fmt.Sprintf(`{"type":"command","data":%d}`, n) {
							t.Errorf("broadcast %d is %s", n, e.data)
							return false
						}
					}
					return n < said
				}
			}
			for range 8 { // by polling
				v := newHTTPClient(t, b)
				v.joins(host.code, `{"name":"polls"}`)
				viewers.Go(func() {
					goesOn := follow(func(e heardEvent) {
						if e.kind != "command" && e.kind != "viewers" && e.kind != "joined" {
							t.Errorf("polled %+v", e)
						}
					})
					for more := true; more && ctx.Err() == nil; {
						cut, stop := context.WithTimeout(ctx, time.Minute)
						if rand.N(3) == 0 {
							stop()
							cut, stop = context.WithTimeout(ctx, rand.N(20*time.Millisecond))
						}
						events, err := v.poll(cut)
						stop()
						if err != nil && !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("a poll failed: %v", err)
							return
						}
						for _, e := range events {
							more = more && goesOn(e)
						}
					}
				})
			}
			for range 4 { // by an event stream, with a ticket
				v := newHTTPClient(t, b)
				ticket := v.joins(host.code, `{"name":"streams"}`)
				response, err := v.client.Get(v.base + "/v1/rooms/" + v.code + "/events?ticket=" + ticket)
				if err != nil || response.StatusCode != 200 {
					t.Fatalf("%+v, %v", response, err)
				}
				t.Cleanup(func() { _ = response.Body.Close() })
				viewers.Go(func() {
					goesOn := follow(func(heardEvent) {})
					for e := range eventsOf(bufio.NewScanner(response.Body)) {
						if !goesOn(e) {
							return
						}
					}
					t.Error("a stream has ended")
				})
			}
			for n := 1; n <= said; n++ {
				if a := host.says(fmt.Sprintf(`{"type":"command","data":%d}`, n)); a.Data.Seq != n {
					t.Errorf("broadcast %d has the number %d", n, a.Data.Seq)
				}
			}
			viewers.Wait()
			if n := b.metric("lectern_broadcasts_total"); n != said {
				t.Errorf("%v broadcasts", n)
			}
			if a, status := host.post("/v1/rooms/"+host.code+"/messages", `{"type":"close"}`, false); status != 200 || len(a.Data.Answers) != 1 {
				t.Errorf("close was answered %d %+v", status, a)
			}
			eventually(t, "all standing sessions have ended", func() bool { return b.metric("lectern_standing_sessions") == 0 })
		})
	}
}

// TestALectureOverHTTPSurvivesARestart has host and viewers come back by their tokens.
func TestALectureOverHTTPSurvivesARestart(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	b := startBinary(t, "--data", data)
	host, viewer := newHTTPClient(t, b), newHTTPClient(t, b)
	host.hosts(`{"type":"create"}`)
	viewer.joins(host.code, `{}`)
	host.says(`{"type":"command","data":1}`)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := viewer.poll(ctx); err != nil {
		t.Fatal(err)
	}
	last := viewer.last
	polled := make(chan []heardEvent, 1)
	go func() {
		for {
			events, err := viewer.poll(ctx)
			if err != nil {
				t.Error(err)
			}
			if err != nil || len(events) > 0 && events[len(events)-1].kind == "closed" {
				polled <- events
				return
			}
		}
	}()
	eventually(t, "the viewer polls", func() bool { return b.metric(`lectern_connections{phase="polling"}`) == 1 })
	b.signal(syscall.SIGTERM)
	if events := <-polled; len(events) == 0 || !strings.Contains(events[len(events)-1].data, `"reason":"shutdown","retry_ms":`) {
		t.Errorf("the viewer polled %+v", events)
	}
	if code := b.wait(20 * time.Second); code != 0 {
		t.Errorf("the relay ended with %d", code)
	}
	b = startBinary(t, "--data", data)
	for _, c := range []*httpClient{host, viewer} {
		c.base = "http://" + b.addr
	}
	host.hosts(fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, host.code, host.token))
	host.says(`{"type":"command","data":2}`)
	viewer.last = last
	events, err := viewer.poll(ctx)
	if err != nil || len(events) < 2 || !strings.Contains(events[0].data, `"recovered":true`) || events[1].data != `{"type":"command","data":2}` {
		t.Errorf("the viewer came back to %+v, %v", events, err)
	}
}

// TestShownLectureByCurl runs the host and the viewer that the page for writers of clients
// shows.
func TestShownLectureByCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		Missing(t, "curl")
	}
	t.Parallel()
	b := startBinary(t)
	run := func(mark, code string) *exampleProgram {
		text := strings.ReplaceAll(strings.ReplaceAll(example(t, mark), "localhost:8765", b.addr), "K7QM-2XHD", code)
		return startExample(t, exec.Command("sh", "-c", text))
	}
	host := run("sh host", "")
	code, ok := strings.CutPrefix(host.line(t), "The code is ")
	if !ok {
		t.Fatal("the host shows no code")
	}
	viewer := run("sh viewer", code)
	eventually(t, "the viewer is in", func() bool { return b.metric("lectern_viewers") == 1 })
	for n := range 20 {
		if _, err := fmt.Fprintf(host.input, "line %d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.input.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range viewer.lines {
		if strings.HasPrefix(line, `{"type":"command"`) {
			if line != fmt.Sprintf(`{"type":"command","data":"line %d"}`, n) {
				t.Errorf("line %d is %s", n, line)
			}
			n++
		}
	}
	if n != 20 {
		t.Errorf("%d lines came", n)
	}
}

// TestAStreamByCurl reads a stream with a ticket, and polls twice on one connection.
func TestAStreamByCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		Missing(t, "curl")
	}
	t.Parallel()
	b := startBinary(t)
	host, viewer := newHTTPClient(t, b), newHTTPClient(t, b)
	host.hosts(`{"type":"create"}`)
	ticket := viewer.joins(host.code, `{}`)
	epoch, _, _ := strings.Cut(viewer.last, "-")
	host.says(`{"type":"command","data":1}`)
	host.says(`{"type":"command","data":2}`)
	room := viewer.base + "/v1/rooms/" + host.code
	poll := func(last string) []string {
		return []string{"-sS", "-v", "--max-time", "20", "-H", "Authorization: Bearer " + viewer.token, "-H", "Last-Event-ID: " + epoch + last, room + "/events?wait=10s"}
	}
	out, err := exec.Command("curl", slices.Concat(poll("-0"), []string{"--next"}, poll("-1"))...).CombinedOutput()
	if err != nil || strings.Count(string(out), `data: {"type":"command","data":2}`) != 2 || strings.Count(string(out), `data: {"type":"command","data":1}`) != 1 {
		t.Errorf("two polls had %s, %v", out, err)
	}
	if n := strings.Count(string(out), "* Connected to"); n > 1 {
		t.Errorf("two polls took %d connections", n)
	}
	out, _ = exec.Command("curl", "-sSN", "--max-time", "1", room+"/events?ticket="+ticket).Output() // never ends
	if !strings.Contains(string(out), "event: joined") || !strings.Contains(string(out), `data: {"type":"command","data":2}`) {
		t.Errorf("the stream was %q", out)
	}
}

// TestASchoolThatPolls has a school behind one address poll, say something and come back.
func TestASchoolThatPolls(t *testing.T) {
	t.Parallel()
	const pupils = 800
	b := startBinary(t)
	host := newHTTPClient(t, b)
	host.patient = true
	host.hosts(`{"type":"create"}`)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	all := make([]*httpClient, pupils)
	var school sync.WaitGroup
	for i := range all {
		all[i] = newHTTPClient(t, b)
		all[i].patient = true
		school.Go(func() { all[i].joins(host.code, `{}`) })
	}
	school.Wait()
	heard := make([]int, pupils)
	for i, v := range all {
		school.Go(func() {
			for heard[i] < 20 && ctx.Err() == nil {
				events, err := v.poll(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					if e.kind == "command" {
						heard[i]++
					}
				}
			}
		})
	}
	eventually(t, "all of them poll", func() bool { return b.metric(`lectern_connections{phase="polling"}`) > pupils*9/10 })
	var speaking sync.WaitGroup
	for i := range all {
		speaking.Go(func() {
			v := &httpClient{t: t, base: all[i].base, client: all[i].client, code: all[i].code, token: all[i].token, patient: true}
			if a, status := v.post("/v1/rooms/"+v.code+"/messages", `{"type":"ping"}`, false); status != 200 || len(a.Data.Answers) != 1 {
				t.Errorf("a ping was answered %d %+v", status, a)
			}
		})
	}
	for n := range 20 {
		host.says(fmt.Sprintf(`{"type":"command","data":%d}`, n))
	}
	speaking.Wait()
	school.Wait()
	if n := b.metric("lectern_standing_sessions"); n != pupils+1 {
		t.Errorf("%v standing sessions", n)
	}
	eventually(t, "nothing is held but what the host has not polled", func() bool { return b.metric(`lectern_memory_bytes{kind="answers"}`) < 100_000 })
}
