package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

func TestBroadcastIsVerbatimInOrderAndNotEchoed(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	viewers := []*peer{r.viewer(0, code), r.viewer(1, strings.ToLower(code)[:0]+code)}
	said := []string{
		`{"type":"command","data":"/rep cartoon protein"}`,
		`{ "data" : {"a":[1,2,{"b":null}]} , "type" : "activate" }`,
		`{"type":"command","data":1e400,"extra":"\u00e9\ud83d\ude00é😀"}`,
		"{\"type\":\"command\",\r\n\t\"data\":false}",
		`{"type":"command","data":"` + strings.Repeat("x", 70_000) + `"}`,
	}
	for _, text := range said {
		host.say(text)
	}
	for _, v := range viewers {
		v.hears(said...)
	}
	host.hears()
}

func TestCodesMayBeTypedInLowerCase(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	v := r.dial(0)
	v.say(`{"type":"join","code":"` + strings.ToLower(code) + `"}`)
	v.hears(`{"type":"joined","code":"` + code + `"}`)
}

// TestFaults goes through everything that can be wrong with a message. The
// connection stays, and nothing of it reaches anybody.
func TestFaults(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	const viewerLimit = 1000
	cases := []struct {
		name, who, say string
		code, re, part string // part must be in the message
	}{
		{"broken", "host", `{"type":"command","data":}`, "bad_json", "", "byte 26"},
		{"empty", "host", ``, "bad_json", "", ""},
		{"two values", "host", `{"type":"command","data":1} {}`, "bad_json", "", ""},
		{"nan", "host", `{"type":"command","data":nan}`, "bad_json", "", ""},
		{"leading zero", "host", `{"type":"command","data":01}`, "bad_json", "", ""},
		{"control character", "host", "{\"type\":\"command\",\"data\":\"\x01\"}", "bad_json", "", ""},
		{"bad escape", "host", `{"type":"command","data":"\x41"}`, "bad_json", "", ""},
		{"100,000 brackets", "host", deep(100_000), "bad_json", "", ""},
		{"301 deep", "host", `{"type":"command","data":` + deep(300) + `}`, "bad_json", "", "300 deep"},
		{"array", "host", `[1]`, "bad_message", "", "object"},
		{"string", "host", `"create"`, "bad_message", "", "object"},
		{"null", "host", `null`, "bad_message", "", "object"},
		{"no type", "host", `{"data":1}`, "bad_message", "", `"type" is missing`},
		{"type a number", "host", `{"type":7}`, "bad_message", "", `"type" must be`},
		{"type twice", "host", `{"type":"command","data":1,"type":"close"}`, "bad_message", "command", `"type" is there more`},
		{"type twice, escaped", "host", `{"type":"command","data":1,"\u0074ype":"close"}`, "bad_message", "command", `"type" is there more`},
		{"data twice", "host", `{"type":"command","data":1,"data":2}`, "bad_message", "command", `"data" is there more`},
		{"seq twice", "viewer", `{"type":"join","seq":1,"seq":2}`, "bad_message", "join", `"seq" is there more`},
		{"no data", "host", `{"type":"command"}`, "bad_message", "command", `"data" is missing`},
		{"no data to activate", "host", `{"type":"activate"}`, "bad_message", "activate", `"data" is missing`},
		{"seq in a broadcast", "host", `{"type":"command","data":1,"seq":3}`, "bad_message", "command", `"seq"`},
		{"history without commands", "host", `{"type":"history"}`, "bad_message", "history", `"commands" is missing`},
		{"history with wrong commands", "host", `{"type":"history","commands":"all"}`, "bad_message", "history", `"commands" must be`},
		{"unknown type", "nobody", `{"type":"dance"}`, "unknown_type", "dance", ""},
		{"unknown type before membership", "viewer", `{"type":"Command","data":1}`, "unknown_type", "Command", ""},
		{"long unknown type", "nobody", `{"type":"` + strings.Repeat("d", 100) + `"}`, "unknown_type", "", ""},
		{"command outside", "nobody", `{"type":"command","data":1}`, "not_in_room", "command", ""},
		{"close outside", "nobody", `{"type":"close"}`, "not_in_room", "close", ""},
		{"history_request outside", "nobody", `{"type":"history_request"}`, "not_in_room", "history_request", ""},
		{"membership before fields", "nobody", `{"type":"command"}`, "not_in_room", "command", ""},
		{"command of a viewer", "viewer", `{"type":"command","data":1}`, "not_host", "command", ""},
		{"role before fields", "viewer", `{"type":"command"}`, "not_host", "command", ""},
		{"history of a viewer", "viewer", `{"type":"history","commands":[]}`, "not_host", "history", ""},
		{"close of a viewer", "viewer", `{"type":"close"}`, "not_host", "close", ""},
		{"history_request of a host", "host", `{"type":"history_request"}`, "is_host", "history_request", ""},
		{"create of a host", "host", `{"type":"create"}`, "already_in_room", "create", ""},
		{"create of a viewer", "viewer", `{"type":"create"}`, "already_in_room", "create", ""},
		{"join of a host", "host", `{"type":"join","code":"000000"}`, "already_in_room", "join", ""},
		{"join without code", "nobody", `{"type":"join"}`, "bad_message", "join", `"code" is missing`},
		{"join with a number", "nobody", `{"type":"join","code":123456}`, "bad_message", "join", `"code" must be`},
		{"join with a wrong flag", "nobody", `{"type":"join","code":"000000","history":1}`, "bad_message", "join", `"history" must be`},
		{"join with a short code", "nobody", `{"type":"join","code":"12"}`, "room_not_found", "join", ""},
		{"join with no code at all", "nobody", `{"type":"join","code":"café--"}`, "room_not_found", "join", ""},
		{"one byte too large", "viewer", `"` + strings.Repeat("x", viewerLimit-1) + `"`, "too_large", "", "1000 bytes"},
		{"largest", "viewer", `"` + strings.Repeat("x", viewerLimit-2) + `"`, "bad_message", "", "object"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{MaxViewerMessage: viewerLimit})
			host, code := r.host(0)
			peers := map[string]*peer{"host": host, "viewer": r.viewer(0, code), "nobody": r.dial(0)}
			speaker := peers[c.who]
			speaker.say(c.say)
			want := `{"type":"error","error":"` + c.code + `","message":"`
			r.run()
			got := speaker.frames()
			if len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Fatalf("heard %q, want %s", got, want)
			}
			if re := `"re":"` + c.re + `"`; strings.Contains(got[0], `"re":`) != (c.re != "") || c.re != "" && !strings.Contains(got[0], re) {
				t.Errorf("heard %s, want it to answer %q", got[0], c.re)
			}
			if !strings.Contains(strings.ReplaceAll(got[0], `\"`, `"`), c.part) {
				t.Errorf("heard %s, want it to name %q", got[0], c.part)
			}
			// The connection stays, and the others heard nothing.
			host.say(`{"type":"command","data":"next"}`)
			peers["viewer"].hears(`{"type":"command","data":"next"}`)
			host.hears()
			speaker.frame(ws.OpPing, "there?")
			speaker.hears("pong there?")
		})
	}
}

