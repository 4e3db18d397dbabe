package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"
)

// headerFor returns a PROXY header for a client.
func headerFor(t *testing.T, client string) string {
	t.Helper()
	from, to := &net.TCPAddr{IP: net.ParseIP(client), Port: 1234}, &net.TCPAddr{IP: net.ParseIP("192.0.2.200"), Port: 443}
	b, err := proxyproto.HeaderProxyFromAddrs(2, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// localHeader is what a proxy sends that connects for itself.
func localHeader(t *testing.T) string {
	t.Helper()
	b, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// dialAfter opens a WebSocket over a connection that begins with the bytes.
func dialAfter(t *testing.T, addr, header string) (*websocket.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			_, err = io.WriteString(c, header)
		}
		return c, err
	}}}
	c, _, err := websocket.Dial(ctx, "ws://"+addr+"/", &websocket.DialOptions{HTTPClient: client})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, err
}

// TestClientsAreWhereTheProxySays: limits for an address count the clients behind the
// proxy, whatever way they take through the relay.
func TestClientsAreWhereTheProxySays(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "1")
	enter := func(header, want string) {
		t.Helper()
		c, err := dialAfter(t, b.addr, header)
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, `{"type":"create"}`)
		if got := hear(t, c); !strings.Contains(got, want) {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	enter(headerFor(t, "192.0.2.1"), `"created"`)
	enter(headerFor(t, "192.0.2.2"), `"created"`)
	enter(headerFor(t, "2001:db8::1"), `"created"`)
	enter(localHeader(t), `"created"`) // the proxy itself, at 127.0.0.1
	enter(headerFor(t, "192.0.2.1"), `"server_full"`)
	enter(headerFor(t, "2001:db8::2"), `"server_full"`) // of the same /64
	enter(localHeader(t), `"server_full"`)

	// The header is for all requests of its connection: plain ones, and an upgrade that
	// goes back to the reactor.
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	const live = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
	const upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	answers := bufio.NewReader(c)
	for _, request := range []string{headerFor(t, "192.0.2.1") + live, live} {
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode != 200 {
			t.Errorf("%s", response.Status)
		}
	}
	if _, err := io.WriteString(c, upgrade); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode != 101 {
		t.Fatalf("%v, %v", response, err)
	}
	if told, err := answers.ReadString('}'); err != nil || !strings.Contains(told, "server_full") {
		t.Errorf("a client that has all its connections heard %q, %v", told, err)
	}
}

// TestHeadersBeforeTLS: a load balancer that passes TLS on sends its header first, alone
// or together with the ClientHello.
func TestHeadersBeforeTLS(t *testing.T) {
	t.Parallel()
	certificate, key := writePair(t, time.Hour)
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "1", "--tls-cert", certificate, "--tls-key", key)
	enter := func(client string, apart bool, want string) {
		t.Helper()
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			header := headerFor(t, client)
			if apart {
				if _, err := io.WriteString(c, header); err != nil {
					return nil, err
				}
				time.Sleep(50 * time.Millisecond)
				header = ""
			}
			return tls.Client(&prefixed{Conn: c, prefix: header}, &tls.Config{InsecureSkipVerify: true}), nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, "wss://"+b.addr+"/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DialTLSContext: dial}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		say(t, c, `{"type":"create"}`)
		if got := hear(t, c); !strings.Contains(got, want) {
			t.Errorf("%s heard %s, want %s", client, got, want)
		}
	}
	enter("192.0.2.1", true, `"created"`)
	enter("192.0.2.2", false, `"created"`)
	enter("192.0.2.1", false, `"server_full"`)
}

// A prefixed connection begins with bytes of its own, in one segment with the first that
// is written.
type prefixed struct {
	net.Conn
	prefix string
}

func (c *prefixed) Write(p []byte) (int, error) {
	n := len(c.prefix)
	written, err := c.Conn.Write(append([]byte(c.prefix), p...))
	c.prefix = ""
	return max(0, written-n), err
}

// TestHeadersByteByByte arrive, together with the request.
func TestHeadersByteByByte(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "127.0.0.1")
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for _, one := range []byte(headerFor(t, "192.0.2.1") + "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") {
		if _, err := c.Write([]byte{one}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if response, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || response.StatusCode != 200 {
		t.Errorf("%v, %v", response, err)
	}
}

// TestWhatATrustedProxyMayNotSend ends the connection without a word, and is counted.
func TestWhatATrustedProxyMayNotSend(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--handshake-timeout", "500ms")
	header := headerFor(t, "192.0.2.1")
	const request = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
	cases := map[string]struct{ said, cause string }{
		"no header":                      {request, "proxy_header"},
		"version 1":                      {"PROXY TCP4 192.0.2.1 192.0.2.200 1234 443\r\n" + request, "proxy_header"},
		"garbage":                        {strings.Repeat("\x00\xff", 4<<10), "proxy_header"},
		"a length that is short":         {header[:14] + "\x00\x04" + header[16:] + request, "proxy_header"},
		"a length that is long":          {header[:14] + "\xff\xff" + header[16:] + request, "proxy_header"},
		"half a header":                  {header[:20], "handshake_timeout"},
		"nothing":                        {"", "handshake_timeout"},
		"a length that is never reached": {header[:14] + "\x02\x08" + header[16:], "handshake_timeout"},
	}
	want := make(map[string]float64)
	for name, c := range cases {
		want[c.cause]++
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, c.said); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() || len(answer) > 0 {
				t.Errorf("answered %q, %v", answer, err)
			}
		})
	}
	for cause, n := range want {
		if got := b.metric(fmt.Sprintf("lectern_refusals_total{cause=%q}", cause)); got != n {
			t.Errorf("%v refusals for %s, want %v", got, cause, n)
		}
	}
	if _, err := dialAfter(t, b.addr, header); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestAStrangerIsNoProxy: whoever is not trusted is a client, and a header is no request.
func TestAStrangerIsNoProxy(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--proxy-protocol", "--trusted-proxy", "192.0.2.9")
	host, code := openRoom(t, b)
	say(t, host, `{"type":"command","data":1}`)
	joinRoom(t, b, code)
	if c, err := dialAfter(t, b.addr, headerFor(t, "192.0.2.1")); err == nil {
		t.Errorf("a stranger's header was taken: %v", c)
	}
	_, stderr, exit := lectern(t, nil, "serve", "--proxy-protocol")
	if exit != 1 || !strings.Contains(stderr, "--proxy-protocol needs --trusted-proxy") {
		t.Errorf("exit code %d, %s", exit, stderr)
	}
}
