package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

const liveRequest = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

// createRequest makes a room; its body looks like a request.
var createRequest = func() string {
	body := `{"name":"GET /health/ready HTTP/1.1 Host: x"}`
	return fmt.Sprintf("POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", apitest.Key, len(body), body)
}()

// answeredWith reads answers until one is no plain one, or there are so many.
func answeredWith(f *fuzzer, most int) (all []int) {
	for len(all) < most {
		response, _ := f.response()
		all = append(all, response.StatusCode)
		if response.Close || response.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	return all
}

// TestConnectionsAreKept has requests follow one another on a connection, and then
// a WebSocket with a message behind its head, cut at every byte: what comes back is
// the same.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--echo", "/echo", "--max-http", "2000")
	stream := liveRequest + "\r\n" + liveRequest +
		"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n12345\n" +
		liveRequest + upgradeRequest("/echo") + string(masked("hello"))
	check := func(f *fuzzer) {
		if got, want := fmt.Sprint(answeredWith(f, 10)), "[200 200 405 200 101]"; got != want {
			f.t.Errorf("answered %s, want %s", got, want)
		}
		f.expect(textFrame("hello"))
	}
	var all sync.WaitGroup
	for cut := range len(stream) {
		f := connectFuzzer(t, b.addr)
		f.write([]byte(stream[:cut]))
		all.Go(func() {
			time.Sleep(5 * time.Millisecond)
			f.write([]byte(stream[cut:]))
			check(f)
			_ = f.conn.Close()
		})
		if cut%50 == 0 {
			all.Wait()
		}
	}
	all.Wait()
	f := connectFuzzer(t, b.addr)
	for _, part := range strings.Split(stream, "") {
		f.write([]byte(part))
	}
	check(f)
	eventually(t, "no place is held", func() bool { return b.metric("lectern_http_connections") == 1 })
}

// TestManyRequestsInOneChunk are answered in order, each with what it asked for.
func TestManyRequestsInOneChunk(t *testing.T) {
	t.Parallel()
	b := startAPI(t)
	const rounds = 100
	f := connectFuzzer(t, b.addr)
	f.write([]byte(strings.Repeat(liveRequest+createRequest, rounds)))
	for i := range 2 * rounds {
		response, body := f.response()
		if want := []int{200, 201}[i%2]; response.StatusCode != want || response.Close || i%2 == 1 && !strings.Contains(body, `"code":201`) {
			t.Fatalf("answer %d: %s %s", i, response.Status, body)
		}
	}
	if n := b.metric("lectern_rooms"); n != rounds {
		t.Errorf("%v rooms were made, want %d", n, rounds)
	}
}