func TestNestingUpToTheLimitIsRelayed(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	text := `{"type":"command","data":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`
	host.say(text)
	v.hears(text)
}

func TestBinaryMessageIsRefused(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, _ := r.host(0)
	host.frame(ws.OpBinary, `{"type":"command","data":1}`)
	host.hears(`{"type":"error","error":"bad_message","message":"messages are JSON in text frames*`)
}

func TestSizeLimitGrowsWithTheRoleWithinOneChunk(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxViewerMessage: 100, MaxHostMessage: 10_000})
	p := r.dial(0)
	p.say(`{"type":"command","data":"` + strings.Repeat("x", 100) + `"}`)
	p.hears(`{"type":"error","error":"too_large"*`)
	both := newMasked(`{"type":"create"}`, `{"type":"command","data":"`+strings.Repeat("x", 9000)+`"}`)
	p.bytes(both)
	p.hears(`{"type":"created"*`)
}

func TestTooManyRooms(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxRooms: 2})
	first, _ := r.host(0)
	r.host(0)
	p := r.dial(0)
	p.say(`{"type":"create"}`)
	p.hears(`{"type":"error","error":"too_many_rooms"*`)
	first.say(`{"type":"close"}`)
	first.hears(`{"type":"closed","reason":"host_closed"}`)
	p.say(`{"type":"create"}`)
	p.hears(`{"type":"created"*`)
}

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

