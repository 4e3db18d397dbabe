package hub

import (
	"fmt"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/budget"
)

// from is the address of the clients without sockets.
var fromHome = netip.MustParseAddr("192.0.2.7")

// posted runs what begin begins, and returns its result.
func (r *testRelay) posted(begin func(done func(Result))) (result Result) {
	r.t.Helper()
	came := false
	begin(func(got Result) { result, came = got, true })
	r.run()
	if !came {
		r.t.Fatal("a POST was not answered")
	}
	return result
}

// joins has a client join by POST.
func (r *testRelay) joins(e JoinRequest) Result {
	r.t.Helper()
	return r.posted(func(done func(Result)) {
		r.hub.openStanding(fromHome, func(s *Session) { s.enterBy(e) }, done)
	})
}

// hosts has a client create or resume a room by POST.
func (r *testRelay) hosts(message string) Result {
	r.t.Helper()
	return r.posted(func(done func(Result)) {
		r.hub.openStanding(fromHome, func(s *Session) { s.handlePosted([]byte(message)) }, done)
	})
}

// posts sends a message by POST.
func (r *testRelay) posts(code, token, message string) Result {
	r.t.Helper()
	to, f, err := r.hub.FindAddressee(r.t.Context(), fromHome, code, token)
	if err != nil {
		r.t.Fatal(err)
	}
	if f != nil {
		return Result{Refusal: f}
	}
	return r.posted(func(done func(Result)) { to.post([]byte(message), done) })
}

// told returns the one answer, parsed.
func (a Result) told(t testing.TB) event {
	t.Helper()
	if a.Refusal != nil || len(a.Answers) == 0 {
		t.Fatalf("answered %q, refused %+v", a.Answers, a.Refusal)
	}
	asDescribed(t, string(a.Answers[0]))
	e, err := parseEvent(string(a.Answers[0]))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (a Result) refused(t testing.TB, kind RefusalKind) {
	t.Helper()
	if a.Refusal == nil || a.Refusal.Kind != kind {
		t.Fatalf("answered %q, refused %+v, want %s", a.Answers, a.Refusal, kind.Code())
	}
}

// get sends a request for a room's events.
func (p *peer) get(code, query, token, last string) {
	head := "GET /v1/rooms/" + code + "/events" + query + " HTTP/1.1\r\nHost: test\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	if last != "" {
		head += "Last-Event-ID: " + last + "\r\n"
	}
	p.bytes([]byte(head + "\r\n"))
	p.relay.run()
}

var responseHead = regexp.MustCompile(`^HTTP/1\.1 (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n`)

// response takes a response. ok is false if none has come.
func (p *peer) response() (status int, body string, ok bool) {
	p.relay.t.Helper()
	p.relay.run()
	if len(p.wire) == 0 {
		return 0, "", false
	}
	m := responseHead.FindSubmatch(p.wire)
	if m == nil {
		p.relay.t.Fatalf("no response: %q", p.wire)
	}
	var n int
	fmt.Sscan(string(m[1]), &status)
	fmt.Sscan(string(m[2]), &n)
	rest := p.wire[len(m[0]):]
	if len(rest) < n {
		p.relay.t.Fatalf("%d bytes of a body of %d", len(rest), n)
	}
	body, p.wire = string(rest[:n]), rest[n:]
	return status, body, true
}

// events takes the response to a poll and returns the data of its events, without counts
// and presence, and the last id.
func (p *peer) events() (all []string, last string) {
	p.relay.t.Helper()
	status, body, ok := p.response()
	if !ok || status != 200 {
		p.relay.t.Fatalf("polled %d %q %v", status, body, ok)
	}
	for block := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			if id, ok := strings.CutPrefix(line, "id: "); ok {
				last = id
			}
			data, ok := strings.CutPrefix(line, "data: ")
			if ok && !strings.HasPrefix(data, `{"type":"viewers"`) && !strings.HasPrefix(data, `{"type":"presence"`) {
				all = append(all, data)
			}
		}
	}
	return all, last
}

