package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// streamed returns a message as event streams carry it.
func streamed(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }

// TestEventStreamsComeBackAfterCuts cuts clients of each kind off again and again while
// the host speaks. They have got everything in the end, once and in order.
func TestEventStreamsComeBackAfterCuts(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, flags []string) {
		b := startBinary(t, append([]string{"--retain", "33554432", "--retain-messages", "100000", "--close-timeout", "1s", "--stall-timeout", "2s"}, flags...)...)
		var there []streamKind
		for _, kind := range streamKinds {
			if why := kind.absent(); why == "" {
				there = append(there, kind)
			} else {
				t.Run(kind.name, func(t *testing.T) { Missing(t, why) })
			}
		}
		streamALecture(t, b, there...)
	})
}

// streamALecture has viewers read a lecture, through cables that are cut.
func streamALecture(t *testing.T, b *binary, kinds ...streamKind) {
	t.Helper()
	host, code := openRoom(t, b)
	listening(t, host)
	var calm atomic.Bool
	var class []*absentee
	for _, kind := range kinds {
		a := &absentee{name: "the viewer with " + kind.name, streams: true, events: make(chan heard, 1024)}
		a.cable = newCable(t, b.addr, func(nth int) int { return fraysAfter(nth, &calm) })
		kind.watch(t, b.streamURL(a.cable.addr(), code), a.events)
		class = append(class, a)
	}
	missAndHear(t, host, class, &calm)
	if t.Failed() {
		return
	}
	say(t, host, `{"type":"close"}`)
	for _, a := range class {
		a.hearsTheEnd(t)
	}
}

// TestEventStreamsBehindNginx has nginx in the way, with the example of docs/proxies.md:
// it buffers responses unless they say otherwise.
func TestEventStreamsBehindNginx(t *testing.T) {
	t.Parallel()
	program := findProgram("nginx")
	if program == "" {
		Missing(t, "no nginx here (Debian: nginx-light)")
	}
	socket := filepath.Join(socketDir(t), "relay.sock")
	b := startBinary(t, "--addr", "unix:"+socket, "--trusted-proxy", "unix", "--retain", "33554432", "--retain-messages", "100000", "--stall-timeout", "2s")
	b.addr = startProxy(t, program, "nginx", socket, runNginx)
	comesAtOnce(t, b, http.DefaultTransport)
	streamALecture(t, b, streamKind{name: "python", watch: streamToPython})
}

// TestEventStreamsBehindSquid has a client use Squid as its proxy, as schools do.
func TestEventStreamsBehindSquid(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	comesAtOnce(t, b, &http.Transport{Proxy: http.ProxyURL(startSquid(t))})
}

// comesAtOnce checks that nothing on the way holds messages back.
func comesAtOnce(t *testing.T, b *binary, through http.RoundTripper) {
	t.Helper()
	host, code := openRoom(t, b)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.streamURL(b.addr, code), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := through.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for _, text := range []string{`{"type":"command","data":1}`, `{"type":"command","data":2}`} {
		said := time.Now()
		say(t, host, text) // the next one only when this one has come
		for lines.Scan() && lines.Text() != "data: "+text {
		}
		if lines.Err() != nil || time.Since(said) > 5*time.Second {
			t.Fatalf("it came after %s, %v", time.Since(said), lines.Err())
		}
	}
}