// checkCounts looks for ghosts.
func checkCounts(t *testing.T, r *testRelay, rooms int, viewers, connections int64) {
	t.Helper()
	s := r.hub.Stats()
	if s.Rooms != rooms || s.Viewers != viewers || s.Connections != connections || s.Stalled < 0 || s.Stalled > viewers {
		t.Errorf("%d rooms, %d viewers (%d stalled), %d connections; want %d, %d, %d",
			s.Rooms, s.Viewers, s.Stalled, s.Connections, rooms, viewers, connections)
	}
}

func TestASilentRoomHoldsNothing(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	v, slow := r.viewer(1, code), r.viewer(1, code)
	slow.room = 1000
	large := `{"type":"command","data":"` + strings.Repeat("x", 1<<20-100) + `"}`
	host.say(large)
	v.hears(large)
	r.pass(3*time.Second, host, v)
	if n := r.hub.Stats().LogBytes; n != 0 {
		t.Errorf("a silent room holds %d bytes", n)
	}
	host.say(`{"type":"command","data":2}`)
	v.hears(`{"type":"command","data":2}`)
	slow.drain(plenty)
	slow.hears(large, `{"type":"command","data":2}`)
}

func TestHostVanishing(t *testing.T) {
	for name, vanish := range map[string]func(*peer){
		"reset":          (*peer).reset,
		"close frame":    func(p *peer) { p.frame(ws.OpClose, "") },
		"protocol error": func(p *peer) { p.bytes([]byte{0x81, 0x00}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
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
			if s.room != nil || s.in != nil || s.out != nil || s.shake != nil || !s.cursor.IsZero() {
				t.Errorf("the session still holds %+v", s)
			}
			if s := r.hub.Stats(); s.Handshaking != 0 || s.Stalled != 0 {
				t.Errorf("%d handshaking, %d stalled", s.Handshaking, s.Stalled)
			}
		})
	}
}

func newMasked(texts ...string) (b []byte) {
	for _, text := range texts {
		b = appendMasked(b, text)
	}
	return b
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

// TestAnswersComeBeforeTheCloseFrame sends everything in one chunk.
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
	r.pass(20*time.Second, p)
	p.hears()
	p.frame(ws.OpPong, "")
	r.pass(27*time.Second, p)
	p.hears("ping ")
	r.pass(35*time.Second, p)
	p.hears(`{"type":"closed","reason":"idle"}`, "close 4102")
	r.pass(6*time.Second, p)
	if !p.gone {
		t.Error("the connection outlives the close timeout")
	}
}

