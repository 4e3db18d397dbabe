package hub

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestPlainRequestsBeyondTheLimit are answered at once, and their connections
// are not kept, although the peers neither read nor close.
func TestPlainRequestsBeyondTheLimit(t *testing.T) {
	full := &PlainRefusal{Cause: "http_full", Message: "too many"}
	for name, c := range map[string]struct {
		err   error
		cause string
	}{
		"full":                 {full, "http_full"},
		"full, wrapped":        {errors.Join(errors.New("x"), full), "http_full"},
		"short of descriptors": {errors.New("EMFILE"), "descriptors"},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{
				Plain:          func(Conn, netip.Addr, []byte) error { return c.err },
				TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			}
			r := newTestRelay(t, 1, config)
			p := r.connect(0)
			p.from = netip.MustParseAddr("10.0.0.1")
			p.bytes([]byte("POST /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Length: 1000\r\n\r\n"))
			answer := string(p.wire)
			if !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "\r\nRetry-After: 5\r\n") {
				t.Errorf("answered %q", answer)
			}
			reading, writing := p.session.Wants()
			if writing || reading {
				t.Errorf("the relay goes on reading: %t, writing: %t", reading, writing)
			}
			reports := r.hub.TakeRefusals()
			if len(reports) != 1 || reports[0].Cause != c.cause || len(reports[0].From) != 1 || reports[0].From[0].String() != "192.0.2.7" {
				t.Errorf("counted as %+v", reports)
			}
			if got := r.hub.Answers(); len(got) != 1 || got[503] != 1 {
				t.Errorf("answers are counted as %v", got)
			}
		})
	}
}

// TestAnswersOfTheHandshakeAreCounted by their status.
func TestAnswersOfTheHandshakeAreCounted(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	for _, head := range []string{testHead, testHead, "nonsense\r\n\r\n", strings.Replace(testHead, "GET /", "GET /nowhere", 1), strings.Replace(testHead, "13", "8", 1)} {
		r.connect(0).bytes([]byte(head))
	}
	want := map[int]uint64{101: 2, 400: 1, 404: 1, 426: 1}
	got := r.hub.Answers()
	for status, n := range want {
		if got[status] != n {
			t.Errorf("%d answers of %d are counted, want %d", got[status], status, n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("counted are %v, want %v", got, want)
	}
	for _, status := range []int{-1, 0, 99, 600, 1 << 30} {
		r.hub.Answered(status)
	}
	r.hub.Answered(100)
	r.hub.Answered(599)
	if got := r.hub.Answers(); len(got) != len(want)+2 {
		t.Errorf("counted are %v", got)
	}
}

// TestTheSubprotocolIsAgreedTo when it is offered, and no other one.
func TestTheSubprotocolIsAgreedTo(t *testing.T) {
	for offer, agreed := range map[string]bool{"lectern.v1": true, "mqtt, lectern.v1": true, "mqtt": false} {
		r := newTestRelay(t, 1, Config{})
		p := r.connect(0)
		p.bytes([]byte(strings.Replace(testHead, "Host:", "Sec-WebSocket-Protocol: "+offer+"\r\nHost:", 1)))
		if got := strings.Contains(string(p.wire), "\r\nSec-WebSocket-Protocol: lectern.v1\r\n"); got != agreed || !strings.HasPrefix(string(p.wire), "HTTP/1.1 101 ") {
			t.Errorf("%q was answered %q", offer, p.wire)
		}
	}
}

// TestRefusedConnectionsDoNotPileUp: beyond a bound the relay does not wait until
// they have read why.
func TestRefusedConnectionsDoNotPileUp(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	refused := func() *peer {
		p := r.connect(0)
		p.bytes([]byte("nonsense\r\n\r\n"))
		if !strings.HasPrefix(string(p.wire), "HTTP/1.1 400 ") {
			t.Fatalf("answered %q", p.wire)
		}
		return p
	}
	var all []*peer
	for range maxLingering {
		all = append(all, refused())
	}
	one := refused()
	if reading, _ := all[maxLingering-1].session.Wants(); !reading {
		t.Error("the last within the bound is not waited for")
	}
	if reading, writing := one.session.Wants(); reading || writing {
		t.Error("one more is waited for")
	}
	all[0].reset()
	one.reset()
	if reading, _ := refused().session.Wants(); !reading {
		t.Error("a place that came free is not used")
	}
}
