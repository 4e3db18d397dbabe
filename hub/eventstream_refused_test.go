package hub

import (
	"net/netip"
	"strings"
	"testing"

	"lectern/hub/budget"
)

func TestRequestsForEventStreamsThatAreRefused(t *testing.T) {
	config := Config{MaxName: 8, AllowOrigins: []string{"https://school.example"}}
	for name, c := range map[string]struct {
		code, query, head string // code is the room's if it is empty
		status            int
		error             string
	}{
		"unknown room":            {"ZZZZ-ZZZZ", "", "", 404, "room_not_found"},
		"no code":                 {"%00", "", "", 404, "room_not_found"},
		"wrong token":             {"", "", "Authorization: Bearer nothing\r\n", 403, "bad_token"},
		"other scheme":            {"", "", "Authorization: Basic eDp5\r\n", 400, "bad_message"},
		"long name":               {"", "name=123456789", "", 400, "bad_message"},
		"name is not UTF-8":       {"", "name=%ff", "", 400, "bad_message"},
		"history":                 {"", "history=maybe", "", 400, "bad_message"},
		"twice":                   {"", "name=a&name=b", "", 400, "bad_message"},
		"broken query":            {"", "name=%zz", "", 400, "bad_message"},
		"long query":              {"", strings.Repeat("a&", 1100), "", 400, "bad_message"},
		"id":                      {"", "", "Last-Event-ID: 7\r\n", 400, "bad_message"},
		"negative id":             {"", "last_event_id=0123456789ab--1", "", 400, "bad_message"},
		"long id":                 {"", "", "Last-Event-ID: " + strings.Repeat("a", 40) + "-1\r\n", 400, "bad_message"},
		"ended":                   {"", "", "Last-Event-ID: ended\r\n", 204, ""},
		"body":                    {"", "", "Content-Length: 2\r\n\r\n{}", 400, "bad_message"},
		"chunks":                  {"", "", "Transfer-Encoding: chunked\r\n", 400, "bad_message"},
		"two origins":             {"", "", "Origin: https://school.example\r\nOrigin: https://school.example\r\n", 400, "bad_message"},
		"two tokens":              {"", "", "Authorization: Bearer a\r\nauthorization: Bearer b\r\n", 400, "bad_message"},
		"two places":              {"", "", "Last-Event-ID: a-1\r\nLast-Event-ID: a-2\r\n", 400, "bad_message"},
		"two hosts":               {"", "", "Host: other\r\n", 400, "bad_message"},
		"another page":            {"", "", "Origin: https://evil.example\r\n", 403, "origin_not_allowed"},
		"wrong secret of no room": {"ZZZZ-ZZZZ-x", "", "", 404, "room_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, config)
			_, code := r.host(0)
			if c.code != "" {
				code = c.code
			}
			request := streamRequest("CODE", c.query, c.head)
			status, p := r.ask(strings.Replace(request, "CODE", code, 1))
			if body := string(p.stream.body); status != c.status || !strings.Contains(body, `"error":"`+c.error+`"`) && status != 204 {
				t.Errorf("answered with %d and %s", status, body)
			}
			if p.stream.header.Get("Access-Control-Allow-Origin") != "" || !p.ended {
				t.Errorf("%q, ended %t", p.stream.head, p.ended)
			}
			p.reset()
			if s := r.hub.Stats(); s.Connections != 1 || s.Open != 1 || s.Streams != 0 || r.hub.budget.Used(budget.Heads)+r.hub.budget.Used(budget.Answers) != 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}

func TestEventStreamForAPage(t *testing.T) {
	r := newTestRelay(t, 1, Config{AllowOrigins: []string{"https://school.example"}})
	_, code := r.host(0)
	for _, c := range []string{code, "ZZZZ-ZZZZ"} { // a script may read a refusal, too
		_, p := r.ask(streamRequest(c, "", "Origin: https://school.example\r\n"))
		if h := p.stream.header; h.Get("Access-Control-Allow-Origin") != "https://school.example" || h.Get("Vary") != "Origin" {
			t.Errorf("%q", p.stream.head)
		}
	}
}

// TestPagesCannotTryCodesForTheirVisitors embeds event streams, as images, in pages of other
// sites. Browsers send no Origin for them.
func TestPagesCannotTryCodesForTheirVisitors(t *testing.T) {
	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200} {
		for _, query := range []string{"", "wait=5s"} {
			r := newTestRelay(t, 1, Config{HexCodes: true})
			_, code := r.host(0)
			head := "Sec-Fetch-Site: " + site + "\r\nSec-Fetch-Mode: no-cors\r\n"
			for n := range 40 {
				if want == 403 {
					_, p := r.ask(streamRequest(r.wrongCode(n), query, head))
					p.reset()
				}
			}
			if status, _ := r.ask(streamRequest(code, query, head)); status != want {
				t.Errorf("%s %s: answered %d", site, query, status)
			}
			w := r.dial(0)
			w.say(`{"type":"join","code":"` + code + `"}`)
			w.hears(`{"type":"joined",*`)
		}
	}
}

// TestLimitsOfEventStreams asks for one stream more than each limit allows.
func TestLimitsOfEventStreams(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		status int
		error  string
	}{
		"connections":             {Config{MaxConnections: 2}, 503, "server_full"},
		"connections per address": {Config{MaxConnectionsPerAddress: 2}, 503, "server_full"},
		"viewers":                 {Config{MaxViewers: 1}, 503, "room_full"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, c.config)
			_, code := r.host(0)
			r.streamViewer(0, code)
			for range 3 { // what is refused takes no place
				status, p := r.ask(streamRequest(code, "", ""))
				if status != c.status || !strings.Contains(string(p.stream.body), c.error) || p.stream.header.Get("Retry-After") == "" {
					t.Fatalf("answered with %d and %q", status, p.stream.body)
				}
			}
			if s := r.hub.Stats(); s.Open != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestEventStreamsCountWrongCodes guesses over event streams until no code from the
// address is looked at.
func TestEventStreamsCountWrongCodes(t *testing.T) {
	r := newTestRelay(t, 1, Config{HexCodes: true})
	_, code := r.host(0)
	statuses := make(map[int]int)
	for n := range 40 {
		status, p := r.ask(streamRequest(r.wrongCode(n), "", ""))
		statuses[status]++
		p.reset()
	}
	if statuses[404] != 20 || statuses[429] != 20 {
		t.Fatalf("answered with %v", statuses)
	}
	status, p := r.ask(streamRequest(code, "", ""))
	if status != 429 || p.stream.header.Get("Retry-After") == "" || !strings.Contains(string(p.stream.body), `"retry_ms":`) {
		t.Errorf("a right code is answered with %d, %q %q", status, p.stream.head, p.stream.body)
	}
	w := r.dial(0)
	w.say(`{"type":"join","code":"` + code + `"}`) // the limit is the same
	w.hears(`{"type":"error","error":"too_many_attempts",*`)
}

// TestRefusedEventStreamsLingerLikeOthers sends more wrong requests than connections
// may linger.
func TestRefusedEventStreamsLingerLikeOthers(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	r.host(0)
	for n := range 3 * maxLingering {
		r.ask(streamRequest(r.wrongCode(n), "", ""))
	}
	if s := r.hub.Stats(); s.Connections > maxLingering+2 {
		t.Errorf("%d connections are kept", s.Connections)
	}
}

// TestWebSocketAtThePathOfEventStreams is refused.
func TestWebSocketAtThePathOfEventStreams(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.connect(0)
	p.bytes([]byte(strings.Replace(testHead, " / ", " /v1/rooms/K7QM-2XHD/events ", 1)))
	if !strings.HasPrefix(string(p.wire), "HTTP/1.1 404 ") {
		t.Errorf("answered with %.100q", p.wire)
	}
}

// TestConnectionsThatAreGoneAreUncounted has peers without an address: they have gone
// before their requests are looked at.
func TestConnectionsThatAreGoneAreUncounted(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	for _, request := range []string{testHead, streamRequest(code, "", ""), streamRequest("ZZZZ-ZZZZ", "", "")} {
		p := r.connect(0)
		p.from = netip.Addr{}
		p.bytes([]byte(request))
		p.reset()
		if s := r.hub.Stats(); s.Open != 1 || s.Connections != 1 || s.Streams != 0 {
			t.Errorf("after %.20q: %+v", request, s)
		}
	}
}