func TestWhoIsNotReadFromIsNotIdleWhileItTakesBytes(t *testing.T) {
	r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour, MaxPrivate: 1000})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 0
	v.say(`{"type":"history_request"}`)
	host.hears(`{"type":"history_request"}`)
	history := `{"type":"history","commands":["` + strings.Repeat("x", 10_000) + `"]}`
	host.say(history)
	r.run()
	for range 40 { // 400 s
		if reading, _ := v.session.Wants(); reading {
			v.frame(ws.OpPong, "")
		}
		r.pass(10*time.Second, v)
		v.drain(300)
	}
	if got := v.frames(); v.session.phase != open || len(got) == 0 || got[0] != history {
		t.Errorf("phase %d, reason %s after %d messages", v.session.phase, v.session.reason, len(got))
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

func TestHistoryThroughTheHost(t *testing.T) {
	r := newTestRelay(t, 3, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	bystander := r.viewer(1, code)
	var asking []*peer
	for i := range 20 {
		asking = append(asking, r.viewer(i%3, code))
	}
	host.say(`{"type":"command","data":1}`)
	r.run()
	for i, p := range asking {
		p.say(`{"type":"history_request"}`)
		if i == 10 {
			host.say(`{"type":"command","data":2}`)
			r.run()
		}
	}
	host.hears(`{"type":"history_request"}`) // one, for all of them
	host.say(`{"type":"command","data":3}`)
	answer := ` {"type":"history", "commands":[1,2,3]}`
	host.say(answer)
	host.say(`{"type":"command","data":4}`)
	for i, p := range asking {
		if i > 10 { // these got 2 before they asked
			p.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`, answer, `{"type":"command","data":4}`)
		} else {
			p.hears(`{"type":"command","data":1}`, answer, `{"type":"command","data":4}`)
		}
	}
	bystander.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`, `{"type":"command","data":3}`, `{"type":"command","data":4}`)

	host.say(answer) // nobody waits for it
	bystander.hears()
	asking[0].say(`{"type":"history_request"}`)
	asking[0].hears(`{"type":"error","error":"too_fast"*`)
	host.hears()
	r.pass(11*time.Second, asking...)
	asking[0].say(`{"type":"history_request"}`)
	host.hears(`{"type":"history_request"}`)
}

func TestJoinWithHistoryHasNoOverlap(t *testing.T) {
	r := newTestRelay(t, 2, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	host.say(`{"type":"command","data":1}`)
	v := r.dial(1)
	v.say(`{"type":"join","code":"` + code + `","history":true}`)
	host.hears(`{"type":"history_request"}`)
	host.say(`{"type":"command","data":2}`)
	v.hears(`{"type":"joined","code":"` + code + `"}`)
	host.say(`{"type":"history","commands":[1,2]}`)
	host.say(`{"type":"command","data":3}`)
	v.hears(`{"type":"history","commands":[1,2]}`, `{"type":"command","data":3}`)
}

func TestHistoryTimeoutLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, code := r.host(0)
		v := r.viewer(1, code)
		v.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		host.say(`{"type":"command","data":1}`)
		v.hears()
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		v.hears()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		v.hears(`{"type":"error","error":"history_unavailable"*`, `{"type":"command","data":1}`)
		host.say(`{"type":"history","commands":[1]}`) // too late
		host.say(`{"type":"command","data":2}`)
		v.hears(`{"type":"command","data":2}`)
	})
}

func TestWhoWaitsForTheHistoryCannotAskForItAgain(t *testing.T) {
	r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour, HistoryEvery: time.Second})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.say(`{"type":"history_request"}`)
	r.pass(3 * time.Second)
	v.say(`{"type":"history_request"}`)
	v.hears(`{"type":"error","error":"too_fast"*`)
	host.hears(`{"type":"history_request"}`)
	host.say(`{"type":"history","commands":[]}`)
	host.say(`{"type":"command","data":1}`)
	v.hears(`{"type":"history","commands":[]}`, `{"type":"command","data":1}`)
}

