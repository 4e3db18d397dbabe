package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/frame"
	"lectern/hub/budget"
	"lectern/hub/roomcode"
)

// code returns a room's code as the hub looks it up.
func (r *testRelay) code(text string) roomcode.Code {
	c, _ := roomcode.Parse(text)
	return c
}

// postsLater begins a POST, whose result is nil until the workers have handled it.
func (r *testRelay) postsLater(code, token, message string) (result **Result) {
	r.t.Helper()
	to, f, err := r.hub.FindAddressee(r.t.Context(), fromHome, code, token)
	if f != nil || err != nil {
		r.t.Fatal(f, err)
	}
	result = new(*Result)
	to.post([]byte(message), func(got Result) { *result = &got })
	return result
}

// TestAPostWhoseSessionEndsMeanwhile has the host's session end while a goroutine checks its
// message. The message had no effect, and its sender must not take it for broadcast.
func TestAPostWhoseSessionEndsMeanwhile(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	result := r.postsLater(e.Code, e.Token, `{"type":"command","data":"`+strings.Repeat("x", MinOffload)+`"}`)
	r.workers[0].step() // the message waits for its check
	r.hub.lookup(r.code(e.Code)).host().end(ReasonReplaced)
	r.run()
	if *result == nil || (*result).Refusal == nil || (*result).Refusal.Kind != NotInRoom {
		t.Errorf("answered %+v", *result)
	}
}

