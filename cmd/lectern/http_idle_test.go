package main

import (
	"net"
	"net/http"
	"net/netip"
	"testing"

	"lectern/hub"
)

// TestWhoMakesRoom for a newcomer: the connection of its own address that was idle
// for longest if the address has its share, else that of any address.
func TestWhoMakesRoom(t *testing.T) {
	h := newHandover(nil, func() int { return 8 })
	h.hub = newHub(hub.Config{}, nil, "")
	take := func(from string) *httpConn {
		t.Helper()
		address := netip.MustParseAddr(from)
		if err := h.enter(address); err != nil {
			t.Fatalf("%s is refused: %v", from, err)
		}
		client, server := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		return &httpConn{Conn: server, from: address, handover: h}
	}
	idle := func(c *httpConn) *httpConn { h.track(c, http.StateIdle); return c }
	wantClosed := func(c *httpConn, want bool) {
		t.Helper()
		if c.isClosed() != want {
			t.Errorf("closed: %t", !want)
		}
	}
	a1, a2 := idle(take("192.0.2.1")), idle(take("192.0.2.1"))
	b1, b2 := idle(take("192.0.2.2")), take("192.0.2.2")
	h.track(b1, http.StateActive)
	a3 := idle(take("192.0.2.1"))
	wantClosed(a1, true)
	wantClosed(a2, false)
	if err := h.enter(b1.from); err != errHTTPMany {
		t.Errorf("both of its connections are busy, and it hears %v", err)
	}
	idle(b2)
	for _, from := range []string{"192.0.2.3", "192.0.2.3", "192.0.2.4", "192.0.2.4"} {
		take(from)
	}
	take("192.0.2.5")
	wantClosed(a2, true)
	take("192.0.2.5")
	wantClosed(a3, true)
	wantClosed(b2, false)
	take("192.0.2.6")
	wantClosed(b2, true)
	if err := h.enter(netip.MustParseAddr("192.0.2.7")); err != errHTTPFull {
		t.Errorf("all are busy, and it hears %v", err)
	}
	h.track(a1, http.StateIdle) // net/http may be late
	if len(h.idle) != 0 || h.Open() != 8 {
		t.Errorf("%d are idle, %d open", len(h.idle), h.Open())
	}
}