func TestRoomThatClosesLetsTheParkedGo(t *testing.T) {
	r := newTestRelay(t, 2, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	v := r.viewer(1, code)
	v.say(`{"type":"history_request"}`)
	host.say(`{"type":"command","data":1}`)
	host.say(`{"type":"close"}`)
	v.hears(`{"type":"command","data":1}`, `{"type":"closed","reason":"host_closed"}`, "close 4000")
}

func TestHistoryReachesAViewerInTheMiddleOfAFrame(t *testing.T) {
	r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 20
	host.say(`{"type":"command","data":"a long first message"}`)
	host.say(`{"type":"command","data":2}`)
	r.run()
	v.say(`{"type":"history_request"}`)
	r.run()
	host.say(`{"type":"history","commands":[]}`)
	r.run()
	host.say(`{"type":"command","data":3}`)
	v.frame(ws.OpPing, "") // its answer overtakes the history, but not the rest of the frame
	v.drain(plenty)
	v.hears(`{"type":"command","data":"a long first message"}`, "pong ", `{"type":"history","commands":[]}`, `{"type":"command","data":3}`)
}

func TestHalfAFrameIsFinishedBeforeTheCloseFrame(t *testing.T) {
	for name, ask := range map[string]bool{"from the log": false, "after a history": true} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour})
			host, code := r.host(0)
			v := r.viewer(0, code)
			v.room = 20
			host.say(`{"type":"command","data":"a long first message"}`)
			host.say(`{"type":"command","data":2}`)
			r.run()
			if ask {
				v.say(`{"type":"history_request"}`)
				r.run()
				host.say(`{"type":"history","commands":[]}`)
				r.run()
			}
			v.frame(ws.OpClose, "\x03\xe8")
			v.drain(plenty)
			v.hears(`{"type":"command","data":"a long first message"}`, "close 1000")
		})
	}
}

func TestSlowViewerIsClosedAtTheFrameBoundary(t *testing.T) {
	const limit = 1 << 20
	r := newTestRelay(t, 1, Config{LagLimit: limit, MaxHostMessage: 1000})
	host, code := r.host(0)
	slow, fast := r.viewer(0, code), r.viewer(0, code)
	slow.room = 500
	text := func(i int) string {
		return fmt.Sprintf(`{"type":"command","data":"%d %s"}`, i, strings.Repeat("x", 900))
	}
	sent := 0
	for ; slow.session.phase == open && sent < 5000; sent++ {
		host.say(text(sent))
		fast.hears(text(sent))
	}
	if behind := sent * (len(text(0)) + 4); behind < limit || behind > limit+limit/lagScans+2000 {
		t.Errorf("closed when %d bytes behind, the limit is %d", behind, limit)
	}
	slow.drain(plenty)
	slow.hears(text(0), `{"type":"closed","reason":"too_slow"}`, "close 4100")
	if got := r.hub.Stats(); got.Viewers != 1 || got.Stalled != 0 {
		t.Errorf("%d viewers, %d stalled, want 1, 0", got.Viewers, got.Stalled)
	}
	if slow.session.shard != nil && !slow.session.cursor.IsZero() {
		t.Error("the closed viewer still holds on to the Log")
	}
}