// polls polls, and checks the events that are there.
func (p *peer) polls(code, token, last string, want ...string) (id string) {
	p.relay.t.Helper()
	p.get(code, "?wait=20s", token, last)
	got, id := p.events()
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		begin, open := strings.CutSuffix(want[i], "*")
		same = got[i] == want[i] || open && strings.HasPrefix(got[i], begin)
	}
	if !same {
		p.relay.t.Fatalf("polled\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return id
}

// lets lets time go by for standing sessions, too.
func (r *testRelay) lets(d time.Duration, peers ...*peer) {
	for ; d > 0; d -= time.Second {
		r.pass(min(d, time.Second), peers...)
		r.hub.Tend()
		r.run()
	}
}

// after polls in a new connection.
func (p *peer) after(code, token string) (all []string, last string) {
	p.relay.t.Helper()
	p.get(code, "?wait=20s", token, "")
	return p.events()
}

// counted takes the event that tells a viewer the number of viewers. The test runs in a
// bubble.
func (r *testRelay) counted(code, token string) {
	r.t.Helper()
	p := r.connect(0)
	p.get(code, "?wait=20s", token, "")
	r.sleep(2 * time.Second)
	if got, _ := p.events(); len(got) > 0 {
		r.t.Fatalf("polled %q", got)
	}
	p.reset()
}

func TestALectureWithoutWebSockets(t *testing.T) { synctest.Test(t, testALectureWithoutWebSockets) }

func testALectureWithoutWebSockets(t *testing.T) {
	r := newTestRelay(t, 3, Config{})
	created := r.hosts(`{"type":"create","roster":true}`).told(t)
	code, host := created.Code, created.Token
	joined := r.joins(JoinRequest{Code: code, Name: "Ada"})
	e := joined.told(t)
	if e.Type != "joined" || e.ID != 1 || joined.Ticket == "" || !e.Host {
		t.Fatalf("joined with %+v", joined)
	}
	r.counted(code, e.Token)
	viewer := r.connect(1)
	viewer.get(code, "?wait=20s", e.Token, "")
	if _, _, ok := viewer.response(); ok {
		t.Fatal("a poll was answered with nothing")
	}
	if a := r.posts(code, host, `{"type":"command","data":1}`); a.Refusal != nil || a.Seq != 1 || len(a.Answers) > 0 {
		t.Fatalf("a broadcast was answered %+v", a)
	}
	got, last := viewer.events()
	if len(got) != 1 || got[0] != `{"type":"command","data":1}` || last != e.Epoch+"-1" {
		t.Fatalf("polled %q, %s", got, last)
	}
	// On the same connection, and what came in between.
	r.posts(code, host, `{"type":"command","data":2}`)
	r.posts(code, host, `{"type":"message","to":1,"data":"hello"}`)
	viewer.polls(code, e.Token, last, `{"type":"command","data":2}`, `{"type":"message","from":"host","data":"hello"}`)
	// The response is lost: it comes again, but for the direct message.
	viewer.polls(code, e.Token, e.Epoch+"-1", `{"type":"command","data":2}`)
	// The viewer's own messages.
	if got := r.posts(code, e.Token, `{"type":"ping","data":7}`).told(t); got.text != `{"type":"pong","data":7}` {
		t.Errorf("ping was answered %s", got.text)
	}
	if got := r.posts(code, e.Token, `{"type":"list"}`).told(t).persons(); len(got) != 1 || got[0].Name != "Ada" {
		t.Errorf("the list tells %v", got)
	}
	r.posts(code, e.Token, `{"type":"command","data":1}`).refused(t, NotHost)
	if a := r.posts(code, e.Token, `{"type":"message","data":{"x":1}}`); a.Refusal != nil || len(a.Answers) > 0 {
		t.Fatalf("a message was answered %+v", a)
	}
	desk := r.connect(2)
	desk.polls(code, host, "", `{"type":"message","from":1,"data":{"x":1}}`)
	if got := r.posts(code, e.Token, `{"type":"leave"}`).told(t); got.text != `{"type":"left"}` {
		t.Errorf("leave was answered %s", got.text)
	}
	if got := r.posts(code, host, `{"type":"close"}`).told(t); got.Type != "closed" {
		t.Errorf("close was answered %s", got.text)
	}
	if n := int(r.hub.standing.Load()) + len(r.hub.tickets.all) + len(r.hub.tokensOf.all); n != 0 {
		t.Errorf("%d standing sessions, tickets and tokens are left", n)
	}
	viewer.reset()
	desk.reset()
	if c, u, h, p := r.hub.connections.Load(), r.hub.upgraded.Load(), r.hub.handshaking.Load(), r.hub.polls.Load(); c != 0 || u != 0 || h != 0 || p != 0 {
		t.Errorf("%d connections, %d upgraded, %d in their handshakes, %d polls are left", c, u, h, p)
	}
	if sum := r.hub.budget.Sum() - r.hub.budget.Used(budget.Logs); sum != 0 {
		t.Errorf("%d bytes are counted", sum)
	}
}

func TestAPollEndsEmpty(t *testing.T) { synctest.Test(t, testAPollEndsEmpty) }

func testAPollEndsEmpty(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	_, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, e.Token)
	first, second := r.connect(0), r.connect(1)
	first.get(code, "?wait=5s", e.Token, "")
	r.lets(3*time.Second, first, second)
	second.get(code, "?wait=2s", e.Token, "")
	if status, body, ok := first.response(); status != 200 || body != "" || !ok {
		t.Errorf("the older poll ended with %d %q %v", status, body, ok)
	}
	r.lets(4*time.Second, first, second)
	if status, body, ok := second.response(); status != 200 || body != "" || !ok {
		t.Errorf("a poll of 2 s ended with %d %q %v", status, body, ok)
	}
	for _, wait := range []string{"999ms", "61s", "x", ""} {
		p := r.connect(0)
		p.get(code, "?wait="+wait, e.Token, "")
		if status, _, _ := p.response(); status != 400 {
			t.Errorf("a poll for %q was answered %d", wait, status)
		}
	}
}

