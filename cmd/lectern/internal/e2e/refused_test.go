package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

// TestEveryPhaseOfARequestEnds even if the client does nothing more.
func TestEveryPhaseOfARequestEnds(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	const post = "POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + apitest.Key + "\r\n"
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
