package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestServerFullIsSaidInBand(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxConnections: 2})
	r.dial(0)
	second := r.dial(0)
	third := r.connect(0)
	third.bytes([]byte(testHead))
	third.wire = third.wire[strings.Index(string(third.wire), "\r\n\r\n")+4:]
	third.hears(`{"type":"error","error":"server_full"*`, `{"type":"closed","reason":"server_full"}`, "close 1013")
	third.frame(ws.OpClose, "\x03\xf5")
	if !third.gone {
		t.Error("the connection stays after its close frame")
	}
	second.reset()
	r.dial(0)
}

func TestHostsCloseEndsTheRoomAndKeepsTheHost(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	viewers := []*peer{r.viewer(0, code), r.viewer(1, code)}
	host.say(`{"type":"command","data":"last"}`)
	host.say(`{"type":"close"}`)
	for _, v := range viewers {
		v.hears(`{"type":"command","data":"last"}`, `{"type":"closed","reason":"host_closed"}`, "close 4000")
		v.frame(ws.OpClose, "\x0f\xa0")
		if !v.gone {
			t.Error("the connection stays after the closing handshake")
		}
	}
	host.hears(`{"type":"closed","reason":"host_closed"}`)
	late := r.dial(0)
	late.say(`{"type":"join","code":"` + code + `"}`)
	late.hears(`{"type":"error","error":"room_not_found"*`)
	host.say(`{"type":"create"}`)
	host.hears(`{"type":"created"*`)
	checkCounts(t, r, 1, 0, 2)
}

func checkCounts(t *testing.T, r *testRelay, rooms int, viewers, connections int64) {
	t.Helper()
	s := r.hub.Stats()
	if s.Rooms != rooms || s.Viewers != viewers || s.Connections != connections || s.Stalled < 0 || s.Stalled > viewers {
		t.Errorf("%d rooms, %d viewers (%d stalled), %d connections; want %d, %d, %d",
			s.Rooms, s.Viewers, s.Stalled, s.Connections, rooms, viewers, connections)
	}
}

func TestHostVanishing(t *testing.T) {
	for name, vanish := range map[string]func(*peer){
		"reset":          (*peer).reset,
		"close frame":    func(p *peer) { p.frame(ws.OpClose, "") },
		"protocol error": func(p *peer) { p.bytes([]byte{0x81, 0x00}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{HostGrace: -1})
			host, code := r.host(0)
			v := r.viewer(0, code)
			host.say(`{"type":"command","data":"last"}`)
			vanish(host)
			v.hears(`{"type":"command","data":"last"}`, `{"type":"closed","reason":"host_gone"}`, "close 4000")
			v.reset()
			host.reset()
			r.run()
			checkCounts(t, r, 0, 0, 0)
		})
	}
}

func TestResetInEveryPhaseLeavesNoGhost(t *testing.T) {
	phases := map[string]func(*testRelay, string) *peer{
		"connected":    func(r *testRelay, _ string) *peer { return r.connect(1) },
		"half a head":  func(r *testRelay, _ string) *peer { p := r.connect(1); p.bytes([]byte(testHead[:40])); return p },
		"open":         func(r *testRelay, _ string) *peer { return r.dial(1) },
		"half a frame": func(r *testRelay, _ string) *peer { p := r.dial(1); p.bytes([]byte{0x81}); return p },
		"half a message": func(r *testRelay, _ string) *peer {
			p := r.dial(1)
			p.bytes(newMasked(`{"type":"create"}`)[:9])
			return p
		},
		"viewer": func(r *testRelay, code string) *peer { return r.viewer(1, code) },
		"parked": func(r *testRelay, code string) *peer {
			p := r.viewer(1, code)
			p.say(`{"type":"history_request"}`)
			return p
		},
		"stalled": func(r *testRelay, code string) *peer { p := r.viewer(1, code); p.room = 3; return p },
		"closing": func(r *testRelay, code string) *peer { p := r.viewer(1, code); p.session.end(ReasonIdle); return p },
		"failed":  func(r *testRelay, _ string) *peer { p := r.dial(1); p.bytes([]byte{0xff, 0xff}); return p },
		"refused": func(r *testRelay, _ string) *peer { p := r.connect(1); p.bytes([]byte("\x16\x03\x01")); return p },
		"peer has closed": func(r *testRelay, code string) *peer {
			p := r.viewer(1, code)
			p.room = 0
			p.frame(ws.OpClose, "")
			return p
		},
	}
	for name, reach := range phases {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 2, Config{})
			host, code := r.host(0)
			p := reach(r, code)
			host.say(`{"type":"command","data":"x"}`)
			r.run()
			p.reset()
			host.say(`{"type":"command","data":"y"}`)
			r.run()
			checkCounts(t, r, 1, 0, 1)
			s := p.session
			if s.room != nil || s.out != nil || s.more != nil || !s.cursor.IsZero() {
				t.Errorf("the session still holds %+v", s)
			}
			if s := r.hub.Stats(); s.Handshaking != 0 || s.Stalled != 0 {
				t.Errorf("%d handshaking, %d stalled", s.Handshaking, s.Stalled)
			}
		})
	}
}

