package hub

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// streamViewer returns a peer that reads the room's event stream.
func (r *testRelay) streamViewer(worker int, code string) *peer {
	r.t.Helper()
	p := r.dialStream(worker, clientAddresses[0])
	p.say(`{"type":"join","code":"` + code + `"}`)
	p.hears(`{"type":"joined","code":"` + code + `",*`)
	return p
}

// ask sends a request for an event stream and returns its status and what was answered.
func (r *testRelay) ask(request string) (status int, p *peer) {
	r.t.Helper()
	p = r.dialStream(0, clientAddresses[0])
	p.bytes([]byte(request))
	r.run()
	for _, c := range p.wire {
		p.stream.feed(c)
	}
	p.wire = nil
	p.stream.ready = slices.DeleteFunc(p.stream.ready, func(e streamEvent) bool { return e.kind == "viewers" }) // comes in its own time
	return p.stream.status, p
}

func TestEventStreamOfALecture(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	v := r.streamViewer(1, strings.ToUpper(code))
	if h := v.stream.header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store, no-transform" || h.Get("X-Accel-Buffering") != "no" || h.Get("Connection") != "close" || h.Get("Content-Length") != "" {
		t.Errorf("the response begins %q", v.stream.head)
	}
	if v.stream.silence < 2 || v.stream.retry == "" {
		t.Errorf("after %d comments, retry is %q", v.stream.silence, v.stream.retry)
	}
	host.say(`{"type":"command","data":1}`)
	host.say("{\"type\":\"activate\",\r\n\t\"data\":[2,\n3]}")
	host.say(`{"type":"message","to":1,"data":"only you"}`)
	v.hears(`{"seq":1,"type":"command","data":1}`, `{"seq":2,"type":"activate",  	"data":[2, 3]}`, `{"type":"message","from":"host","data":"only you"}`)
	if want := host.session.room.epoch + "-2"; v.stream.last != want { // a message for one viewer has no id
		t.Errorf("the last id is %q, want %q", v.stream.last, want)
	}
	if s := r.hub.Stats(); s.Streams != 1 || s.Open != 2 || s.Viewers != 1 {
		t.Errorf("%+v", s)
	}
	host.say(`{"type":"kick","id":1}`)
	v.hears(`{"type":"closed","reason":"kicked"}`, "close 4002")
	if v.stream.last != responseEnded || !v.ended {
		t.Error("the response goes on")
	}
	v.reset()
	if s := r.hub.Stats(); s.Streams != 0 || s.Open != 1 || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
}

// TestEventStreamsThatEndForGood has browsers reconnect with the id of the last event
// after the response has ended.
func TestEventStreamsThatEndForGood(t *testing.T) {
	for name, end := range map[string]struct {
		how   func(host *peer)
		final bool
	}{
		"kicked":   {func(host *peer) { host.say(`{"type":"kick","id":1}`) }, true},
		"closed":   {func(host *peer) { host.say(`{"type":"close"}`) }, true},
		"shutdown": {func(host *peer) { host.relay.hub.Drain() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			host, code := r.host(0)
			v := r.streamViewer(0, code)
			end.how(host)
			if r.hub.Draining() {
				v.session.Shutdown()
				v.Flush()
			}
			r.run()
			for _, c := range v.wire {
				v.stream.feed(c)
			}
			last := v.stream.last
			if (last == "ended") != end.final {
				t.Fatalf("the last id is %q", last)
			}
			if !end.final {
				return
			}
			if status, p := r.ask(streamRequest(code, "", "Last-Event-ID: "+last+"\r\n")); status != 204 || len(p.stream.body) > 0 {
				t.Errorf("reconnecting is answered with %d and %q", status, p.stream.body)
			}
		})
	}
}

func TestEventStreamsOfADrainingRelay(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	r.hub.Drain()
	silent := r.connect(0)
	silent.session.Shutdown() // the transport does so with newcomers
	r.pass(time.Second, silent)
	if len(silent.wire) > 0 || !silent.gone {
		t.Errorf("a connection without a request gets %.100q", silent.wire)
	}
	newcomer := r.dialStream(0, clientAddresses[0])
	newcomer.session.Shutdown()
	newcomer.bytes([]byte(streamRequest(code, "", "")))
	if !strings.HasPrefix(string(newcomer.wire), "HTTP/1.1 200 ") {
		t.Errorf("a newcomer gets %.100q", newcomer.wire)
	}
	status, p := r.ask(streamRequest(code, "", ""))
	if all := p.stream.ready; status != 200 || len(all) != 1 || !strings.HasPrefix(all[0].data, `{"type":"closed","reason":"shutdown","retry_ms":`) || !p.ended {
		t.Errorf("%d, then %v, ended %t", status, p.stream.ready, p.ended)
	}
}

