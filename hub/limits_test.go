package hub

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

func TestViewerRateOnePast(t *testing.T) {
	for name, who := range map[string]func(*testRelay, event) *peer{
		"viewer": func(r *testRelay, room event) *peer {
			p, _ := r.enters(0, room.Code, "")
			return p
		},
		"nobody": func(r *testRelay, _ event) *peer { return r.dial(0) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{ViewerRate: 3})
			_, room := r.opens(0, "")
			p := who(r, room)
			r.pass(time.Second, p)
			for range 3 {
				p.gets("pong", `{"type":"ping"}`)
			}
			// The relay has not parsed it, so the error has no type.
			p.say(`{"type":"ping"}`)
			p.hears(`{"type":"error","error":"too_fast","message":"*`)
			p.frame(ws.OpPing, "is no message")
			p.hears("pong is no message")
			r.pass(time.Second, p)
			p.gets("pong", `{"type":"ping"}`)
		})
	}
}

func TestHostRateIsUnlimitedByDefaultAndOnePast(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	v, _ := r.enters(0, room.Code, "")
	for range 1000 {
		host.say(`{"type":"command","data":1}`)
	}
	r.run()
	if got := len(v.frames()); got != 1000 {
		t.Errorf("%d of 1000 were relayed", got)
	}
	r.hub.Configure(Config{HostRate: 5})
	r.pass(time.Second, host)
	for range 6 {
		host.say(`{"type":"command","data":1}`)
	}
	host.hears(`{"type":"error","error":"too_fast",*`)
	r.run()
	if got := len(v.frames()); got != 5 {
		t.Errorf("%d were relayed within a second, the limit is 5", got)
	}
}

func TestSizeLimitsOfHostAndViewerOnePast(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxHostMessage: 500, MaxViewerMessage: 100})
	host, room := r.opens(0, "")
	v, _ := r.enters(0, room.Code, "")
	sized := func(begin string, n int) string {
		return begin + strings.Repeat("x", n-len(begin)-2) + `"}`
	}
	text := sized(`{"type":"command","data":"`, 500)
	host.say(text)
	v.hears(text)
	host.say(sized(`{"type":"command","data":"`, 501))
	host.hears(`{"type":"error","error":"too_large","message":"*`)
	v.say(sized(`{"type":"message","data":"`, 100))
	host.hears(`{"type":"message","from":1,*`)
	v.say(sized(`{"type":"message","data":"`, 101))
	v.hears(`{"type":"error","error":"too_large","message":"*`)
	host.hears()
	// One over 16 times the limit is not even skipped.
	v.say(strings.Repeat("x", 1601))
	v.hears("close 1009")
	host.say(strings.Repeat("x", 8000))
	host.hears(`{"type":"error","error":"too_large","message":"*`)
}

func TestTooManyHandshakesAreAnswered503(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxHandshaking: 2})
	first, second := r.connect(0), r.connect(0)
	const half = len(testHead) / 2
	first.bytes([]byte(testHead[:half]))
	second.bytes([]byte(testHead[:half]))
	third := r.connect(0)
	third.Flush()
	if !strings.HasPrefix(string(third.wire), "HTTP/1.1 503 ") || !third.ended {
		t.Errorf("one too many was answered %q", third.wire)
	}
	first.bytes([]byte(testHead[half:])) // shakes hands no more
	fourth := r.connect(0)
	second.bytes([]byte(testHead[half:]))
	fourth.bytes([]byte(testHead))
	for name, p := range map[string]*peer{"first": first, "second": second, "fourth": fourth} {
		if !strings.HasPrefix(string(p.wire), "HTTP/1.1 101 ") {
			t.Errorf("the %s was answered %q", name, p.wire)
		}
		p.reset()
	}
	third.reset()
	checkCounts(t, r, 0, 0, 0)
	if s := r.hub.Stats(); s.Handshaking != 0 {
		t.Errorf("%d are still shaking hands", s.Handshaking)
	}
}