func TestAViewerThatNoLongerPollsHasLeft(t *testing.T) {
	synctest.Test(t, testAViewerThatNoLongerPollsHasLeft)
}

func testAViewerThatNoLongerPollsHasLeft(t *testing.T) {
	r := newTestRelay(t, 2, Config{PollGrace: 10 * time.Second})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, e.Token)
	p := r.connect(1)
	p.get(code, "?wait=60s", e.Token, "")
	r.lets(50*time.Second, p, host)
	host.say(`{"type":"command","data":1}`)
	p.events()
	r.lets(9*time.Second, host)
	if n := r.hub.standing.Load(); n != 1 {
		t.Fatalf("%d standing sessions after 9 s", n)
	}
	if a := r.posts(code, e.Token, `{"type":"ping"}`); a.Refusal != nil {
		t.Fatalf("a ping was refused: %+v", a.Refusal)
	}
	r.lets(9*time.Second, host)
	if n := r.hub.standing.Load(); n != 1 {
		t.Fatalf("%d standing sessions 9 s after a message", n)
	}
	r.lets(3*time.Second, host)
	if n := r.hub.standing.Load(); n != 0 {
		t.Fatalf("%d standing sessions after 12 s", n)
	}
	r.posts(code, e.Token, `{"type":"ping"}`).refused(t, NoSession)
	// It comes back by its token, with what it has missed.
	host.say(`{"type":"command","data":2}`)
	q := r.connect(0)
	q.polls(code, e.Token, e.Epoch+"-1", `{"type":"joined",*`, `{"type":"command","data":2}`)
	if n := r.hub.standing.Load(); n != 1 {
		t.Errorf("%d standing sessions", n)
	}
}

func TestTicketsAreForOneUse(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	a := r.joins(JoinRequest{Code: code})
	host.say(`{"type":"command","data":1}`)
	r.run()
	stream := r.connect(1)
	stream.get(code, "?ticket="+a.Ticket, "", "")
	wire := string(stream.wire)
	if !strings.HasPrefix(wire, "HTTP/1.1 200 OK\r\n") || !strings.Contains(wire, `"recovered":true`) || !strings.Contains(wire, `{"type":"command","data":1}`) {
		t.Fatalf("the stream is %q", wire)
	}
	if n := r.hub.standing.Load(); n != 0 {
		t.Errorf("%d standing sessions beside the stream", n)
	}
	for name, query := range map[string]string{"spent": a.Ticket, "unknown": strings.Repeat("0", 32), "short": "x"} {
		for _, wait := range []string{"", "&wait=5s"} {
			p := r.connect(0)
			p.get(code, "?ticket="+query+wait, "", "")
			if status, body, _ := p.response(); status != 403 || !strings.Contains(body, "bad_token") || !strings.Contains(body, "ticket") {
				t.Errorf("a %s ticket was answered %d %s", name, status, body)
			}
		}
	}
	// What is said by POST goes to the stream's session, and its answer does not.
	stream.wire = nil
	token := a.told(t).Token
	if got := r.posts(code, token, `{"type":"ping"}`).told(t); got.Type != "pong" || strings.Contains(string(stream.wire), "pong") {
		t.Errorf("answered %s, and %q on the stream", got.text, stream.wire)
	}
	b := r.joins(JoinRequest{Code: code})
	_, other := r.host(1)
	p := r.connect(0)
	p.get(other, "?ticket="+b.Ticket, "", "")
	if status, _, _ := p.response(); status != 403 {
		t.Errorf("the ticket of another room was answered %d", status)
	}
	if n := len(r.hub.tickets.all); n != 0 {
		t.Errorf("%d tickets are kept", n)
	}
}