// TestAFormerHostHasNoNumbers has a host send a numbered message when it has just become a
// viewer. It must not use up the new host's number.
func TestAFormerHostHasNoNumbers(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	v := r.joins(JoinRequest{Code: e.Code}).told(t)
	to, f, err := r.hub.FindAddressee(t.Context(), fromHome, e.Code, e.Token) // its body comes slowly
	if f != nil || err != nil {
		t.Fatal(f, err)
	}
	r.posts(e.Code, e.Token, `{"type":"grant_host","id":1}`)
	numbered := func(to *Addressee, text string) Result {
		came := make(chan Result, 1)
		go func() {
			a, _ := to.Post(t.Context(), []byte(text), 1)
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
	numbered(to, `{"type":"ping","data":7}`).refused(t, NotHost)
	if to, f, err = r.hub.FindAddressee(t.Context(), fromHome, e.Code, v.Token); f != nil || err != nil {
		t.Fatal(f, err)
	}
	if a := numbered(to, `{"type":"command","data":1}`); a.Seq != 1 {
		t.Errorf("the new host's first message was answered %+v", a)
	}
}

// TestAHistoryThatAJoinDoesNotGet is refused with the events.
func TestAHistoryThatAJoinDoesNotGet(t *testing.T) {
	synctest.Test(t, testAHistoryThatAJoinDoesNotGet)
}

func testAHistoryThatAJoinDoesNotGet(t *testing.T) {
	r := newTestRelay(t, 1, Config{Retain: 1})
	host, code := r.host(0)
	for range 40 {
		host.say(`{"type":"command","data":"` + strings.Repeat("x", 10_000) + `"}`)
	}
	host.reset()
	r.run()
	e := r.joins(JoinRequest{Code: code, History: true}).told(t)
	got, _ := r.connect(0).after(code, e.Token)
	if len(got) != 1 || !strings.Contains(got[0], `"history_unavailable"`) {
		t.Errorf("polled %q", got)
	}
}

// TestACodeWithItsSecretFindsTheSession polls at the path with which the viewer has joined.
func TestACodeWithItsSecretFindsTheSession(t *testing.T) {
	synctest.Test(t, testACodeWithItsSecretFindsTheSession)
}

func testACodeWithItsSecretFindsTheSession(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host := r.dial(0)
	created := host.gets("created", `{"type":"create","secret":"geheim"}`)
	code := created.Code + "-geheim"
	p := r.connect(0)
	p.get(code, "?wait=20s", "", "")
	got, last := p.events()
	e, err := parseEvent(got[0])
	if err != nil || e.Type != "joined" {
		t.Fatalf("polled %q", got)
	}
	for range 2 { // the first is told the number of viewers, if it was not told before
		p = r.connect(0)
		p.get(code, "?wait=20s", e.Token, last)
		r.sleep(2 * time.Second)
		if status, body, ok := p.response(); ok && (status != 200 || strings.Contains(body, "joined")) {
			t.Errorf("the next poll was answered %d %q", status, body)
		}
		p.reset()
	}
	a := r.joins(JoinRequest{Code: code, Token: e.Token, Back: true})
	p = r.connect(0)
	p.get(code, "?wait=20s&ticket="+a.Ticket, "", "")
	if status, body, ok := p.response(); ok {
		t.Errorf("a poll with a ticket was answered %d %q", status, body)
	}
}

// TestTwoTabsThatPoll have one token. Each ends the other's poll, and neither may do so
// without end.
func TestTwoTabsThatPoll(t *testing.T) { synctest.Test(t, testTwoTabsThatPoll) }

func testTwoTabsThatPoll(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	_, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, e.Token)
	tabs := []*peer{r.connect(0), r.connect(1)}
	polls := 0
	for range 10 { // seconds
		for range 100 {
			for _, tab := range tabs {
				if tab.session.phase != polling {
					tab.get(code, "?wait=20s", e.Token, "")
					polls++
				}
				tab.response()
			}
		}
		r.lets(time.Second)
	}
	if polls > 40 {
		t.Errorf("they polled %d times in 10 s", polls)
	}
	for _, tab := range tabs {
		tab.reset()
	}
	r.lets(time.Minute)
	if n := r.hub.standing.Load() + r.hub.polls.Load(); n != 0 {
		t.Errorf("%d standing sessions and polls are left", n)
	}
}

// TestALongQueryIsNotSplit because that would take a worker too long.
func TestALongQueryIsNotSplit(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.host(0)
	query := "wait=20s" + strings.Repeat("&a", maxEventQuery/2)
	if n := testing.AllocsPerRun(10, func() { isPoll(frame.Request{Query: query}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	p := r.connect(0)
	p.bytes([]byte("GET /v1/rooms/" + code + "/events?" + query + " HTTP/1.1\r\nHost: test\r\n\r\n"))
	if status, body, _ := p.response(); status != 400 || !strings.Contains(body, "too long") {
		t.Errorf("answered %d %s", status, body)
	}
}

// TestAHistoryOfManyPollsIsCountedOnce as it is in memory once.
func TestAHistoryOfManyPollsIsCountedOnce(t *testing.T) {
	synctest.Test(t, testAHistoryOfManyPollsIsCountedOnce)
}

func testAHistoryOfManyPollsIsCountedOnce(t *testing.T) {
	const viewers, size = 20, 100_000
	r := newTestRelay(t, 2, Config{})
	host := r.hosts(`{"type":"create","history":"host"}`).told(t)
	r.posts(host.Code, host.Token, `{"type":"command","data":1}`)
	var all []*peer
	for i := range viewers {
		e := r.joins(JoinRequest{Code: host.Code, History: true}).told(t)
		p := r.connect(i % 2)
		p.get(host.Code, "?wait=20s", e.Token, "")
		all = append(all, p)
	}
	for _, p := range all {
		p.room = 0
	}
	if a := r.posts(host.Code, host.Token, `{"type":"history","commands":["`+strings.Repeat("x", size)+`"]}`); a.Refusal != nil {
		t.Fatalf("answered %+v", a)
	}
	if n := r.hub.budget.Sum() - r.hub.budget.Used(budget.Logs); n < size || n > 4*size {
		t.Errorf("%d bytes are counted", n)
	}
	for i, p := range all {
		switch i % 3 {
		case 0:
			p.reset()
		case 1:
			p.drain(plenty)
		}
	}
	r.run()
	r.lets(5*time.Second, all...)
	r.sleep(2 * time.Second)
	for _, p := range all {
		p.reset()
	}
	r.lets(time.Minute)
	if n := r.hub.budget.Used(budget.Histories) + r.hub.budget.Used(budget.Answers) + r.hub.budget.Used(budget.HTTP); n != 0 {
		t.Errorf("%d bytes are counted in the end", n)
	}
}

// TestAPollThatIsGoneTakesNothing loses the connection before the poll has reached the
// standing session.
func TestAPollThatIsGoneTakesNothing(t *testing.T) {
	r := newTestRelay(t, 3, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	r.joins(JoinRequest{Code: e.Code})
	r.posts(e.Code, e.Token, `{"type":"kick","id":9}`)
	home := r.hub.lookup(r.code(e.Code)).host()
	home.tell(HistoryRequest{}) // anything for the host alone
	p := r.connect(2)
	p.bytes([]byte("GET /v1/rooms/" + e.Code + "/events?wait=20s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + e.Token + "\r\n\r\n"))
	p.reset()
	r.run()
	q := r.connect(1)
	q.polls(e.Code, e.Token, "", `{"type":"history_request"}`)
}

// TestDirectMessagesStayInOrder when a poll that is gone gives some back.
func TestDirectMessagesStayInOrder(t *testing.T) {
	r := newTestRelay(t, 3, Config{})
	host, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.run()
	home := r.hub.tokensOf.find(e.Token)
	p := r.connect(2)
	p.get(code, "?wait=20s", e.Token, "")
	message := func(n int) string { return fmt.Sprintf(`{"type":"message","to":1,"data":%d}`, n) }
	host.say(message(1))
	for home.shard.Worker.(*testWorker).step() { // which answers the poll
	}
	p.reset()
	host.say(message(2))
	for home.shard.Worker.(*testWorker).step() {
	}
	r.run()
	q := r.connect(1)
	q.polls(code, e.Token, "", `{"type":"message","from":"host","data":1}`, `{"type":"message","from":"host","data":2}`)
}

// TestWhoLeavesByPostIsToldByItsPoll so that the poll's loop ends.
func TestWhoLeavesByPostIsToldByItsPoll(t *testing.T) {
	synctest.Test(t, testWhoLeavesByPostIsToldByItsPoll)
}

func testWhoLeavesByPostIsToldByItsPoll(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	_, code := r.host(0)
	e := r.joins(JoinRequest{Code: code}).told(t)
	r.counted(code, e.Token)
	p := r.connect(1)
	p.get(code, "?wait=20s", e.Token, "")
	r.posts(code, e.Token, `{"type":"leave"}`)
	if got, last := p.events(); len(got) != 1 || got[0] != `{"type":"left"}` || last != "ended" {
		t.Errorf("polled %q, %s", got, last)
	}
}
