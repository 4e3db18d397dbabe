package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// changed returns a good opening handshake at / with a part replaced.
func changed(t testing.TB, old, replacement string) string {
	t.Helper()
	head := upgradeRequest("/")
	if strings.Count(head, old) != 1 {
		t.Fatalf("%q is not in the request once", old)
	}
	return strings.Replace(head, old, replacement, 1)
}

// unterminated returns a head without an end that is larger than the relay takes.
func unterminated(line string) string {
	return "GET / HTTP/1.1\r\n" + strings.Repeat(line, 9000/len(line)+1)
}

func TestBadHandshakesAreRefused(t *testing.T) {
	const (
		keyLine     = "Sec-WebSocket-Key: " + handshakeKey + "\r\n"
		versionLine = "Sec-WebSocket-Version: 13\r\n"
		hostLine    = "Host: localhost\r\n"
	)
	add := func(line string) string { return changed(t, hostLine, hostLine+line) }
	// The relay must not wait for the missing end of a head.
	cases := map[string]struct {
		request string
		status  int
		message string            // part of what it says
		headers map[string]string // must be there
	}{
		"no key":          {changed(t, keyLine, ""), 400, "Sec-WebSocket-Key is missing", nil},
		"empty key":       {changed(t, handshakeKey, ""), 400, "Sec-WebSocket-Key is not", nil},
		"key of 15 bytes": {changed(t, handshakeKey, "AAAAAAAAAAAAAAAAAAAA"), 400, "Sec-WebSocket-Key is not", nil},
		"key of 17 bytes": {changed(t, handshakeKey, "AAAAAAAAAAAAAAAAAAAAAAA="), 400, "Sec-WebSocket-Key is not", nil},
		"key not base64":  {changed(t, handshakeKey, "dGhlIHNhbXBsZSBub25j!!=="), 400, "Sec-WebSocket-Key is not", nil},
		"two keys":        {changed(t, keyLine, keyLine+keyLine), 400, "more than once", nil},

		"version 8":    {changed(t, "Version: 13", "Version: 8"), 426, "must be 13", map[string]string{"Sec-Websocket-Version": "13", "Upgrade": "websocket"}},
		"no version":   {changed(t, versionLine, ""), 426, "is missing", map[string]string{"Sec-Websocket-Version": "13"}},
		"two versions": {changed(t, versionLine, versionLine+versionLine), 400, "more than once", nil},

		"HTTP/1.0":      {changed(t, "HTTP/1.1", "HTTP/1.0"), 505, "HTTP/1.1", nil},
		"HTTP/2":        {"PRI * HTTP/2.0\r\n", 505, "HTTP/1.1", nil},
		"POST":          {changed(t, "GET", "POST"), 405, "GET", map[string]string{"Allow": "GET"}},
		"a body":        {add("Content-Length: 5\r\n") + "hello", 400, "body", nil},
		"chunked body":  {add("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", 400, "body", nil},
		"no Connection": {changed(t, "Connection: Upgrade\r\n", ""), 400, "Connection", nil},
		"no Host":       {changed(t, hostLine, ""), 400, "Host is missing", nil},
		"two Hosts":     {add(hostLine), 400, "Host is given more than once", nil},
		"unknown path":  {changed(t, "GET / ", "GET /nowhere "), 404, "/nowhere", nil},
		"no path":       {changed(t, "GET / ", "GET * "), 400, "not a path", nil},

		"101 header lines":          {"GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 101), 400, "more than 100 header lines", nil},
		"space before the colon":    {"GET / HTTP/1.1\r\nHost : x\r\n", 400, "space before the colon", nil},
		"folded line":               {"GET / HTTP/1.1\r\nHost: x\r\n y\r\n", 400, "folded", nil},
		"no colon":                  {"GET / HTTP/1.1\r\nHost\r\n", 400, "no colon", nil},
		"no name":                   {"GET / HTTP/1.1\r\n: x\r\n", 400, "no name", nil},
		"name that is not a token":  {"GET / HTTP/1.1\r\nHo(st: x\r\n", 400, "bad header name", nil},
		"NUL in a value":            {"GET / HTTP/1.1\r\nHost: \x00\r\n", 400, "control character", nil},
		"bare CR":                   {"GET / HTTP/1.1\r\nHost: x\rOrigin: y\r\n", 400, "control character", nil},
		"no version of HTTP at all": {"GET /\r\n", 400, "not an HTTP request line", nil},

		"endless line":         {unterminated("x"), 431, "larger than 8192 bytes", nil},
		"endless lines":        {unterminated("X-Filler: " + strings.Repeat("x", 200) + "\r\n"), 431, "larger than 8192 bytes", nil},
		"endless request line": {"GET /" + strings.Repeat("x", 9000), 431, "larger than 8192 bytes", nil},

		"TLS hello": {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not TLS", nil},
		"garbage":   {"\x00\xff\xfe\xfd", 400, "not an HTTP request", nil},
		"frame":     {"\x81\x85\x01\x02\x03\x04ignor", 400, "not an HTTP request", nil},
		"SSH":       {"SSH-2.0-OpenSSH_9.9\r\n", 400, "not an HTTP request", nil},
	}
	b := startBinary(t, "--handshake-timeout", "1m", "--close-timeout", "1m")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := connectFuzzer(t, b.addr)
			f.write([]byte(c.request))
			response, body := f.response()
			if response.StatusCode != c.status || !strings.Contains(body, c.message) {
				t.Errorf("%s %s, want %d with %s", response.Status, body, c.status, c.message)
			}
			if !strings.HasPrefix(body, `{"code":`+strconv.Itoa(c.status)+`,"message":"`) || !response.Close {
				t.Errorf("refused with %s, closing %t", body, response.Close)
			}
			for header, want := range c.headers {
				if got := response.Header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			f.expectEnd()
			// The relay ignores a client that goes on, and does not reset the
			// connection, or the client might lose the response.
			f.write([]byte(upgradeRequest("/") + strings.Repeat("x", 1<<20)))
		})
	}
	eventually(t, "all refused connections are gone", func() bool { return b.metric(`lectern_connections{phase="open"}`) == 0 })
	if got := int(b.metric(`lectern_closes_total{reason="handshake_refused"}`)); got != len(cases) {
		t.Errorf("%d refusals were counted, want %d", got, len(cases))
	}
}

func TestSlowHandshakeIsGivenUp(t *testing.T) {
	b := startBinary(t, "--handshake-timeout", "1s")
	for name, line := range map[string]string{"silent": "", "byte by byte": "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			f := connectFuzzer(t, b.addr)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for i := range len(line) {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = f.conn.Write([]byte{line[i]})
					}
				}
			}()
			response, body := f.response()
			took := time.Since(began)
			close(stop)
			<-stopped
			if response.StatusCode != 408 || !strings.Contains(body, "longer than 1s") {
				t.Errorf("%s %s, want 408", response.Status, body)
			}
			// The relay looks at each connection once a second.
			if took < time.Second || took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
			f.expectEnd()
		})
	}
}