// TestNobodyEscapesTheLagLimit is about viewers who take a byte now and then, so
// that they never stall, and never have had everything.
func TestNobodyEscapesTheLagLimit(t *testing.T) {
	const limit = 1 << 20
	for name, begin := range map[string]func(host, v *peer, code string){
		"a full socket at the join": func(_, v *peer, code string) {
			v.room = 0
			v.say(`{"type":"join","code":"` + code + `"}`)
		},
		"a history that does not come": func(host, v *peer, code string) {
			v.say(`{"type":"join","code":"` + code + `","history":true}`)
			host.say(`{"type":"command","data":"meanwhile"}`)
			v.room = 0
			time.Sleep(time.Minute)
			synctest.Wait()
		},
		"histories that do not come": func(host, v *peer, code string) {
			v.say(`{"type":"join","code":"` + code + `","history":true}`)
			v.room = 10
			for range 20 {
				host.say(`{"type":"command","data":"` + strings.Repeat("x", 90_000) + `"}`)
				time.Sleep(time.Minute)
				synctest.Wait()
				host.relay.pass(time.Minute)
				v.session.heard, v.session.took = v.session.shard.Now(), v.session.shard.Now()
				v.say(`{"type":"history_request"}`)
				host.relay.run()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTestRelay(t, 1, Config{LagLimit: limit, MaxHostMessage: 100_000})
				host, code := r.host(0)
				v := r.dial(0)
				begin(host, v, code)
				for range 60 {
					host.say(`{"type":"command","data":"` + strings.Repeat("x", 90_000) + `"}`)
					v.frame(ws.OpPong, "")
					v.drain(1)
					time.Sleep(time.Second)
					synctest.Wait()
					r.pass(time.Second, v)
				}
				if v.session.phase == open || v.session.reason != ReasonTooSlow {
					end := v.session.room.log.End()
					t.Errorf("still there, %d bytes behind; the limit is %d", end.Position()-v.session.cursor.Position(), limit)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestViewerWithinTheLagLimitGetsEverything(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 10
	var want []string
	for i := range 2000 {
		want = append(want, fmt.Sprintf(`{"type":"command","data":%d}`, i))
		host.say(want[i])
	}
	r.run()
	r.pass(29*time.Second, v)
	host.say(`{"type":"command","data":"more"}`)
	v.frame(ws.OpPong, "")
	v.drain(plenty)
	want = slices.Insert(want, 1, "ping ") // which may overtake
	v.hears(append(want, `{"type":"command","data":"more"}`)...)
}

// TestWhoWaitsForTheRelayIsNotTooSlow has a viewer's tick come before the sweep
// that would have sent it everything.
func TestWhoWaitsForTheRelayIsNotTooSlow(t *testing.T) {
	r := newTestRelay(t, 2, Config{LagLimit: 1 << 20, MaxHostMessage: 100_000})
	host, code := r.host(0)
	v := r.viewer(1, code)
	var want []string
	for i := range 15 {
		want = append(want, fmt.Sprintf(`{"type":"command","data":"%d %s"}`, i, strings.Repeat("x", 90_000)))
		host.say(want[i])
	}
	v.tick()
	if got := len(v.frames()); got != len(want) || v.session.phase != open {
		t.Errorf("heard %d messages of %d, phase %d", got, len(want), v.session.phase)
	}
}

func TestStalledViewerIsClosedInTime(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	r.pass(20*time.Second, v, host)
	v.room = 0
	host.say(`{"type":"command","data":1}`)
	r.run()
	r.pass(29*time.Second, v)
	if v.session.phase != open {
		t.Fatal("closed before the stall timeout")
	}
	r.pass(3*time.Second, v)
	if v.session.phase != closing || v.session.reason != ReasonTooSlow {
		t.Fatalf("phase %d, reason %s after the stall timeout", v.session.phase, v.session.reason)
	}
	r.pass(6*time.Second, v)
	if !v.gone {
		t.Error("the connection outlives the close timeout")
	}
}

func TestReadingStopsWhileAnswersWait(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxPrivate: 1000})
	p := r.dial(0)
	p.room = 0
	for range 20 {
		p.say(`{"type":"dance"}`)
	}
	if reading, writing := p.session.Wants(); reading || !writing {
		t.Error("more is read although the answers are not")
	}
	p.drain(plenty)
	if reading, _ := p.session.Wants(); !reading {
		t.Error("nothing is read although the answers went out")
	}
	if got := len(p.frames()); got != 20 {
		t.Errorf("%d answers to 20 messages", got)
	}
}

func TestOnlyTheLatestPingWaitsForItsAnswer(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	p.room = 1
	for i := range 1000 {
		p.frame(ws.OpPing, fmt.Sprint(i))
	}
	p.drain(plenty)
	p.hears("pong 0", "pong 999")
}

func TestPongAndErrorOvertakeBroadcasts(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 5
	for i := range 3 {
		host.say(fmt.Sprintf(`{"type":"command","data":%d}`, i))
	}
	r.run()
	v.frame(ws.OpPing, "now")
	v.say(`{"type":"dance"}`)
	v.drain(plenty)
	v.hears(`{"type":"command","data":0}`, "pong now", `{"type":"error","error":"unknown_type"*`, `{"type":"command","data":1}`, `{"type":"command","data":2}`)
}