func TestCloseHandshake(t *testing.T) {
	for name, c := range map[string]struct{ payload, answer string }{
		"empty":    {"", "close 1005"},
		"normal":   {"\x03\xe8bye", "close 1000"},
		"own code": {"\x0f\xa7", "close 4007"},
		"1013":     {"\x03\xf5", "close 1013"},
		"1005":     {"\x03\xed", "close 1002"},
		"bad utf8": {"\x03\xe8\xff", "close 1007"},
		"one byte": {"\x03", "close 1002"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			p := r.dial(0)
			p.bytes(append(appendFrameMasked(nil, ws.OpClose, c.payload), newMasked(`{"type":"create"}`)...))
			p.hears(c.answer)
			if !p.gone && !p.ended {
				t.Error("the connection stays")
			}
		})
	}
}

func TestAnswersComeBeforeTheCloseFrame(t *testing.T) {
	for name, c := range map[string]struct {
		last   []byte
		answer string
	}{
		"close frame":    {appendFrameMasked(nil, ws.OpClose, "\x03\xe8"), "close 1000"},
		"protocol error": {[]byte{0x81, 0x00}, "close 1002"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			p := r.connect(0)
			all := append([]byte(testHead), newMasked(`{"type":"dance"}`)...)
			all = appendFrameMasked(all, ws.OpPing, "there?")
			p.bytes(append(all, c.last...))
			head, rest, _ := strings.Cut(string(p.wire), "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Fatalf("the handshake was answered %q", head)
			}
			p.wire = []byte(rest)
			p.hears(`{"type":"error","error":"unknown_type"*`, "pong there?", c.answer)
		})
	}
}

func TestKeepalive(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	r.pass(25*time.Second, p)
	p.hears()
	r.pass(2*time.Second, p)
	p.hears("ping ")
	r.pass(10*time.Second, p)
	p.hears()
	p.frame(ws.OpPong, "")
	r.pass(27*time.Second, p)
	p.hears("ping ", "ping ") // the first when 25 s had passed without sending it anything
	r.pass(36*time.Second, p)
	p.hears("ping ", "ping ", `{"type":"closed","reason":"idle"}`, "close 4102")
	r.pass(6*time.Second, p)
	if !p.gone {
		t.Error("the connection outlives the close timeout")
	}
}

func TestHandshakeTimeout(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	silent, slow := r.connect(0), r.connect(0)
	for i := range 12 {
		slow.bytes([]byte(testHead[i : i+1]))
		r.pass(time.Second, silent, slow)
	}
	for _, p := range []*peer{silent, slow} {
		if !strings.HasPrefix(string(p.wire), "HTTP/1.1 408 ") {
			t.Errorf("answered %q", p.wire)
		}
	}
	r.pass(6*time.Second, silent, slow)
	checkCounts(t, r, 0, 0, 0)
	if got := r.hub.Stats().Closes[ReasonHandshakeSlow]; got != 2 {
		t.Errorf("%d counted as slow, want 2", got)
	}
}

func TestShutdownTellsWhenToComeBack(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v, early := r.viewer(0, code), r.connect(0)
	early.bytes([]byte(testHead[:60]))
	host.say(`{"type":"command","data":"last"}`)
	r.hub.Drain()
	for _, p := range []*peer{host, v, early} {
		p.session.Shutdown()
		p.Flush()
	}
	host.frame(ws.OpClose, "\x03\xe9")
	host.hears(`{"type":"closed","reason":"shutdown","retry_ms":*`, "close 1001")
	v.hears(`{"type":"command","data":"last"}`, `{"type":"closed","reason":"shutdown","retry_ms":*`, "close 1001")
	if !strings.HasPrefix(string(early.wire), "HTTP/1.1 503 ") {
		t.Errorf("the handshake was answered %q", early.wire)
	}
}

func TestUpgradeWhileDrainingIsCounted(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	late := r.connect(0)
	r.hub.Drain()
	late.bytes([]byte(testHead))
	if got := r.hub.Stats().Open; got != 1 {
		t.Errorf("%d are open while one is told that the relay ends", got)
	}
	late.reset()
	if got := r.hub.Stats(); got.Open != 0 || got.Connections != 0 {
		t.Errorf("%d are open of %d when nobody is there", got.Open, got.Connections)
	}
}

func TestRoomOfAVanishedHostSaysShutdownWhileDraining(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	r.hub.Drain()
	host.reset()
	v.hears(`{"type":"closed","reason":"shutdown","retry_ms":*`, "close 1001")
}
