package hub

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"lectern/frame"
)

// page connects a page at the peer's address. It reports whether it was
// told more than the handshake.
func (r *testRelay) page(origin, peer, host string, lines ...string) (p *peer, refused bool) {
	p = r.connect(0)
	p.from = netip.MustParseAddr(peer)
	head := strings.Replace(testHead, "Host: test\r\n", "Host: "+host+"\r\n"+strings.Join(lines, ""), 1)
	if origin != "" {
		head = strings.Replace(head, "Host: ", "Origin: "+origin+"\r\nHost: ", 1)
	}
	p.bytes([]byte(head))
	_, rest, ok := strings.Cut(string(p.wire), "\r\n\r\n")
	if !ok || !strings.HasPrefix(string(p.wire), "HTTP/1.1 101 ") {
		r.t.Errorf("the origin %q was answered %.60q", origin, p.wire)
	}
	p.wire = []byte(rest)
	return p, len(rest) > 0
}

func TestOriginsOfOthersAreTurnedAway(t *testing.T) {
	const away, here = "192.0.2.7", "127.0.0.1"
	allowed := []string{"https://school.example", "http://other.example:8080"}
	for _, c := range []struct {
		origin, host, peer string
		allow              []string
		refused            bool
	}{
		{"", "test", away, nil, false},
		{"https://test", "test", away, nil, false}, // the Host that it asked
		{"http://TEST", "test", away, nil, false},
		{"https://test:444", "test", away, nil, true},
		{"https://evil.example", "test", away, nil, true},
		{"https://evil.example", "test", here, nil, true},
		{"https://evil.example", "test", away, []string{"*"}, false},
		{"https://school.example", "test", away, allowed, false},
		{"HTTPS://School.example", "test", away, allowed, false},
		{"http://other.example:8080", "test", away, allowed, false},
		{"http://school.example", "test", away, allowed, true},
		{"https://school.example.evil.example", "test", away, allowed, true},
		{"https://evil.example/https://school.example", "test", away, allowed, true},
		{"null", "test", away, allowed, true},
		{"null", "test", here, nil, true},
		{"test", "test", away, nil, true},
		{"https://evil.example://test", "test", away, nil, true},

		// The port that a scheme has anyway.
		{"https://test", "test:443", away, nil, false},
		{"http://test", "test:80", away, nil, false},
		{"https://test:443", "test", away, nil, false},
		{"https://[2001:db8::1]", "[2001:db8::1]:443", away, nil, false},
		{"https://test", "test:80", away, nil, true},
		{"http://test", "test:443", away, nil, true},
		{"https://test", "test:8443", away, nil, true},
		{"https://test", "test:443:443", away, nil, true},

		// Pages on this machine.
		{"http://localhost:3000", "relay:8765", here, nil, false},
		{"https://LOCALHOST", "relay:8765", here, nil, false},
		{"http://127.9.9.9:1", "relay:8765", "127.3.3.3", nil, false},
		{"http://[::1]:3000", "relay:8765", "::1", nil, false},
		{"http://[::1]", "relay:8765", "::ffff:127.0.0.1", nil, false},
		{"http://localhost:3000", "relay:8765", away, nil, true},
		{"http://localhost.evil.example", "relay:8765", here, nil, true},
		{"http://localhost@evil.example", "relay:8765", here, nil, true},
		{"http://127.0.0.1.evil.example", "relay:8765", here, nil, true},
		{"http://[::1", "relay:8765", here, nil, true},
		{"http://::1", "relay:8765", here, nil, true},
		{"http://[127.0.0.1]", "relay:8765", here, nil, true},
		{"http://10.0.0.1:3000", "relay:8765", here, nil, true},
		{"ftp://localhost", "relay:8765", here, nil, true},
	} {
		r := newTestRelay(t, 1, Config{AllowOrigins: c.allow})
		if _, refused := r.page(c.origin, c.peer, c.host); refused != c.refused {
			t.Errorf("the origin %q at %s, asking %q with %q allowed: refused %t", c.origin, c.peer, c.host, c.allow, refused)
		}
		if n := r.hub.Refusals()["origin"]; (n == 1) != c.refused {
			t.Errorf("%d refusals of the origin %q are counted", n, c.origin)
		}
	}
}

// What a proxy on this machine forwards is a page of another one.
func TestAForwardedPageIsNotOnThisMachine(t *testing.T) {
	trusting := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, c := range []struct {
		config    Config
		forwarded string
		refused   bool
	}{
		{Config{}, "192.0.2.7", true},
		{Config{}, "127.0.0.1", true}, // nobody knows who says so
		{trusting, "192.0.2.7", true},
		{trusting, "nonsense", true},
	} {
		r := newTestRelay(t, 1, c.config)
		if _, refused := r.page("http://localhost:3000", "127.0.0.1", "relay", "X-Forwarded-For: "+c.forwarded+"\r\n"); refused != c.refused {
			t.Errorf("a page of localhost, forwarded for %s: refused %t", c.forwarded, refused)
		}
	}
}

// TestAPageThatIsTurnedAwayCanDoNothing but read why.
func TestAPageThatIsTurnedAwayCanDoNothing(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p, _ := r.page("https://evil.example", "192.0.2.7", "test")
	p.say(`{"type":"create"}`)
	p.say(strings.Repeat("x", 100))
	p.hears(
		`{"type":"error","error":"origin_not_allowed","message":"pages of the origin https://evil.example may not connect to this relay, unless it is told --allow-origin https://evil.example"}`,
		`{"type":"closed","reason":"origin_not_allowed"}`, "close 4403")
	if s := r.hub.Stats(); s.Rooms != 0 || s.Received != 0 {
		t.Errorf("%d rooms and %d messages of a page that is not allowed", s.Rooms, s.Received)
	}
	r.pass(10*1e9, p)
	if !p.ended {
		t.Error("its connection is still there")
	}
	if n := r.hub.Stats().Closes[ReasonOrigin]; n != 1 || ReasonOrigin.String() != "origin_not_allowed" || frame.CloseOrigin != 4403 {
		t.Errorf("%d connections were closed for their origin", n)
	}
	checkCounts(t, r, 0, 0, 0)
}

// An origin is the client's own text.
func TestALongOriginIsCut(t *testing.T) {
	for _, origin := range []string{strings.Repeat("x", 5000), strings.Repeat("\xff", 300), strings.Repeat("\u20ac", 100), `"<\`} {
		r := newTestRelay(t, 1, Config{})
		p, refused := r.page(origin, "192.0.2.7", "test")
		heard := fmt.Sprint(p.frames()) // which checks that it is UTF-8
		if !refused || len(heard) > 12*maxOrigin+400 || !strings.Contains(heard, "close 4403") {
			t.Errorf("a strange origin was answered %.300q", heard)
		}
	}
}