// Frames may come in the same packet as the handshake, and end anywhere.
func TestFramesInTheHandshakesPacket(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--echo", "/echo")
	f := &fuzzer{t: t}
	stream := []byte(upgradeRequest("/echo"))
	for _, frame := range []wireFrame{pingFrame("?"), textFrame(hello), binaryFrame(notUTF8).notLast(), contFrame(notUTF8), closeFrame(1000, "")} {
		stream = f.encode(stream, frame)
	}
	check := func(f *fuzzer) {
		f.expectUpgrade()
		f.expect(pongFrame("?"))
		f.expect(textFrame(hello))
		f.expect(binaryFrame(notUTF8 + notUTF8))
		f.expectClose(1000)
		f.expectEnd()
	}
	for cut := range len(stream) {
		f := connectFuzzer(t, b.addr)
		if cut > 0 {
			f.write(stream[:cut])
			time.Sleep(between)
		}
		f.write(stream[cut:])
		check(f)
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", cut, len(stream))
		}
		_ = f.conn.Close()
	}
	f = connectFuzzer(t, b.addr)
	for i := range stream {
		f.write(stream[i : i+1])
	}
	check(f)

	// Half a frame waits for its other half, and nothing comes before.
	f = connectFuzzer(t, b.addr)
	head := len(upgradeRequest("/echo"))
	half := head + 12 // within the second frame
	f.write(stream[:half])
	f.expectUpgrade()
	f.expect(pongFrame("?"))
	f.expectSilence()
	f.write(stream[half:])
	f.expect(textFrame(hello))
}