// TestChromiumReconnectsAfterARestart keeps a room on disk. The browser comes back by
// itself to the relay's next process, and misses nothing.
func TestChromiumReconnectsAfterARestart(t *testing.T) {
	t.Parallel()
	if why := absentChromium(); why != "" {
		Missing(t, why)
	}
	dir := t.TempDir()
	b := startBinary(t, "--data", dir)
	host, code := openRoom(t, b)
	reads(t, host)
	events := make(chan heard, 1024)
	streamToChromium(t, b.streamURL(b.addr, code), events)
	a := &absentee{name: "the browser", streams: true, events: events}
	if first := a.next(); !strings.HasPrefix(first.Text, `{"type":"joined",`) {
		t.Fatalf("heard %+v", first)
	}
	say(t, host, `{"type":"command","data":1}`)
	if got := a.next(); got.Text != `{"type":"command","data":1}` {
		t.Fatalf("heard %+v", got)
	}
	b.signal(syscall.SIGTERM)
	if status := b.wait(10 * time.Second); status != 0 {
		t.Fatalf("exit code %d", status)
	}
	again := startBinary(t, "--data", dir, "--addr", b.addr)
	for {
		got := a.next()
		if strings.HasPrefix(got.Text, `{"type":"host_`) || strings.HasPrefix(got.Text, `{"type":"closed","reason":"shutdown"`) {
			continue
		}
		if !strings.Contains(got.Text, `"seq":1,`) || !strings.Contains(got.Text, `"recovered":true`) {
			t.Errorf("heard %+v", got)
		}
		break
	}
	if n := again.metric(`lectern_resumes_total{recovered="true"}`); n != 1 {
		t.Errorf("%v viewers resumed", n)
	}
}

// connect opens a connection, through TLS if the relay has it.
func (b *binary) connect(t *testing.T) *fuzzer {
	t.Helper()
	if strings.HasPrefix(b.url("/"), "wss:") {
		return secureFuzzer(t, b.addr, &tls.Config{})
	}
	return connectFuzzer(t, b.addr)
}

// readTo reads until a text has come.
func (f *fuzzer) readTo(text string) {
	f.t.Helper()
	f.await(patience)
	for read := ""; !strings.HasSuffix(read, text); {
		c, err := f.in.ReadByte()
		if err != nil {
			f.t.Fatalf("%q has not come: %v", text, err)
		}
		if read += string(rune(c)); len(read) > 4*len(text) {
			read = read[2*len(text):]
		}
	}
}

// TestEventStreamAfterOtherRequests asks on a connection that net/http has served
// before, cut at many places: the reactor gets it back.
func TestEventStreamAfterOtherRequests(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, flags []string) {
		b := startBinary(t, append([]string{"--max-http", "2000"}, flags...)...)
		host, code := openRoom(t, b)
		requests := liveRequest + "\r\n" + liveRequest + "GET /v1/rooms/" + code + "/events?name=Ada HTTP/1.1\r\nHost: x\r\n\r\n"
		var all []*fuzzer
		for cut := 0; cut < len(requests); cut += 7 {
			f := b.connect(t)
			f.write([]byte(requests[:cut]))
			time.Sleep(time.Millisecond)
			f.write([]byte(requests[cut:]))
			for range 2 {
				if response, _ := f.response(); response.StatusCode != http.StatusOK {
					t.Fatal(response.Status)
				}
			}
			all = append(all, f)
		}
		for _, f := range all {
			f.readTo(`{"type":"joined",`)
		}
		say(t, host, `{"type":"command","data":"to all"}`)
		for _, f := range all {
			f.readTo("event: command\ndata: {\"type\":\"command\",\"data\":\"to all\"}\n\n")
		}
		if n := b.metric("lectern_event_streams"); int(n) != len(all) {
			t.Errorf("%v event streams, want %d", n, len(all))
		}
		if n := b.metric("lectern_http_connections"); n != 1 {
			t.Errorf("net/http still has %v connections", n)
		}
	})
}

// TestOtherMethodsOnEventStreams are answered by net/http, on a connection that is kept.
func TestOtherMethodsOnEventStreams(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--allow-origin", "https://school.example")
	for method, status := range map[string]int{"HEAD": 405, "POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 204} {
		request, err := http.NewRequest(method, "http://"+b.addr+"/v1/rooms/K7QM-2XHD/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", "https://school.example")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status || response.Header.Get("Allow") != "GET, OPTIONS" {
			t.Errorf("%s: %s, %v", method, response.Status, response.Header)
		}
		allowed := strings.Join(response.Header.Values("Access-Control-Allow-Headers"), ", ")
		if method == "OPTIONS" && (!strings.Contains(allowed, "Last-Event-ID") || !strings.Contains(allowed, "Authorization")) {
			t.Errorf("a page may send %s", allowed)
		}
	}
}