// TestForwardedForOfTrustedProxies counts the guesses of those behind a proxy.
func TestForwardedForOfTrustedProxies(t *testing.T) {
	const proxy, stranger = "10.1.2.3", "192.0.2.9"
	config := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct{ peer, header, client string }{
		{proxy, "", proxy},
		{proxy, "198.51.100.7", "198.51.100.7"},
		{proxy, "203.0.113.1, 198.51.100.7", "198.51.100.7"}, // the first is what the client says
		{proxy, "198.51.100.7, 10.9.9.9, fd00::1", "198.51.100.7"},
		{proxy, "198.51.100.7,10.9.9.9", "198.51.100.7"},
		{proxy, "2001:db8::1", "2001:db8::1"},
		{proxy, "::ffff:198.51.100.7", "198.51.100.7"},
		{proxy, "10.9.9.9", proxy},
		{proxy, "nonsense", proxy},
		{proxy, "198.51.100.7, nonsense", proxy},
		{"::ffff:10.1.2.3", "198.51.100.7", "198.51.100.7"},
		{stranger, "198.51.100.7", stranger},
	} {
		r := newTestRelay(t, 1, config)
		p := r.connect(0)
		p.from = netip.MustParseAddr(c.peer)
		p.bytes([]byte(strings.Replace(testHead, "Host: test\r\n", "Host: test\r\nX-Forwarded-For: "+c.header+"\r\n", 1)))
		if got := p.session.address(); got.String() != c.client {
			t.Errorf("%s saying %q is taken for %s, want %s", c.peer, c.header, got, c.client)
		}
		r.pass(5*time.Second, p) // what is kept for a while only must not be the address
		if got := p.session.address(); got.String() != c.client {
			t.Errorf("%s saying %q is taken for %s after a while", c.peer, c.header, got)
		}
	}
}

func TestRoomsMadeOverHTTPWaitForTheirHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		info, token, err := r.hub.CreateRoom(RoomOptions{Name: "Physics"})
		if err != nil || info.Host {
			t.Fatalf("created %+v, %v", info, err)
		}
		v, me := r.enters(1, info.Code, "")
		if me.Host {
			t.Errorf("joined as %s", me.text)
		}
		v.fails("host_away", `{"type":"message","data":1}`)
		r.sleep(10*time.Minute - time.Millisecond)
		host := r.dial(0)
		host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, info.Code, token)
		v.hears(hostBackText)
		r.sleep(time.Hour) // its host is there
		v.hears()
		host.reset() // from now on it has the grace of any room
		v.hears(hostLeftText)
		r.sleep(time.Minute)
		v.hears(`{"type":"closed","reason":"host_gone"}`, "close 4000")
	})
}

func TestRoomsMadeOverHTTPCloseWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{RoomIdle: 3 * time.Minute})
		info, token, err := r.hub.CreateRoom(RoomOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v, _ := r.enters(1, info.Code, "")
		r.sleep(3*time.Minute - time.Millisecond)
		v.hears()
		r.sleep(time.Millisecond)
		v.hears(`{"type":"closed","reason":"room_idle"}`, "close 4000")
		r.dial(0).fails("room_not_found", `{"type":"resume","code":"%s","token":"%s"}`, info.Code, token)
		checkCounts(t, r, 0, 0, 2)
	})
}

func TestRoomsMadeOverHTTPHaveTheSameLimits(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxRooms: 1, MaxName: 3, MaxViewers: 5})
	for name, o := range map[string]RoomOptions{
		"name": {Name: "äöüé"}, "max_viewers": {MaxViewers: 6},
	} {
		_, _, err := r.hub.CreateRoom(o)
		if wrong, ok := errors.AsType[*FieldError](err); !ok || wrong.Field != name {
			t.Errorf("%+v: %v", o, err)
		}
	}
	info, _, err := r.hub.CreateRoom(RoomOptions{Name: "äöü", MaxViewers: 5, Secret: "s"})
	if err != nil || info.MaxViewers != 5 {
		t.Fatalf("%+v, %v", info, err)
	}
	r.dial(0).fails("secret_required", `{"type":"join","code":"%s"}`, info.Code)
	if _, _, err := r.hub.CreateRoom(RoomOptions{}); !errors.Is(err, ErrTooManyRooms) {
		t.Errorf("one room too many: %v", err)
	}
	if !r.hub.DeleteRoom(info.Code) || r.hub.DeleteRoom(info.Code) {
		t.Error("a room is to be deleted once")
	}
	checkCounts(t, r, 0, 0, 1)
}

// TestShutdownSpreadsTheViewers: each is told another time to come back.
func TestShutdownSpreadsTheViewers(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, "")
	var all []*peer
	for range 200 {
		v, _ := r.enters(0, room.Code, "")
		all = append(all, v)
	}
	r.hub.Drain()
	times := make(map[int]bool)
	for _, p := range all {
		p.session.Shutdown()
		p.Flush()
		got := p.frames()
		var ms int
		if _, err := fmt.Sscanf(got[0], `{"type":"closed","reason":"shutdown","retry_ms":%d}`, &ms); err != nil || len(got) != 2 || got[1] != "close 1001" {
			t.Fatalf("heard %q", got)
		}
		times[ms] = true
	}
	if len(times) < 100 {
		t.Errorf("200 viewers were told %d different times", len(times))
	}
}