// Only the first request of a connection is served.
func TestSecondHandshake(t *testing.T) {
	b := startBinary(t, "--close-timeout", "1m")
	good, bad := upgradeRequest("/"), upgradeRequest("/nowhere")
	t.Run("in the same packet", func(t *testing.T) {
		f := connectFuzzer(t, b.addr)
		f.write([]byte(good + good))
		f.expectUpgrade()
		f.expectClose(1002)
		f.expectEnd()
	})
	t.Run("after the first", func(t *testing.T) {
		f := dialFuzzer(t, b.addr, "/")
		f.write([]byte(good))
		f.expectClose(1002)
		f.expectEnd()
	})
	t.Run("after a refusal", func(t *testing.T) {
		f := connectFuzzer(t, b.addr)
		f.write([]byte(bad + good))
		if response, body := f.response(); !response.Close {
			t.Errorf("%s %s leaves the connection open", response.Status, body)
		}
		f.expectEnd()
	})
}

// Whenever and however a peer goes, nothing of it stays.
func TestLeavingInEveryPhase(t *testing.T) {
	b := startBinary(t, "--echo", "/echo", "--handshake-timeout", "1m", "--close-timeout", "1m")
	head := upgradeRequest("/echo")
	phases := map[string]string{
		"before a word":         "",
		"within the head":       head[:len(head)/2],
		"upgraded":              head,
		"within a frame's head": head + "\x81\xfe\x01",
		"within a frame":        head + "\x81\x85\x01\x02\x03\x04ab",
		"within a message":      head + "\x01\x80\x01\x02\x03\x04",
	}
	manners := map[string]func(f *fuzzer){
		"closes": func(f *fuzzer) { _ = f.conn.Close() },
		"resets": func(f *fuzzer) {
			_ = f.conn.(*net.TCPConn).SetLinger(0)
			_ = f.conn.Close()
		},
		"finishes sending": func(f *fuzzer) {
			_ = f.conn.(*net.TCPConn).CloseWrite()
			f.expectEnd()
		},
		"is heard and closes": func(f *fuzzer) {
			time.Sleep(10 * time.Millisecond)
			_ = f.conn.Close()
		},
	}
	b.metric("lectern_rooms") // opens the connection that is used for this
	before := b.descriptors()
	left := 0
	for phase, said := range phases {
		for manner, leave := range manners {
			t.Run(phase+"/"+manner, func(t *testing.T) {
				f := connectFuzzer(t, b.addr)
				f.write([]byte(said))
				if strings.HasPrefix(said, head) {
					f.expectUpgrade() // unread bytes would turn a close into a reset
				}
				leave(f)
			})
			left++
		}
	}
	eventually(t, "nothing of them stays", func() bool {
		return b.metric(`lectern_closes_total{reason="lost"}`) == float64(left) &&
			b.metric(`lectern_connections{phase="handshake"}`)+b.metric(`lectern_connections{phase="open"}`) == 0 &&
			b.descriptors() <= before
	})
}

// The relay closes a viewer that does not answer. Broadcasts must not follow the close
// frame.
func TestNothingFollowsTheCloseFrame(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--ping-after", "500ms", "--idle-timeout", "1s", "--close-timeout", "2s")
	const onAndOn = `{"type":"command","data":"on and on"}`
	host, code := openRoom(t, b)
	viewer := dialFuzzer(t, b.addr, "/")
	viewer.send(turn{say: []wireFrame{textFrame(`{"type":"join","code":"` + code + `"}`)}})
	if got := viewer.next(); !strings.HasPrefix(string(got.payload), `{"type":"joined","code":"`+code+`",`) {
		t.Fatalf("heard %v, want joined", got)
	}

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if err := host.Write(t.Context(), websocket.MessageText, []byte(onAndOn)); err != nil {
					t.Errorf("the host cannot speak: %v", err)
					return
				}
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	got := viewer.next()
	for got.op == opPing || string(got.payload) == onAndOn {
		got = viewer.next()
	}
	if want := `{"type":"closed","reason":"idle"}`; string(got.payload) != want {
		t.Fatalf("heard %v, want %s", got, want)
	}
	viewer.expectClose(4102)
	viewer.expectEnd()
}

// descriptors returns how many descriptors the process has open.
func (b *binary) descriptors() int {
	b.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	return len(open)
}
