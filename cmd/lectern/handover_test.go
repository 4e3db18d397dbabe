package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/config"
	"lectern/hub"
	"lectern/hub/budget"
)

// TestHTTPLimitIsAQuarterOfTheDescriptors: the rest is for WebSockets.
func TestHTTPLimitIsAQuarterOfTheDescriptors(t *testing.T) {
	for _, c := range []struct{ flag, descriptors, want int }{
		{0, 20_000, 256}, {300, 20_000, 300}, {300, 1000, 250}, {256, 64, 16}, {5, 64, 5}, {5, 3, 1},
	} {
		r := &relay{limit: c.descriptors}
		r.current.Store(&config.Settings{Options: config.Options{MaxHTTP: c.flag}})
		if got := r.maxHTTP(); got != c.want {
			t.Errorf("--max-http %d with %d descriptors: %d, want %d", c.flag, c.descriptors, got, c.want)
		}
	}
}

// A pipeConn is a hand-over's connection in memory.
func newPipeConn(t *testing.T) (c *httpConn, client net.Conn) {
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	h := newHandover(nil, func() int { return 1 })
	h.hub = hub.New(hub.Config{}, nil)
	if err := h.enter(netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	return &httpConn{Conn: server, handover: h}, client
}

// TestOneAddressHasAQuarterOfThePlaces, and of IPv6 a /64 counts as one.
func TestOneAddressHasAQuarterOfThePlaces(t *testing.T) {
	const limit = 40
	h := newHandover(nil, func() int { return limit })
	h.hub = hub.New(hub.Config{}, nil)
	entered := 0
	enter := func(address string, want error) {
		t.Helper()
		err := h.enter(network(netip.MustParseAddr(address)))
		if err != want {
			t.Errorf("connection %d, from %s: %v, want %v", entered, address, err, want)
		}
		if err == nil {
			entered++
		}
	}
	for range limit / perAddress {
		enter("192.0.2.1", nil)
		enter("2001:db8::1", nil)
	}
	for _, same := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::2", "2001:db8::1%eth0", "2001:db8:0:0:ffff::"} {
		enter(same, errHTTPMany)
	}
	for i := range limit / perAddress {
		enter("192.0.2.2", nil)
		enter(fmt.Sprintf("2001:db8:0:%d::", i+1), nil)
	}
	enter("192.0.2.9", errHTTPFull)
	h.leave(network(netip.MustParseAddr("192.0.2.1")))
	enter("192.0.2.1", nil)
	enter("192.0.2.9", errHTTPFull)
	if used := h.hub.Budget().Used(budget.HTTP); used != limit*httpConnBytes || entered != limit+1 {
		t.Errorf("%d entered, %d bytes are counted", entered, used)
	}
}

// TestAnHTTPConnectionIsCountedOnce from the hand-over to the first close.
func TestAnHTTPConnectionIsCountedOnce(t *testing.T) {
	c, _ := newPipeConn(t)
	for range 2 {
		_ = c.Close()
	}
	if h := c.handover; h.Open() != 0 || len(h.from) != 0 || h.hub.Budget().Used(budget.HTTP) != 0 {
		t.Errorf("%d connections of %d addresses with %d bytes are left", h.Open(), len(h.from), h.hub.Budget().Used(budget.HTTP))
	}
}

// TestOwnErrorsOfNetHTTP holds inEnvelope to the very bytes that net/http writes,
// and leaves any other answer as it is.
func TestOwnErrorsOfNetHTTP(t *testing.T) {
	const end = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	for in, want := range map[string]string{
		"HTTP/1.1 431 Request Header Fields Too Large" + end + "431 Request Header Fields Too Large":       `{"code":431,"message":"431 Request Header Fields Too Large"}`,
		"HTTP/1.1 400 Bad Request: malformed Host header" + end + "400 Bad Request: malformed Host header": `{"code":400,"message":"malformed Host header"}`,
		"HTTP/1.1 505 HTTP Version Not Supported: nope" + end + "505 HTTP Version Not Supported: a: b":     `{"code":505,"message":"a: b"}`,
		"HTTP/1.1 200 OK\r\nX: y" + end + "text":                                                           "text",
		"HTTP/1.1 404 Not Found\r\n\r\n" + `{"code":404}`:                                                  `{"code":404}`,
	} {
		got := string(inEnvelope(statusOf([]byte(in)), []byte(in)))
		if !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// TestRefusalsOfTheHandoverAreCounted from the start.
func TestRefusalsOfTheHandoverAreCounted(t *testing.T) {
	for _, err := range []*hub.PlainRefusal{errHTTPFull, errHTTPMany} {
		if !slices.Contains(hub.Causes(), err.Cause) {
			t.Errorf("the cause %s is not counted from the start", err.Cause)
		}
	}
}