func TestATicketsTimeIsShort(t *testing.T) { synctest.Test(t, testATicketsTimeIsShort) }

func testATicketsTimeIsShort(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	a := r.joins(JoinRequest{Code: code})
	r.sleep(ticketTime)
	p := r.connect(0)
	p.get(code, "?ticket="+a.Ticket, "", "")
	if status, _, _ := p.response(); status != 403 {
		t.Errorf("an old ticket was answered %d", status)
	}
}

func TestAHostsStream(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	a := r.hosts(`{"type":"create"}`)
	e := a.told(t)
	v := r.viewer(0, e.Code)
	v.say(`{"type":"message","data":"early"}`)
	r.run()
	stream := r.connect(1)
	stream.get(e.Code, "?ticket="+a.Ticket, "", "")
	wire := string(stream.wire)
	if !strings.HasPrefix(wire, "HTTP/1.1 200 OK\r\n") || !strings.Contains(wire, `"resumed":true`) || !strings.Contains(wire, `"data":"early"`) {
		t.Fatalf("the stream is %q", wire)
	}
	if a := r.posts(e.Code, e.Token, `{"type":"command","data":1}`); a.Seq != 1 {
		t.Fatalf("answered %+v", a)
	}
	v.hears(`{"type":"command","data":1}`)
}

// TestNumberedMessages sends a host's messages again.
func TestNumberedMessages(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	v := r.viewer(0, e.Code)
	post := func(number uint64, text string) Result {
		to, f, err := r.hub.FindAddressee(t.Context(), fromHome, e.Code, e.Token)
		if f != nil || err != nil {
			t.Fatal(f, err)
		}
		came := make(chan Result, 1)
		go func() {
			a, _ := to.Post(t.Context(), []byte(text), number)
			came <- a
		}()
		for {
			select {
			case a := <-came:
				return a
			default:
				r.run()
			}
		}
	}
	one, two := `{"type":"command","data":1}`, `{"type":"command","data":2}`
	post(2, two).refused(t, UnexpectedNumber)
	if a := post(1, one); a.Seq != 1 || a.Again {
		t.Errorf("answered %+v", a)
	}
	if a := post(1, one); a.Seq != 1 || !a.Again {
		t.Errorf("answered %+v when it came again", a)
	}
	post(1, two).refused(t, NumberUsed)
	post(2, `{"type":"kick","id":9}`).refused(t, NoSuchViewer)
	if a := post(2, two); a.Seq != 2 || a.Again {
		t.Errorf("answered %+v after a refusal", a)
	}
	if a := post(4, two); a.Refusal == nil || a.Refusal.Number != 3 {
		t.Errorf("answered %+v", a)
	}
	v.hears(one, two)
	long := `{"type":"ping","data":"` + strings.Repeat("x", maxKeptAnswer) + `"}`
	for range 2 {
		if a := post(3, long); len(a.Answers) != 1 || a.Again {
			t.Errorf("a long answer came as %d", len(a.Answers))
		}
	}
	joined := r.joins(JoinRequest{Code: e.Code}).told(t)
	if to, _, _ := r.hub.FindAddressee(t.Context(), fromHome, e.Code, joined.Token); to != nil {
		a, _ := to.Post(t.Context(), []byte(one), 1)
		a.refused(t, NotHost)
	}
	r.hosts(fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, e.Code, e.Token)).told(t)
	if a := post(1, one); a.Seq != 3 || a.Again {
		t.Errorf("answered %+v after the numbers began anew", a)
	}
}

