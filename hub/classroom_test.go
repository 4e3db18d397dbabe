package hub

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"lectern/hub/strictjson"
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
	v.hears(`{"type":"joined","code":"` + code + `",*`)
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
	text := `{"type":"command","data":` + strings.Repeat("[", strictjson.MaxDepth-1) + strings.Repeat("]", strictjson.MaxDepth-1) + `}`
	host.say(text)
	v.hears(text)
	host.say(`{"type":"command","data":[` + strings.Repeat("[", strictjson.MaxDepth-1) + strings.Repeat("]", strictjson.MaxDepth-1) + `]}`)
	host.hears(`{"type":"error","error":"bad_json","message":"the message is nested more than 300 deep"}`)
}

func TestAnErrorRepeatsTheMessagesRef(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	for say, ref := range map[string]string{
		`{"type":"leave","ref":7}`:                                 `,"ref":7}`,
		`{"type":"leave","ref":"a\u0062"}`:                         `,"ref":"a\u0062"}`,
		`{"ref":{"n":[1, 2]},"type":"join"}`:                       `,"ref":{"n":[1,2]}}`,
		`{"ref":1,"type":"nothing"}`:                               `,"ref":1}`,
		`{"ref":1}`:                                                `,"ref":1}`,
		`{"type":"leave","ref":"` + strings.Repeat("x", 62) + `"}`: `,"ref":"` + strings.Repeat("x", 62) + `"}`,
		`{"type":"leave","ref":"` + strings.Repeat("x", 63) + `"}`: `"re":"leave"}`, // over 64 bytes
		`{"type":"leave"}`:                                         `"re":"leave"}`,
		`{"type":"leave","ref":1,"data":`:                          `at byte 32"}`, // what is no JSON has none
	} {
		p.say(say)
		r.run()
		if got := p.frames(); len(got) != 1 || !strings.HasSuffix(got[0], ref) {
			t.Errorf("%s was answered with %q, want it to end in %s", say, got, ref)
		}
	}
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

// checkCounts looks for ghosts.

func newMasked(texts ...string) (b []byte) {
	for _, text := range texts {
		b = appendMasked(b, text)
	}
	return b
}

// TestAnswersComeBeforeTheCloseFrame sends everything in one chunk.

// TestNobodyEscapesTheLagLimit is about viewers who take a byte now and then, so

// that they never stall, and never have had everything.

// TestWhoWaitsForTheRelayIsNotTooSlow has a viewer's tick come before the sweep

// that would have sent it everything.