// TestHalfClosedEventStream ends its sending side after the request: the relay takes it
// for the client's end, like other HTTP servers, because a browser's tab that is closed
// looks the same. What was due by then still comes.
func TestHalfClosedEventStream(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	_, code := openRoom(t, b)
	f := connectFuzzer(t, b.addr)
	f.write([]byte("GET /v1/rooms/" + code + "/events HTTP/1.0\r\n\r\n"))
	if err := f.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(f.in)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 200 OK\r\n") || !strings.Contains(string(all), `{"type":"joined",`) {
		t.Errorf("%.300q, %v", all, err)
	}
	eventually(t, "the viewer has left", func() bool { return b.metric("lectern_viewers") == 0 && b.metric("lectern_event_streams") == 0 })
}

// TestEventStreamsCountForTheirAddresses has a trusted proxy say for whom it asks.
func TestEventStreamsCountForTheirAddresses(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "2")
	_, code := openRoom(t, b)
	status := func(client string) int {
		f := connectFuzzer(t, b.addr)
		f.write([]byte("GET /v1/rooms/" + code + "/events HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + client + "\r\n\r\n"))
		line, err := f.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(strings.Fields(line)[1])
		return n
	}
	for client, want := range map[string][]int{"192.0.2.1": {200, 200, 503, 503}, "192.0.2.2": {200, 200, 503}} {
		for i, want := range want {
			if got := status(client); got != want {
				t.Errorf("%s's request %d is answered with %d, want %d", client, i+1, got, want)
			}
		}
	}
}

// TestEventStreamsThroughAProxysHeader has the PROXY protocol say for whom it asks, with
// the request in the same chunk, and after another request.
func TestEventStreamsThroughAProxysHeader(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "1")
	c, err := dialAfter(t, b.addr, headerFor(t, "192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	say(t, c, `{"type":"create","history":"relay"}`)
	var room struct{ Code string }
	if err := json.Unmarshal([]byte(hear(t, c)), &room); err != nil {
		t.Fatal(err)
	}
	request := "GET /v1/rooms/" + room.Code + "/events HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, turn := range []struct{ client, before, want string }{
		{"192.0.2.2", "", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"},
		{"192.0.2.2", "", "HTTP/1.1 503 "},
		{"192.0.2.3", liveRequest, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"},
		{"192.0.2.3", liveRequest, "HTTP/1.1 503 "},
	} {
		f := connectFuzzer(t, b.addr)
		f.write([]byte(headerFor(t, turn.client) + turn.before + request))
		if turn.before != "" {
			f.response()
		}
		f.readTo(turn.want)
	}
}

// TestShownStreams runs the programs of docs/clients.md that read an event stream.
func TestShownStreams(t *testing.T) {
	t.Parallel()
	python, absent := FindPython()
	b := startBinary(t)
	for name, c := range map[string]struct {
		absent string
		mark   string
		run    func(shown string) *exec.Cmd
	}{
		"curl":   {absentCurl(), "sh curl", func(shown string) *exec.Cmd { return exec.Command("sh", "-c", "exec "+shown) }},
		"python": {absent, "python stream", func(shown string) *exec.Cmd { return exec.Command(python, "-c", shown) }},
		"node": {absentEventSource(), "js stream", func(shown string) *exec.Cmd {
			return exec.Command("node", "--input-type=module", "-e", `import {EventSource} from "eventsource";`+shown)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.absent != "" {
				Missing(t, c.absent)
			}
			t.Parallel()
			host, code := openRoom(t, b)
			shown := replaced(t, replaced(t, example(t, c.mark), "localhost:8765", b.addr), "K7QM-2XHD", code)
			cmd := c.run(shown)
			cmd.Dir = clientsDir
			_, output := startPiped(t, cmd)
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			eventually(t, "the viewer is there", func() bool {
				say(t, host, `{"type":"list"}`)
				return strings.Contains(hear(t, host), `"total":1`)
			})
			say(t, host, `{"type":"command","data":"hello, class"}`)
			lines := bufio.NewScanner(output)
			for lines.Scan() && !strings.Contains(lines.Text(), "hello, class") {
			}
			if !strings.Contains(lines.Text(), "hello, class") {
				t.Errorf("it does not print the message: %v", lines.Err())
			}
		})
	}
}