func TestStandingSessionsAreConnections(t *testing.T) {
	r := newTestRelay(t, 2, Config{MaxConnections: 10, MaxConnectionsPerAddress: 4})
	_, code := r.host(0)
	for range 4 {
		r.joins(JoinRequest{Code: code}).told(t)
	}
	for range 1000 {
		r.joins(JoinRequest{Code: code}).refused(t, AddressFull)
	}
	if n := r.hub.standing.Load(); n != 4 {
		t.Errorf("%d standing sessions", n)
	}
	if n := r.hub.budget.Used(budget.HTTP); n != 4*standingBytes {
		t.Errorf("%d bytes are counted", n)
	}
	r.joins(JoinRequest{Code: "nothing"}).refused(t, AddressFull)
	r.lets(r.hub.Config().PollGrace + 2*time.Second)
	if n := r.hub.standing.Load() + int64(len(r.hub.tickets.all)+len(r.hub.tokensOf.all)); n != 0 {
		t.Errorf("%d standing sessions, tickets and tokens stay", n)
	}
	r.joins(JoinRequest{Code: "nothing"}).refused(t, RoomNotFound)
	if n := r.hub.standing.Load(); n != 0 {
		t.Errorf("%d standing sessions of refused clients", n)
	}
}

// TestWhoDoesNotPollIsBounded has a host say much and a viewer not poll.
func TestWhoDoesNotPollIsBounded(t *testing.T) {
	const lag = 2 << 20
	for _, slow := range []string{"close", "skip"} {
		t.Run(slow, func(t *testing.T) {
			r := newTestRelay(t, 2, Config{LagLimit: lag, PollGrace: time.Hour})
			host, e := r.opens(0, `,"slow":"`+slow+`"`)
			code := e.Code
			joined := r.joins(JoinRequest{Code: code}).told(t)
			big := `{"type":"command","data":"` + strings.Repeat("x", 60_000) + `"}`
			for range 100 {
				host.say(big)
				r.run()
			}
			if n := r.hub.budget.Used(budget.Logs); n > 2*lag {
				t.Errorf("%d bytes in Logs", n)
			}
			for range 50 {
				host.say(fmt.Sprintf(`{"type":"message","to":1,"data":"%s"}`, strings.Repeat("y", 8_000)))
			}
			r.run()
			if n := r.hub.budget.Used(budget.Answers); n > 80_000 {
				t.Errorf("%d bytes of answers", n)
			}
			host.frames()
			p := r.connect(1)
			p.get(code, "?wait=20s", joined.Token, joined.Epoch+"-0")
			got, _ := p.events()
			want := `{"type":"skipped"`
			if slow == "close" {
				want = `{"type":"joined"`
				if len(got) != 1 || got[0] != `{"type":"closed","reason":"too_slow"}` {
					t.Errorf("polled %.200q", got)
				}
				p.get(code, "?wait=20s", joined.Token, joined.Epoch+"-0")
				got, _ = p.events()
			}
			if len(got) == 0 || !strings.HasPrefix(got[0], want) {
				t.Errorf("polled %.200q", got)
			}
		})
	}
}

// TestAPollTakesABoundedAnswer reads much in several polls, from a socket that takes little.
func TestAPollTakesABoundedAnswer(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprintf(`{"type":"command","data":"%d %s"}`, i, strings.Repeat("x", 30_000)))
		host.say(want[i])
	}
	want = append(want, `{"type":"command","data":"`+strings.Repeat("y", 1_000_000)+`"}`)
	host.say(want[30])
	r.run()
	p := r.connect(1)
	var all []string
	polls := 0
	for last := ""; len(all) < len(want); polls++ {
		p.room = 0
		p.get(code, "?wait=20s", e.Token, last)
		for p.room = 1; len(p.wire) < 100; {
			p.drain(1)
		}
		p.drain(plenty)
		if len(p.wire) > maxPollAnswer+512 && len(p.wire) < 1_000_000 {
			t.Errorf("a response of %d bytes", len(p.wire))
		}
		var got []string
		got, last = p.events()
		all = append(all, got...)
	}
	if strings.Join(all, "") != strings.Join(want, "") {
		t.Errorf("%d events came", len(all))
	}
	if polls != 5 {
		t.Errorf("%d polls", polls)
	}
}

// TestAPollThatDoesNotReadIsClosed takes nothing of a response.
func TestAPollThatDoesNotReadIsClosed(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	host.say(`{"type":"command","data":1}`)
	r.run()
	p := r.connect(1)
	p.room = 0
	p.get(code, "?wait=20s", e.Token, "")
	r.lets(29*time.Second, p)
	if p.gone {
		t.Error("it was closed early")
	}
	r.lets(3*time.Second, p)
	if !p.gone {
		t.Error("it was not closed")
	}
	if n := r.hub.polls.Load(); n != 0 {
		t.Errorf("%d polls", n)
	}
}