// TestRequestsThatServersReadInDifferentWays come second on a connection. None is
// followed by another: what stands behind it is nobody's request.
func TestRequestsThatServersReadInDifferentWays(t *testing.T) {
	t.Parallel()
	b := startAPI(t, "--echo", "/echo")
	post := func(fields, body string) string {
		return "POST /v1/api/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + apitest.Key + "\r\nContent-Type: application/json\r\n" + fields + "\r\n" + body
	}
	for name, c := range map[string]struct {
		second string
		status int
	}{
		"length and chunks":       {post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 201},
		"chunks":                  {post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 201},
		"two lengths, the same":   {post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), 201},
		"two lengths":             {post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), 400},
		"length with a sign":      {post("Content-Length: +2\r\n", "{}"), 400},
		"length is a list":        {post("Content-Length: 2, 2\r\n", "{}"), 400},
		"unknown encoding":        {post("Transfer-Encoding: xchunked\r\n", "{}"), 501},
		"chunked twice":           {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 501},
		"folded encoding":         {post("Transfer-Encoding:\r\n chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 400},
		"space before the colon":  {post("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 400},
		"bare CR":                 {post("X: y\rTransfer-Encoding: chunked\r\n", "{}"), 400},
		"NUL":                     {post("X: \x00\r\n", "{}"), 400},
		"no Host":                 {"GET /health/live HTTP/1.1\r\n\r\n", 400},
		"upgrade with a body":     {strings.Replace(upgradeRequest("/echo"), "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1), 400},
		"upgrade, no key":         {strings.Replace(upgradeRequest("/echo"), "Sec-WebSocket-Key", "X", 1), 400},
		"upgrade, key twice":      {strings.Replace(upgradeRequest("/echo"), "\r\n\r\n", "\r\nSec-WebSocket-Key: "+handshakeKey+"\r\n\r\n", 1), 400},
		"upgrade of HTTP/1.0":     {strings.Replace(upgradeRequest("/echo"), "HTTP/1.1", "HTTP/1.0", 1), 505},
		"upgrade elsewhere":       {upgradeRequest("/nowhere"), 404},
		"HTTP/2":                  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"TLS":                     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
		"too many blank lines":    {"\r\n\r\n\r\n", 400},
		"head too large":          {"GET /" + strings.Repeat("x", 70_000) + " HTTP/1.1\r\n\r\n", 431},
		"too many fields":         {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n", 400},
		"client wants the end":    {"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
		"HTTP/1.0":                {"GET /health/live HTTP/1.0\r\nHost: x\r\n\r\n", 200},
		"WebSocket's path":        {"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 426},
		"body that is not wanted": {"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n", 405},
	} {
		t.Run(name, func(t *testing.T) {
			f := connectFuzzer(t, b.addr)
			f.write([]byte(liveRequest))
			if got := answeredWith(f, 1); got[0] != 200 {
				t.Fatalf("the first request was answered %d", got[0])
			}
			before := b.metric("lectern_rooms")
			f.write([]byte(c.second + liveRequest + createRequest + createRequest))
			response, body := f.response()
			if response.StatusCode != c.status || !response.Close {
				t.Errorf("answered %s %s, closing %t, want %d", response.Status, body, response.Close, c.status)
			}
			if rest, _ := io.ReadAll(f.in); len(rest) > 0 { // it may be reset
				t.Errorf("more was answered: %.300s", rest)
			}
			most := before
			if c.status == 201 {
				most++
			}
			if n := b.metric("lectern_rooms"); n > most {
				t.Errorf("%v rooms, were %v", n, before)
			}
		})
	}
}

// dialAs opens a connection from an address of the loopback interface.
func dialAs(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// keep opens a connection from an address, has a request answered on it, and keeps
// it.
func keep(t *testing.T, b *binary, from string) *fuzzer {
	t.Helper()
	conn := dialAs(t, from, b.addr)
	f := &fuzzer{t: t, conn: conn, in: bufio.NewReader(conn)}
	f.write([]byte(liveRequest))
	if response, body := f.response(); response.StatusCode != 200 || response.Close {
		t.Fatalf("from %s: %s %s, closing %t", from, response.Status, body, response.Close)
	}
	return f
}

// TestIdleConnectionsMakeRoom keeps many more connections than there may be, from
// one address and from several: newcomers are served, those that were idle for
// longest are closed, and the bound stands.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	const limit = 40
	b := startBinary(t, "--max-http", fmt.Sprint(limit))
	kept := func() float64 { return b.metric("lectern_http_connections") - 1 } // that of the metrics
	var greedy []*fuzzer
	for range 3 * limit {
		greedy = append(greedy, keep(t, b, "127.0.0.2"))
	}
	if n := kept(); n != limit/perAddress {
		t.Errorf("%v connections of one address are kept, its share is %d", n, limit/perAddress)
	}
	greedy[0].expectEnd()
	last := greedy[len(greedy)-1]
	last.write([]byte(liveRequest))
	if got := answeredWith(last, 1); got[0] != 200 {
		t.Errorf("on the latest was answered %d", got[0])
	}
	for i := range 3 * limit {
		keep(t, b, fmt.Sprintf("127.0.0.%d", 3+i%6))
	}
	if n := kept(); n > limit {
		t.Errorf("%v connections are kept, there may be %d", n, limit)
	}
	if n := b.metric(`lectern_http_responses_total{code="503"}`); n != 0 {
		t.Errorf("%v were refused", n)
	}
	// Those that are answered do not make room.
	for i := range limit {
		unreadFrom(t, fmt.Sprintf("127.0.0.%d", 3+i%6), b.addr, openAPIRequest)
	}
	eventually(t, "the busy ones have all places", func() bool {
		return b.metric(`lectern_http_responses_total{code="200"}`) >= 6*limit+1+limit
	})
	conn := dialAs(t, "127.0.0.9", b.addr)
	_, _ = io.WriteString(conn, liveRequest)
	if response, body := responseOn(t, conn); response.StatusCode != 503 {
		t.Errorf("beside busy ones was answered %s %s", response.Status, body)
	}
}

// TestASlowSecondHead holds no place of the bound, and has the limits of a first
// one.
func TestASlowSecondHead(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--max-http", "100", "--handshake-timeout", "2s")
	for i := range 20 {
		f := keep(t, b, fmt.Sprintf("127.0.0.%d", 2+i))
		f.write([]byte(liveRequest[:1+i]))
		defer func() {
			if response, body := f.response(); response.StatusCode != 408 || !response.Close {
				t.Errorf("answered %s %s", response.Status, body)
			}
			f.expectEnd()
		}()
	}
	eventually(t, "they hold no place", func() bool { return b.metric("lectern_http_connections") == 1 })
	if n := b.metric(`lectern_connections{phase="handshake"}`); n != 20 {
		t.Errorf("%v connections are in a handshake", n)
	}
}

// TestAnotherClientsRequest comes over a proxy's connection: it counts for that
// client.
func TestAnotherClientsRequest(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--trusted-proxy", "127.0.0.0/8", "--max-http", "8")
	request := func(client int) []byte {
		return fmt.Appendf(nil, "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n", client)
	}
	f := connectFuzzer(t, b.addr)
	for client := range 20 {
		for range 3 {
			f.write(request(client))
		}
		for range 3 {
			if response, body := f.response(); response.StatusCode != 200 || response.Close {
				t.Fatalf("answered %s %s", response.Status, body)
			}
		}
	}
	// Both places of a client's share are busy: its next request has none, whatever
	// connection it comes on.
	for range 2 {
		unread(t, b.addr, strings.Replace(openAPIRequest, "Host:", "X-Forwarded-For: 192.0.2.99\r\nHost:", 1))
	}
	eventually(t, "its share is used", func() bool { return b.metric(`lectern_http_responses_total{code="200"}`) >= 62 })
	f.write(request(99))
	if response, body := f.response(); response.StatusCode != 503 {
		t.Errorf("answered %s %s", response.Status, body)
	}
}

// TestIdleConnectionsEndWithTheRelay at once.
func TestIdleConnectionsEndWithTheRelay(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	f := keep(t, b, "127.0.0.1")
	began := time.Now()
	b.signal(syscall.SIGTERM)
	f.expectEnd()
	if code := b.wait(10 * time.Second); code != 0 || time.Since(began) > 4*time.Second {
		t.Errorf("ended with %d after %s", code, time.Since(began))
	}
}
