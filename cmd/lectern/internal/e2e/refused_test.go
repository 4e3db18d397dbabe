package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"lectern/hub"
)

// TestRefusedRequestsAreCounted by cause.
func TestRefusedRequestsAreCounted(t *testing.T) {
	const guesses = 20
	s := newAPIServer(t, hub.Config{})
	for range guesses {
		s.do(http.MethodGet, "/v1/api/rooms", "", wrongKey).want(t, 401)
	}
	s.do(http.MethodGet, "/v1/api/rooms", "", wrongKey).want(t, 429)
	s.do(http.MethodGet, "/v1/api/rooms", "", noKey).want(t, 401) // no guess
	s.do(http.MethodGet, "/v1/api/rooms", "", header("Origin", "https://evil.example")).want(t, 403)
	provoke(s, 503, http.MethodGet, "/v1/api/rooms", "").want(t, 503)

	r := &relay{hub: s.hub}
	r.current.Store(&settings{options: new(options)})
	admin := r.knownHosts(http.NotFoundHandler())
	admin.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://evil.example/metrics", nil))

	got := s.hub.Refusals()
	for cause, n := range map[string]uint64{"wrong_api_key": guesses, "too_many_keys": 1, "origin": 1, "http_busy": 1, "misdirected": 1} {
		if got[cause] != n {
			t.Errorf("%d refusals for %s are counted, want %d", got[cause], cause, n)
		}
	}
	causes := []string{errHTTPFull.Cause, errHTTPMany.Cause}
	for _, cause := range refusalCauses {
		causes = append(causes, cause)
	}
	for _, cause := range causes {
		if !slices.Contains(hub.Causes(), cause) {
			t.Errorf("the cause %s is not counted from the start", cause)
		}
	}
	for _, report := range s.hub.TakeRefusals() {
		if len(report.From) != 1 || report.From[0].String() != "192.0.2.1" {
			t.Errorf("%s came from %v", report.Cause, report.From)
		}
	}
}

// TestEveryPhaseOfARequestEnds although the client does nothing more.
func TestEveryPhaseOfARequestEnds(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	const post = "POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + testKey + "\r\n"
	phases := map[string]struct {
		request string
		status  int // 0 for an answer that is not read
	}{
		"body that does not come": {post + "Content-Length: 10\r\n\r\n", 408},
		"body that stops":         {post + "Content-Length: 10\r\n\r\n{", 408},
		"chunk that does not end": {post + "Transfer-Encoding: chunked\r\n\r\nff\r\n{", 408},
		"refused, and no body":    {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", 404},
		"refused, endless body":   {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", 404},
		"answer that is not read": {openAPIRequest, 0},
	}
	began := time.Now()
	conns := make(map[string]net.Conn)
	for name, phase := range phases {
		conns[name] = unread(t, b.addr, phase.request)
	}
	trickler := unread(t, b.addr, openAPIRequest)
	go func() { // reads so slowly that the answer would take minutes
		for one := make([]byte, 1); ; time.Sleep(100 * time.Millisecond) {
			if _, err := trickler.Read(one); err != nil {
				return
			}
		}
	}()
	for name, phase := range phases {
		if phase.status == 0 {
			continue
		}
		_ = conns[name].SetReadDeadline(time.Now().Add(2 * requestTimeout))
		response, err := http.ReadResponse(bufio.NewReader(conns[name]), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if response.StatusCode != phase.status {
			t.Errorf("%s: answered %s, want %d", name, response.Status, phase.status)
		}
	}
	eventually(t, "all of them are gone", func() bool { return b.metric("lectern_http_connections") == 1 }) // that of the metrics
	if took := time.Since(began); took > requestTimeout+answerTimeout+20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestABlankLineBeforeARequest over real sockets, for both kinds of requests.
func TestABlankLineBeforeARequest(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	for request, want := range map[string]string{
		"\r\n" + upgradeRequest("/"):                            "HTTP/1.1 101 ",
		"\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n":  "HTTP/1.1 200 ",
		"\r\n\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n":  "HTTP/1.1 400 ",
		"\r\n\r\n GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n": "HTTP/1.1 400 ",
	} {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if !strings.HasPrefix(line, want) {
			t.Errorf("%s, want %s", fmt.Sprintf("%q was answered %q, %v", request, line, err), want)
		}
		c.Close()
	}
}