// TestAPollsConnectionIsLost ends polls at each point.
func TestAPollsConnectionIsLost(t *testing.T) {
	for steps := range 12 {
		r := newTestRelay(t, 3, Config{})
		host, code := r.host(0)
		e := r.joins(JoinRequest{Code: code}).told(t)
		p := r.connect(2)
		p.bytes([]byte("GET /v1/rooms/" + code + "/events?wait=20s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + e.Token + "\r\n\r\n"))
		host.say(`{"type":"command","data":1}`)
		host.say(`{"type":"message","to":1,"data":"hello"}`)
		for i := range steps {
			r.workers[i%3].step()
		}
		p.reset()
		r.run()
		want := []string{`{"type":"command","data":1}`, `{"type":"message","from":"host","data":"hello"}`}
		if strings.Contains(string(p.wire), "hello") {
			want = want[:1] // the socket had taken it
		}
		q := r.connect(1)
		q.polls(code, e.Token, e.Epoch+"-0", want...)
		if n := r.hub.standing.Load(); n != 1 {
			t.Errorf("%d standing sessions", n)
		}
		if n := r.hub.polls.Load(); n != 0 {
			t.Errorf("%d polls", n)
		}
	}
}

func TestADrainEndsStandingSessionsAndPolls(t *testing.T) {
	synctest.Test(t, testADrainEndsStandingSessionsAndPolls)
}

func testADrainEndsStandingSessionsAndPolls(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	_, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, e.Token)
	p := r.connect(1)
	p.get(code, "?wait=20s", e.Token, "")
	r.hub.Drain()
	p.session.Shutdown()
	p.Flush()
	got, _ := p.events()
	if len(got) != 1 || !strings.HasPrefix(got[0], `{"type":"closed","reason":"shutdown","retry_ms":`) || !p.ended {
		t.Errorf("polled %q", got)
	}
	if n := r.hub.standing.Load(); n != 0 {
		t.Errorf("%d standing sessions", n)
	}
	q := r.connect(1)
	q.get(code, "?wait=20s", e.Token, "")
	if status, _, _ := q.response(); status != 503 {
		t.Errorf("a poll was answered %d", status)
	}
}

// TestWhatFollowsAPollIsServed sends requests one behind the other, cut anywhere.
func TestWhatFollowsAPollIsServed(t *testing.T) { synctest.Test(t, testWhatFollowsAPollIsServed) }

func testWhatFollowsAPollIsServed(t *testing.T) {
	for cut := 1; cut < 300; cut += 7 {
		r := newTestRelay(t, 1, Config{})
		host, code := r.host(0)
		e := r.joins(JoinRequest{Code: code}).told(t)
		r.counted(code, e.Token)
		one := "GET /v1/rooms/" + code + "/events?wait=5s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + e.Token + "\r\n\r\n"
		all := one + one + testHead
		p := r.connect(0)
		p.bytes([]byte(all[:min(cut, len(all))]))
		p.bytes([]byte(all[min(cut, len(all)):]))
		for i := range 2 {
			host.say(fmt.Sprintf(`{"type":"command","data":%d}`, i))
			r.run()
			got, _ := p.events()
			if len(got) != 1 || got[0] != fmt.Sprintf(`{"type":"command","data":%d}`, i) {
				t.Fatalf("cut at %d: %q", cut, got)
			}
		}
		r.run()
		if !strings.HasPrefix(string(p.wire), "HTTP/1.1 101 ") {
			t.Fatalf("cut at %d: %q", cut, p.wire)
		}
	}
}

// TestATransferToAndFromTheWeb makes a viewer without a connection the host, and back.
func TestATransferToAndFromTheWeb(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	host.say(`{"type":"grant_host","id":1}`)
	r.run()
	host.frames()
	p := r.connect(1)
	p.get(code, "?wait=5s", e.Token, "")
	got, _ := p.events()
	became, err := parseEvent(strings.Join(got, ""))
	if err != nil || became.Type != "host" {
		t.Fatalf("the new host polled %q", got)
	}
	if a := r.posts(code, became.Token, `{"type":"command","data":1}`); a.Seq != 1 {
		t.Fatalf("answered %+v", a)
	}
	host.hears(`{"type":"command","data":1}`)
	if a := r.posts(code, became.Token, `{"type":"grant_host","id":2}`); a.Refusal != nil || len(a.Answers) > 0 {
		t.Fatalf("answered %+v", a)
	}
	host.hears(`{"type":"host",*`)
	got, _ = r.connect(1).after(code, became.Token)
	if len(got) != 1 || !strings.HasPrefix(got[0], `{"type":"joined"`) {
		t.Errorf("the former host polled %q", got)
	}
}

// TestAConnectionBetweenTwoPolls is closed without a word when no other request comes, and
// is counted once however often it has polled.
func TestAConnectionBetweenTwoPolls(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	p, other := r.connect(0), r.connect(0)
	other.bytes([]byte("G"))
	for i := range 1000 {
		host.say(`{"type":"command","data":1}`)
		r.run()
		p.polls(code, e.Token, "", `{"type":"command","data":1}`)
		if i > 100 && len(p.session.shard.silent.queue) > 3*minPassed {
			t.Fatalf("%d connections are in the list of those that sent nothing", len(p.session.shard.silent.queue))
		}
	}
	if n := p.session.shard.silent.count.Load(); n != 1 {
		t.Errorf("%d connections have sent nothing", n)
	}
	r.lets(12*time.Second, p, other)
	if !p.gone || len(p.wire) > 0 {
		t.Errorf("the connection was told %q, gone %v", p.wire, p.gone)
	}
	if n := r.hub.Refusals()["handshake_timeout"]; n != 1 { // the other one
		t.Errorf("%d requests were too slow", n)
	}
}

// TestWhatFollowsAPollIsBounded sends much behind polls.
func TestWhatFollowsAPollIsBounded(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	r.hub.budget.SetLimit(1 << 20)
	e := r.joins(JoinRequest{Code: code}).told(t)
	for range 100 {
		p := r.connect(0)
		p.get(code, "?wait=20s", e.Token, "")
		r.run()
		for range 4 {
			if reading, _ := p.session.Wants(); reading {
				p.bytes([]byte(strings.Repeat("x", 64<<10)))
			}
		}
		r.run()
	}
	if n := r.hub.budget.Used(budget.Input); n > 1<<20 {
		t.Errorf("%d bytes of input are kept", n)
	}
}

// TestHistoriesOfThoseWhoPoll asks the relay and the host for histories.
func TestHistoriesOfThoseWhoPoll(t *testing.T) { synctest.Test(t, testHistoriesOfThoseWhoPoll) }

func testHistoriesOfThoseWhoPoll(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host := r.hosts(`{"type":"create","history":"host"}`).told(t)
	r.posts(host.Code, host.Token, `{"type":"command","data":1}`)
	a := r.joins(JoinRequest{Code: host.Code, History: true})
	e := a.told(t)
	if len(a.Answers) != 1 {
		t.Fatalf("a viewer that asked for the history was answered %q", a.Answers)
	}
	desk, viewer := r.connect(0), r.connect(1)
	desk.get(host.Code, "?wait=20s", host.Token, "")
	if got, _ := desk.events(); len(got) != 1 || got[0] != `{"type":"history_request"}` {
		t.Fatalf("the host polled %q", got)
	}
	viewer.get(host.Code, "?wait=20s", e.Token, "")
	if a := r.posts(host.Code, host.Token, `{"type":"history","commands":[1,2]}`); a.Refusal != nil || len(a.Answers) > 0 {
		t.Fatalf("answered %+v", a)
	}
	r.posts(host.Code, host.Token, `{"type":"command","data":2}`)
	var all []string
	got, last := viewer.events()
	all = append(all, got...)
	for len(all) < 2 {
		viewer.get(host.Code, "?wait=20s", e.Token, last)
		r.sleep(time.Second)
		got, last = viewer.events()
		all = append(all, got...)
	}
	if all[0] != `{"type":"history","commands":[1,2]}` || all[1] != `{"type":"command","data":2}` {
		t.Errorf("the viewer polled %q", all)
	}
	r.posts(host.Code, e.Token, `{"type":"history_request"}`).refused(t, HistoryTooSoon)
}

// TestWhoPollsIsToldWhyItEnds ends standing sessions while a poll waits.
func TestWhoPollsIsToldWhyItEnds(t *testing.T) { synctest.Test(t, testWhoPollsIsToldWhyItEnds) }

func testWhoPollsIsToldWhyItEnds(t *testing.T) {
	for reason, end := range map[string]func(r *testRelay, host *peer, e event){
		"kicked":      func(_ *testRelay, host *peer, _ event) { host.say(`{"type":"kick","id":1}`) },
		"host_closed": func(_ *testRelay, host *peer, _ event) { host.say(`{"type":"close"}`) },
		"deleted":     func(r *testRelay, _ *peer, e event) { r.hub.DeleteRoom(e.Code) },
		"replaced": func(r *testRelay, _ *peer, e event) {
			p := r.dial(0)
			p.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s"}`, e.Code, e.Token))
		},
		"too_many_errors": func(r *testRelay, _ *peer, e event) {
			for range errorBurst + 1 {
				r.posts(e.Code, e.Token, `{"type":"dance"}`)
			}
		},
	} {
		r := newTestRelay(t, 2, Config{ViewerRate: 100_000})
		host, code := r.host(0)
		e := r.joins(JoinRequest{Code: code}).told(t)
		r.counted(code, e.Token)
		p := r.connect(1)
		p.get(code, "?wait=20s", e.Token, "")
		end(r, host, e)
		r.run()
		got, _ := p.events()
		if len(got) != 1 || got[0] != `{"type":"closed","reason":"`+reason+`"}` {
			t.Errorf("for %s it polled %q", reason, got)
		}
		if n := int(r.hub.standing.Load()) + len(r.hub.tickets.all) + len(r.hub.tokensOf.all); n != 0 {
			t.Errorf("after %s %d standing sessions, tickets and tokens are left", reason, n)
		}
		if s := r.hub.Stats(); s.Stalled != 0 || s.Viewers > 1 {
			t.Errorf("after %s there are %d viewers, %d stalled", reason, s.Viewers, s.Stalled)
		}
	}
}

// TestAStandingSessionTakesWhatIsCounted measures what a viewer that polls takes, with its
// place in the room, its ticket and its token.
func TestAStandingSessionTakesWhatIsCounted(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	const viewers = 5000
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range viewers {
		r.joins(JoinRequest{Code: code})
	}
	r.lets(2 * time.Second)
	each := (heap() - before) / viewers
	t.Logf("%d bytes", each)
	if each > standingBytes {
		t.Errorf("%d bytes each", each)
	}
}

// TestPagesThatPoll sends the polls of pages of several origins.
func TestPagesThatPoll(t *testing.T) {
	r := newTestRelay(t, 1, Config{AllowOrigins: []string{"https://school.example"}})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	for origin, want := range map[string]string{"https://school.example": "200 OK", "http://test": "200 OK", "https://elsewhere.example": "403 Forbidden"} {
		host.say(`{"type":"command","data":1}`)
		r.run()
		p := r.connect(0)
		p.bytes([]byte("GET /v1/rooms/" + code + "/events?wait=5s HTTP/1.1\r\nHost: test\r\nOrigin: " + origin + "\r\nAuthorization: Bearer " + e.Token + "\r\n\r\n"))
		r.run()
		answer := string(p.wire)
		allowed := strings.Contains(answer, "\r\nAccess-Control-Allow-Origin: "+origin+"\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 "+want+"\r\n") || allowed != (want == "200 OK") || !strings.Contains(answer, "\r\nVary: Origin\r\n") {
			t.Errorf("a page of %s was answered %q", origin, answer)
		}
	}
}

// TestTheLastWordsReachWhoPolls closes a room between two polls.
func TestTheLastWordsReachWhoPolls(t *testing.T) {
	synctest.Test(t, testTheLastWordsReachWhoPolls)
}

func testTheLastWordsReachWhoPolls(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	first, second := r.joins(JoinRequest{Code: code}).told(t), r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, first.Token)
	host.say(`{"type":"command","data":"the end"}`)
	host.say(`{"type":"close"}`)
	r.lets(2 * time.Second)
	p := r.connect(1)
	p.polls(code, first.Token, "", `{"type":"command","data":"the end"}`, `{"type":"closed","reason":"host_closed"}`)
	p.get(code, "?wait=5s", first.Token, "")
	if status, body, _ := p.response(); status != 404 {
		t.Errorf("after the end a poll was answered %d %s", status, body)
	}
	r.lets(5 * time.Second)
	p = r.connect(1)
	p.get(code, "?wait=5s", second.Token, "")
	if status, body, _ := p.response(); status != 404 {
		t.Errorf("long after the end a poll was answered %d %s", status, body)
	}
	if n := int(r.hub.standing.Load()) + len(r.hub.tickets.all) + len(r.hub.tokensOf.all); n != 0 {
		t.Errorf("%d standing sessions, tickets and tokens are left", n)
	}
	r.sleep(r.hub.Config().CloseTimeout + 2*time.Second) // for which the room's Logs are counted
	for kind := range budget.Kinds {
		if n := r.hub.budget.Used(kind); n != 0 {
			t.Errorf("%d bytes of %s are counted", n, kind)
		}
	}
}