// TestEventStreamInManyPieces sends the request byte by byte, and cuts the response at
// every byte. Whatever was complete, the client comes back with its id and gets the rest.
func TestEventStreamInManyPieces(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	whole := r.dialStream(0, clientAddresses[0])
	for _, c := range []byte(streamRequest(code, "", "")) {
		whole.bytes([]byte{c})
	}
	for n := range 5 {
		host.say(fmt.Sprintf(`{"type":"command","data":%d}`, n))
	}
	r.run()
	response := string(whole.wire)
	whole.reset()
	from := strings.Index(response, "\r\n\r\n") + 4 + 2000 // most of the padding is alike
	for cut := from; cut <= len(response); cut++ {
		var first eventReader
		for _, c := range []byte(response[:cut]) {
			first.feed(c)
		}
		if first.last == "" {
			continue // a browser knows nothing then
		}
		_, p := r.ask(streamRequest(code, "", "Last-Event-ID: "+first.last+"\r\n"))
		var got []string
		for _, e := range append(first.ready, p.stream.ready...) {
			if e.kind == "command" {
				got = append(got, e.data)
			}
		}
		if want := `{"type":"command","data":0} {"type":"command","data":1} {"type":"command","data":2} {"type":"command","data":3} {"type":"command","data":4}`; strings.Join(got, " ") != want {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		if joined := p.stream.ready[0].data; !strings.Contains(joined, `"recovered":true`) {
			t.Fatal(joined)
		}
		p.reset()
	}
}

// TestReconnectingBrowserNeedsNoHistory has a browser reconnect with the query of its
// first request, which asked for the history.
func TestReconnectingBrowserNeedsNoHistory(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host := r.dial(0)
	host.say(`{"type":"create","history":"relay"}`)
	r.run()
	code := host.session.room.code.String()
	host.say(`{"type":"command","data":1}`)
	_, p := r.ask(streamRequest(code, "history=true", ""))
	if all := p.stream.ready; len(all) != 2 || all[1].kind != "history" {
		t.Fatalf("read %v", all)
	}
	last := p.stream.last
	p.reset()
	host.say(`{"type":"command","data":2}`)
	_, p = r.ask(streamRequest(code, "history=true", "Last-Event-ID: "+last+"\r\n"))
	if all := p.stream.ready; len(all) != 2 || all[1].data != `{"type":"command","data":2}` {
		t.Fatalf("read %v", all)
	}
	p.reset()
	_, p = r.ask(streamRequest(code, "history=true", "Last-Event-ID: 0123456789ab-1\r\n"))
	if all := p.stream.ready; len(all) < 2 || all[1].kind != "history" || !strings.Contains(all[0].data, `"recovered":false`) {
		t.Fatalf("read %v", all)
	}
}

// TestNothingComesBeforeTheHead has a viewer do what queues frames at once, while its
// socket takes nothing.
func TestNothingComesBeforeTheHead(t *testing.T) {
	for name, act := range map[string]func(host, v *peer){
		"kick":     func(host, v *peer) { host.say(`{"type":"kick","id":1}`) },
		"close":    func(host, v *peer) { host.say(`{"type":"close"}`) },
		"shutdown": func(_, v *peer) { v.session.Shutdown() },
		"direct":   func(host, v *peer) { host.say(`{"type":"message","to":1,"data":1}`) },
		"host": func(host, v *peer) {
			host.say(`{"type":"grant_host","id":1}`)
			host.relay.run()
			host.say(`{"type":"leave"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 2, Config{})
			host, code := r.host(0)
			v := r.dialStream(1, clientAddresses[0])
			v.room = 0
			v.bytes([]byte(streamRequest(code, "history=true", "")))
			r.run()
			act(host, v)
			r.run()
			v.drain(plenty)
			if !strings.HasPrefix(string(v.wire), "HTTP/1.1 200 OK\r\n") || strings.Count(string(v.wire), "HTTP/1.1") != 1 {
				t.Errorf("%.100q", v.wire)
			}
		})
	}
}

// TestEventStreamAsHost makes a viewer the host, and then takes its place from it.
func TestEventStreamAsHost(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	token := host.hostToken()
	v, other := r.streamViewer(1, code), r.viewer(0, code)
	host.say(`{"type":"grant_host","id":1}`)
	v.hears(`{"type":"host","code":"` + code + `",*`)
	other.frames()
	other.say(`{"type":"message","data":"hello"}`)
	v.hears(`{"type":"message","from":2,"data":"hello"}`)
	other.say(`{"type":"history_request"}`)
	v.hears(`{"type":"history_request"}`)
	again := r.dial(0) // it has not spoken, so that the former host's token counts still
	again.say(`{"type":"resume","code":"` + code + `","token":"` + token + `"}`)
	again.hears(`{"type":"created",*`, `{"type":"history_request"}`)
	r.run()
	if got := v.frames(); len(got) == 0 || got[len(got)-1] != "close 4003" {
		t.Errorf("heard %q", got)
	}
}

// TestEventStreamOfASleepingRoom asks for a room that is on disk.
func TestEventStreamOfASleepingRoom(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *testRelay, p *peer, code string)
		want string
	}{
		"lost":     {func(r *testRelay, _ *peer, code string) { r.hub.Lost(code) }, "HTTP/1.1 404 "},
		"shutdown": {func(_ *testRelay, p *peer, _ string) { p.session.Shutdown(); p.Flush() }, "HTTP/1.1 200 "},
		"reset":    {func(_ *testRelay, p *peer, _ string) { p.reset() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			const code = "K7QM-2XHD"
			wanted := ""
			r.hub.Persist(keptStore{codes: []string{code}, want: func(code string) { wanted = code }})
			p := r.dialStream(0, netip.MustParseAddr("192.0.2.1"))
			p.bytes([]byte(streamRequest(code, "", "")))
			r.run()
			if wanted != code || len(p.wire) > 0 {
				t.Fatalf("%q was wanted, and %q answered", wanted, p.wire)
			}
			c.end(r, p, code)
			r.run()
			if !strings.HasPrefix(string(p.wire), c.want) || c.want == "" && len(p.wire) > 0 {
				t.Errorf("answered with %.100q", p.wire)
			}
			p.reset()
			if s := r.hub.Stats(); s.Connections != 0 || s.Streams != 0 || s.Open != 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}
