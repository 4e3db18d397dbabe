package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// openAPIRequest is the request with the largest answer that needs no key.
const openAPIRequest = "GET /v1/api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"

// unread sends a request over a connection whose receive buffer is too small for the
// answer.
func unread(t testing.TB, addr, request string) net.Conn {
	t.Helper()
	return unreadFrom(t, "127.0.0.1", addr, request)
}

// unreadFrom is unread from an address of the loopback interface.
func unreadFrom(t testing.TB, from, addr, request string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
	}}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reset(c) })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// responseOn reads one answer.
func responseOn(t testing.TB, c net.Conn) (*http.Response, string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestUnreadAnswersStarveNobody fills a relay that has few descriptors with
// requests whose answers nobody reads.
func TestUnreadAnswersStarveNobody(t *testing.T) {
	t.Parallel()
	const limit = 40
	b := startBinaryUnder(t, []string{"sh", "-c", `ulimit -n 400; exec "$@"`, "sh"}, "--max-http", fmt.Sprint(limit), "--data", t.TempDir())
	began := time.Now()
	for range limit {
		unreadFrom(t, "127.0.0.2", b.addr, openAPIRequest)
	}
	refused := func() float64 { return b.metric(`lectern_http_responses_total{code="503"}`) }
	eventually(t, "one address has its share", func() bool { return refused() == limit-limit/perAddress })
	if response, err := http.Get("http://" + b.addr + "/health/ready"); err != nil || response.StatusCode != 200 {
		t.Errorf("one attacking address, and the relay answers %v, %v", response, err)
	} else {
		response.Body.Close()
	}
	for i := range limit {
		unreadFrom(t, fmt.Sprintf("127.0.0.%d", 3+i%3), b.addr, openAPIRequest)
	}
	// The relay refuses connections beyond the limit at once: it holds no descriptors
	// for them.
	eventually(t, "the others are refused", func() bool {
		return refused() == limit-limit/perAddress+limit/4
	})
	eventually(t, "those refused hold no descriptor", func() bool { return b.descriptors() < limit+60 })
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	response, body := responseOn(t, c)
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.HasPrefix(body, `{"code":503,"message":"`) {
		t.Errorf("one too many was answered %s %s", response.Status, body)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the refused connection is kept: %v", err)
	}
	if took := time.Since(began); took > answerTimeout {
		t.Fatalf("the machine is too slow for this test: %s", took)
	}
	// WebSockets and the admin address go on.
	host, code := openRoom(t, b)
	v := joinRoom(t, b, code)
	say(t, host, `{"type":"command","data":1}`)
	expect(t, v, `{"type":"command","data":1}`)

	// Nobody reads, but the places come free.
	eventually(t, "the answers' time is over", func() bool {
		response, err := http.Get("http://" + b.addr + "/health/live")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == 200
	})
	if took := time.Since(began); took < answerTimeout/2 {
		t.Errorf("the places came free after %s: the attack did not hold them", took)
	}
}

// TestAnHTTPConnectionTakesWhatIsCounted measures connections that wait for their clients
// to read.
func TestAnHTTPConnectionTakesWhatIsCounted(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory of its own")
	}
	t.Parallel()
	const connections = 200
	b := startBinary(t, "--max-http", "1000")
	memory := func() float64 {
		return b.metric("go_memstats_heap_inuse_bytes") + b.metric("go_memstats_stack_inuse_bytes")
	}
	before := memory()
	for range connections {
		unread(t, b.addr, openAPIRequest)
	}
	eventually(t, "all are being answered", func() bool { return b.metric(`lectern_http_responses_total{code="200"}`) >= connections })
	each := (memory() - before) / connections
	t.Logf("%.0f bytes each", each)
	if each > httpConnBytes {
		t.Errorf("a connection takes %.0f bytes, and %d are counted", each, httpConnBytes)
	}
}

// TestHTTPAnswersAreInTheEnvelope provokes what net/http answers by itself.
func TestHTTPAnswersAreInTheEnvelope(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	cases := map[string]struct {
		request string
		status  int
		says    string
	}{
		"no Host":            {"GET /health/live HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		"bad Host":           {"GET /health/live HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed Host header"},
		"bad target":         {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Bad Request"},
		"bad length":         {"POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: z\r\n\r\n", 400, "Bad Request"},
		"two lengths":        {"POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "Bad Request"},
		"unknown encoding":   {"POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "transfer encoding"},
		"unknown Expect":     {"POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: wonders\r\n\r\n", 417, "Expect"},
		"HTTP/2 preface":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"},
		"any path, asterisk": {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 404, "*"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, c.request)
			response, body := responseOn(t, conn)
			if response.StatusCode != c.status || !strings.HasPrefix(body, fmt.Sprintf(`{"code":%d,"message":"`, c.status)) ||
				!strings.Contains(body, c.says) || response.Header.Get("Content-Type") != "application/json; charset=utf-8" || response.Close != (c.status != 404) {
				t.Errorf("answered %s %v %s, want %d with %q", response.Status, response.Header, body, c.status, c.says)
			}
		})
	}
	if got := b.metric(`lectern_http_responses_total{code="400"}`); got != 5 {
		t.Errorf("%v answers of 400 are counted, want 5", got)
	}
}

// TestUpgradeRequiredSaysSo: every 426 names what to upgrade to and, in
// Connection, that header (RFC 9110 7.8); other methods get 405.
func TestUpgradeRequiredSaysSo(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--echo", "/echo")
	for _, path := range []string{"/", "/v1/websocket", "/echo"} {
		for method, status := range map[string]int{"GET": 426, "HEAD": 426, "OPTIONS": 204, "POST": 405, "PUT": 405, "DELETE": 405, "PATCH": 405, "BREW": 405} {
			c, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, method+" "+path+" HTTP/1.2\r\nHost: x\r\n\r\n") // served as 1.1, RFC 9110 2.5
			all, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			connection := "close" // ReadResponse takes it out of the header
			if bytes.Contains(all, []byte("\r\nConnection: close, Upgrade\r\n")) {
				connection = "close, Upgrade"
			}
			if response.StatusCode != status || response.Proto != "HTTP/1.1" || !response.Close {
				t.Errorf("%s %s was answered %s %v", method, path, response.Status, response.Header)
			}
			if upgrade := response.Header.Get("Upgrade") == "websocket" && connection == "close, Upgrade"; upgrade != (status == 426) {
				t.Errorf("%s %s: %d with Upgrade %q and Connection %q", method, path, status, response.Header.Get("Upgrade"), connection)
			}
			if allow := response.Header.Get("Allow") == webSocketMethods; allow != (status == 405 || status == 204) {
				t.Errorf("%s %s: %d with Allow %q", method, path, status, response.Header.Get("Allow"))
			}
		}
	}
}
