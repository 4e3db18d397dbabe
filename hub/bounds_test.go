package hub

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/budget"
)

// Attacks on the relay's memory and time. Each succeeded once.

// chunkOf returns a chunk of at most 64 KiB that is full of one masked frame.
func chunkOf(op ws.OpCode, payload string) (chunk []byte) {
	one := appendFrameMasked(nil, op, payload)
	for len(chunk)+len(one) <= 64<<10 {
		chunk = append(chunk, one...)
	}
	return chunk
}

// checkEmpty fails if anything counts into the budget.
func checkEmpty(t testing.TB, h *Hub) {
	t.Helper()
	for k := range budget.Kinds {
		if n := h.budget.Used(k); n != 0 {
			t.Errorf("%d bytes of %s are counted when nobody is there", n, k)
		}
	}
}

func TestErrorsHaveARate(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	p := r.dial(0)
	p.room = 0
	chunk := chunkOf(ws.OpText, "")
	p.bytes(chunk)
	if n := len(p.session.out.items); n > visitErrors+1 {
		t.Errorf("%d errors were told before others had their turn", n)
	}
	r.run()
	if n := p.session.out.bytes; n > 64<<10 {
		t.Errorf("%d bytes of errors wait", n)
	}
	if p.session.phase != finishing {
		t.Errorf("the peer is in phase %d after %d mistakes", p.session.phase, len(chunk)/6)
	}
	p.drain(plenty)
	got := p.frames()
	// How many were ignored depends on how far the chunk was looked at in that visit.
	text := regexp.MustCompile(`too many mistakes: \d+ more`).ReplaceAllString(strings.Join(got[min(errorBurst, len(got)):], "\n"), "too many mistakes: N more")
	want := []string{
		`{"type":"error","error":"too_many_errors","message":"too many mistakes: N more messages were ignored, and this connection is closed"}`,
		`{"type":"closed","reason":"too_many_errors"}`, "close 4429",
	}
	if len(got) != errorBurst+3 || text != strings.Join(want, "\n") {
		t.Errorf("%d frames, the last are %q, want %q", len(got), got[max(0, len(got)-3):], want)
	}
	if n := r.hub.Refusals(); n["bad_json"]+n["too_fast"] != errorBurst || n["too_many_errors"] != 1 {
		t.Errorf("counted: %v", n)
	}
	p.reset()
	checkEmpty(t, r.hub)
}

// TestErrorsNowAndThenAreTold has a client make mistakes for an hour, slowly.
func TestErrorsNowAndThenAreTold(t *testing.T) {
	r := newTestRelay(t, 1, Config{ViewerRate: 1000})
	p := r.dial(0)
	for range 1000 {
		for range 30 {
			p.say(`{"type":"dance"}`)
		}
		r.pass(time.Second)
	}
	if got := len(p.frames()); got != 30_000 {
		t.Errorf("%d answers to 30000 mistakes", got)
	}
}

// TestAnswersAreBoundedInsideAChunk has a host ask for more answers in one chunk
// than may wait, and read them later.
func TestAnswersAreBoundedInsideAChunk(t *testing.T) {
	const private = 2000
	r := newTestRelay(t, 1, Config{MaxPrivate: private})
	host, _ := r.host(0)
	host.room = 0
	one := `{"type":"ping","data":"` + strings.Repeat("x", 100) + `"}`
	chunk := chunkOf(ws.OpText, one)
	host.bytes(chunk)
	most := private + len(one) + 2*itemOverhead
	if n := host.session.out.bytes; n > most {
		t.Errorf("%d bytes of answers wait, want %d at most", n, most)
	}
	if reading, _ := host.session.Wants(); reading {
		t.Error("more is read although a chunk waits")
	}
	if n := r.hub.budget.Used(budget.Input); n < int64(len(chunk))/2 || n > 2*int64(len(chunk)) {
		t.Errorf("%d bytes of input are counted", n)
	}
	pongs := len(chunk) / len(appendMasked(nil, one))
	for range 2 * pongs {
		host.drain(300)
		if host.session.out != nil && host.session.out.bytes > most {
			t.Fatalf("%d bytes of answers wait", host.session.out.bytes)
		}
	}
	host.drain(plenty)
	if got := len(host.frames()); got != pongs {
		t.Errorf("%d answers to %d pings", got, pongs)
	}
	if reading, _ := host.session.Wants(); !reading {
		t.Error("nothing is read any more")
	}
	host.reset()
	if n := r.hub.budget.Used(budget.Input) + r.hub.budget.Used(budget.Answers); n != 0 {
		t.Errorf("%d bytes are counted of a connection that is gone", n)
	}
}

// TestListsAreShared has a host with named viewers request the list repeatedly
// without reading.
func TestListsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, room := r.opens(0, `,"roster":true`)
		var viewers []*peer
		for i := range 300 {
			v, _ := r.enters(0, room.Code, fmt.Sprintf(`,"name":"%s %d"`, strings.Repeat("n", 50), i))
			viewers = append(viewers, v)
		}
		r.fresh(host)
		page := len(testClassroom().AppendEvent(nil, List{host.ask(`{"type":"list","limit":1000}`).persons(), 300}))
		for _, p := range append(viewers, host) {
			p.room = 0
			p.bytes(chunkOf(ws.OpText, `{"type":"list","limit":1000}`))
		}
		if n := r.hub.budget.Used(budget.Histories); n > 2*int64(page) {
			t.Errorf("%d bytes of lists, of which each has %d", n, page)
		}
		if n := r.hub.budget.Used(budget.Answers); n > 301*(64<<10) {
			t.Errorf("%d bytes of answers", n)
		}
		// Pages that are all different.
		r.pass(time.Minute)
		time.Sleep(time.Minute)
		pages := 0
		for i, v := range viewers {
			v.drain(plenty)
			v.frames()
			v.room = 0
			for n := range 5 {
				v.say(fmt.Sprintf(`{"type":"list","limit":1000,"after":%d}`, 5*i+n))
			}
			v.drain(plenty)
			for _, text := range v.frames() {
				if strings.HasPrefix(text, `{"type":"list"`) {
					pages++
				} else if !strings.HasPrefix(text, `{"type":"error","error":"busy"`) || !strings.HasSuffix(text, `"retry_ms":2000}`) {
					t.Fatalf("heard %.100s", text)
				}
			}
		}
		if pages > maxPages {
			t.Errorf("%d pages were encoded in a second", pages)
		}
		for _, p := range append(viewers, host) {
			p.reset()
		}
		time.Sleep(time.Hour) // until the room has closed
		checkEmpty(t, r.hub)
	})
}

// TestOneSessionsListsHaveARate reads a long list in pages, and then keeps
// requesting pages.
func TestOneSessionsListsHaveARate(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, _ := r.opens(0, "")
	for range pageBurst {
		host.gets("list", `{"type":"list"}`)
	}
	host.say(`{"type":"list"}`)
	host.hears(`{"type":"error","error":"too_fast","message":"the list may be asked for 20 times, and then once a second","re":"list","retry_ms":1000}`)
	r.pass(time.Second)
	host.gets("list", `{"type":"list"}`)
}

// TestLargeMessagesAreCheckedAside has two hosts send large messages in pieces.
// What follows a large message waits, and is handled in order.
func TestLargeMessagesAreCheckedAside(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(1)
	v := r.viewer(1, code)
	large := `{"type":"command","data":[` + strings.Repeat("0,", MinOffload/2) + `0]}`
	stream := newMasked(large, `{"type":"command","data":2}`, large[:len(large)-1], `{"type":"command","data":3}`)
	for len(stream) > 0 {
		n := min(len(stream), 60_000)
		host.bytes(stream[:n])
		stream = stream[n:]
	}
	if reading, _ := host.session.Wants(); reading {
		t.Error("the host is read from while its message is checked")
	}
	if len(v.wire) > 0 {
		t.Error("the message was relayed before it was checked")
	}
	v.hears(large, `{"type":"command","data":2}`, `{"type":"command","data":3}`)
	host.hears(`{"type":"error","error":"bad_json","message":"not valid JSON: unexpected end*`)
	if reading, _ := host.session.Wants(); !reading {
		t.Error("the host is not read from any more")
	}
	// It goes while its message is checked.
	whole := newMasked(large)
	host.bytes(whole[:60_000])
	host.bytes(whole[60_000:])
	host.reset()
	r.run()
	v.hears(hostLeftText)
}

// TestWhoWaitsForAHistoryIsBounded has a host flood its room instead of
// answering a history request.
func TestWhoWaitsForAHistoryIsBounded(t *testing.T) {
	config := Config{HistoryTimeout: time.Hour, LagLimit: 1 << 20, MaxHostMessage: 128 << 10, RetainMessages: 1}
	r := newTestRelay(t, 1, config)
	host, code := r.host(0)
	text := `{"type":"command","data":"` + strings.Repeat("x", 100_000) + `"}`
	host.say(text) // the record no longer reaches back
	host.say(text)
	var waiting []*peer
	for _, numbered := range []bool{false, true} {
		v := r.dial(0)
		v.say(fmt.Sprintf(`{"type":"join","code":"%s","history":true,"numbered":%t}`, code, numbered))
		v.room = 0
		waiting = append(waiting, v)
	}
	reading := r.viewer(0, code) // it reads, and waits all the same
	reading.say(`{"type":"history_request"}`)
	limits := r.hub.Config()
	most := 2 * int64(limits.LagLimit+limits.recordLimit()+2*len(text))
	for range 200 {
		host.say(text)
		r.run()
		if n := r.hub.budget.Used(budget.Logs); n > most {
			t.Fatalf("the room holds %d bytes, want %d at most", n, most)
		}
	}
	for _, v := range waiting {
		if v.session.room != nil {
			t.Error("a viewer that does not read is still there")
		}
	}
	got := reading.frames()
	if n := len(got); n != 201 || !strings.HasPrefix(got[0], `{"type":"error","error":"history_unavailable"`) && !strings.HasPrefix(got[1], `{"type":"error"`) {
		t.Errorf("a viewer that reads heard %d frames, the first is %.100s", n, got[0])
	}
}

// TestAHostWithAFullSocketIsBounded has a viewer that does not read become the
// host and flood the room.
func TestAHostWithAFullSocketIsBounded(t *testing.T) {
	r := newTestRelay(t, 1, Config{LagLimit: 1 << 20, MaxHostMessage: 128 << 10})
	host, code := r.host(0)
	next, other := r.viewer(0, code), r.viewer(0, code)
	next.room = 1000
	text := `{"type":"command","data":"` + strings.Repeat("x", 100_000) + `"}`
	host.say(text)
	host.say(text)
	host.say(`{"type":"grant_host","id":1}`)
	r.run()
	if !next.session.has(flagHost) || !next.session.cursor.IsZero() {
		t.Fatal("the viewer is not the host, or has a place in the Log")
	}
	if reading, _ := next.session.Wants(); reading {
		t.Error("a host is read from that has not taken what was due to it")
	}
	for range 100 { // as if it was read from
		next.say(text)
		r.run()
	}
	limits := r.hub.Config()
	if n := r.hub.budget.Used(budget.Logs); n > int64(limits.recordLimit()+len(text)) {
		t.Errorf("the room holds %d bytes", n)
	}
	next.drain(plenty)
	r.run()
	want := []string{text, text, `{"type":"host",*`}
	next.hears(want...)
	if got := len(other.frames()); got < 100 {
		t.Errorf("another viewer heard %d of 102 broadcasts", got)
	}
}

// TestHistoriesAreCounted has viewers hold a history that they do not read.
func TestHistoriesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		_, room := r.opens(0, `,"history":"relay"`)
		say := func(n int) {
			for range n {
				_, _ = testPublish(r.hub, room.Code, []byte(`"`+strings.Repeat("x", 1000)+`"`))
			}
		}
		say(100)
		var held []*peer
		ask := func() *peer {
			v := r.dial(1)
			v.room = 0
			v.say(`{"type":"join","code":"` + room.Code + `","history":true}`)
			r.run()
			held = append(held, v)
			return v
		}
		for range 50 {
			ask()
		}
		one := r.hub.budget.Used(budget.Histories)
		if one < 100_000 || one > 300_000 {
			t.Errorf("%d bytes of one history are counted", one)
		}
		time.Sleep(2 * freshFor)
		ask()
		if n := r.hub.budget.Used(budget.Histories); n < one+one/2 || n > 3*one {
			t.Errorf("%d bytes of two histories are counted, of which each has %d", n, one)
		}
		// One more does not fit.
		r.hub.budget.SetLimit(2 * (r.hub.budget.Sum() + 1000))
		time.Sleep(2 * freshFor)
		v := ask()
		v.drain(plenty)
		say(1)
		r.run()
		if got := v.frames(); len(got) != 3 || !strings.HasPrefix(got[0]+got[1], `{"type":"error","error":"busy"`) && !strings.HasPrefix(got[1], `{"type":"error","error":"busy"`) {
			t.Errorf("heard %.200q, want joined, busy, and a broadcast", got)
		}
		// Silent holders have little time then.
		r.pass(hastyHistory+2*time.Second, held...)
		r.hub.DeleteRoom(room.Code)
		for _, v := range held {
			v.reset()
		}
		r.run()
		time.Sleep(time.Minute)
		checkEmpty(t, r.hub)
		if slow := r.hub.Stats().Slow[CauseHistory]; slow.Closed < 50 {
			t.Errorf("%d were closed for a history, want at least the 50 that hold the first", slow.Closed)
		}
	})
}

// TestHistoriesAreEncodedInTurns has many rooms request a history at once.
func TestHistoriesAreEncodedInTurns(t *testing.T) {
	r := newTestRelay(t, 8, Config{})
	running := 0
	var begun []func()
	r.hub.background = func(f func()) {
		running++
		begun = append(begun, f)
	}
	var viewers []*peer
	for range 20 {
		_, room := r.opens(0, `,"history":"relay"`)
		v := r.dial(0)
		v.say(`{"type":"join","code":"` + room.Code + `","history":true}`)
		viewers = append(viewers, v)
	}
	if running != maxOffloads {
		t.Errorf("%d encoders run at once, want %d", running, maxOffloads)
	}
	for _, f := range begun {
		f()
	}
	r.run()
	for _, v := range viewers {
		v.hears(`{"type":"joined"*`, `{"type":"history"*`)
	}
}

// TestMessagesToManyThatDoNotRead checks that direct messages are bounded
// whether or not other frames wait.
func TestMessagesToManyThatDoNotRead(t *testing.T) {
	const private = 4000
	r := newTestRelay(t, 1, Config{MaxPrivate: private})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 0
	host.say(`{"type":"message","to":1,"data":"` + strings.Repeat("x", private) + `"}`)
	host.hears(`{"type":"error","error":"too_large"*`)
	host.say(`{"type":"message","to":1,"data":"` + strings.Repeat("x", private-100) + `"}`)
	host.hears()
	host.say(`{"type":"message","to":1,"data":"` + strings.Repeat("x", 200) + `"}`)
	host.hears(`{"type":"error","error":"too_fast"*`)
	if n := v.session.out.bytes; n > private+itemOverhead {
		t.Errorf("%d bytes wait", n)
	}
}

// TestBroadcastsOverHTTPToAHostThatDoesNotRead end its connection, and not its
// room.
func TestBroadcastsOverHTTPToAHostThatDoesNotRead(t *testing.T) {
	r := newTestRelay(t, 1, Config{LagLimit: 1 << 20, MaxHostMessage: 512 << 10})
	host, room := r.opens(0, `,"history":"relay"`)
	host.room = 0
	data := []byte(`"` + strings.Repeat("x", 400_000) + `"`)
	for range 10 {
		if _, err := testPublish(r.hub, room.Code, data); err != nil {
			t.Fatal(err)
		}
		r.run()
		if n := r.hub.budget.Used(budget.Answers); n > 1<<20+1000 {
			t.Fatalf("%d bytes wait for the host", n)
		}
	}
	if host.session.room != nil || host.session.reason != ReasonTooSlow {
		t.Error("the host is still there")
	}
	if info, ok := r.hub.Room(room.Code); !ok || info.Seq != 10 {
		t.Errorf("the room is %+v", info)
	}
}

func TestAMessageHasToComeWholeInTime(t *testing.T) {
	r := newTestRelay(t, 1, Config{MessageTimeout: 10 * time.Second, IdleTimeout: time.Hour, PingAfter: 30 * time.Minute})
	p, slow := r.dial(0), r.dial(0)
	half := frame.AppendMasked(nil, ws.OpText, false, [4]byte{}, []byte(`{"type":`))
	p.bytes(half)
	slow.bytes(half[:5])
	for range 9 {
		r.pass(time.Second, p, slow)
		p.frame(ws.OpPing, "") // a control frame in between changes nothing
		slow.bytes(nil)
	}
	p.bytes(frame.AppendMasked(nil, ws.OpContinuation, true, [4]byte{}, []byte(`"ping"}`)))
	if got := p.frames(); got[len(got)-1] != `{"type":"pong"}` {
		t.Errorf("heard %q", got)
	}
	r.pass(3*time.Second, p, slow)
	slow.hears(`{"type":"closed","reason":"message_timeout"}`, "close 4408")
	p.hears()
	p.bytes(half)
	if n := r.hub.budget.Used(budget.Input); n == 0 {
		t.Error("half a message is not counted")
	}
	p.reset()
	slow.reset()
	checkEmpty(t, r.hub)
}

// TestHalfMessagesDoNotFitTheBudget has many clients send half of the largest
// message each.
func TestHalfMessagesDoNotFitTheBudget(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	honest, code := r.host(0)
	v := r.viewer(0, code)
	var all []*peer
	for range 200 {
		all = append(all, r.dial(0))
	}
	r.hub.budget.SetLimit(1 << 20)
	half := appendMasked(nil, strings.Repeat("x", 16_000))
	half = half[:len(half)/2]
	var refused int
	for _, p := range all {
		if p.bytes(half); p.session.reason == ReasonMemory {
			refused++
			p.hears(`{"type":"closed","reason":"memory"}`, "close 1013")
			p.bytes(half) // the relay ignores it
		}
		if n := r.hub.budget.Used(budget.Input); n > 1<<20 {
			t.Fatalf("%d bytes of half messages", n)
		}
	}
	if refused < 50 {
		t.Errorf("%d of 200 were refused", refused)
	}
	honest.say(`{"type":"command","data":1}`)
	v.hears(`{"type":"command","data":1}`)
}

// TestPressureClosesThoseWhoHoldMost has rooms whose viewers do not read use up
// the budget, beside a room whose viewer is a little behind.
func TestPressureClosesThoseWhoHoldMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{Retain: 1000})
		innocent, code := r.host(0)
		behind := r.viewer(0, code)
		behind.room = 100
		innocent.say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
		var far []*peer
		for range 5 {
			host, code := r.host(0)
			v := r.viewer(0, code)
			v.room = 0
			for range 3 {
				host.say(`{"type":"command","data":"` + strings.Repeat("x", 1_000_000) + `"}`)
			}
			r.run()
			far = append(far, v)
		}
		mail, _ := r.enters(0, code, "")
		mail.room = 0
		for range 50 {
			innocent.say(`{"type":"message","to":2,"data":"` + strings.Repeat("x", 1000) + `"}`)
		}
		r.run()
		sum := r.hub.budget.Sum()
		if sum < 15_000_000 {
			t.Fatalf("%d bytes are counted", sum)
		}
		stranger := r.dial(0)
		r.hub.budget.SetLimit(sum)
		if r.hub.budget.Level() != budget.Over {
			t.Fatalf("level %d", r.hub.budget.Level())
		}
		stranger.fails("too_many_rooms", `{"type":"create"}`)
		for range 3 {
			r.hub.Tend()
			r.sleep(time.Second)
			for _, p := range append(far, behind, mail) {
				p.tick()
			}
			r.run()
		}
		for i, v := range far {
			if v.session.reason != ReasonTooSlow {
				t.Errorf("viewer %d, which is 3 MB behind, was not closed: %s", i, v.session.reason)
			}
		}
		if mail.session.reason != ReasonMemory {
			t.Errorf("a viewer for which 50 KB wait was not closed: %s", mail.session.reason)
		}
		if behind.session.room == nil {
			t.Error("a viewer that is 1 KB behind was closed")
		}
		for range 2 * maxPressure {
			r.sleep(time.Second)
			r.hub.Tend()
		}
		if n := r.hub.shrunk(1024); n != 1024 {
			t.Errorf("limits are at %d of 1024 when nothing is held any more; %d bytes counted", n, r.hub.budget.Sum())
		}
		behind.drain(plenty)
		behind.hears(`{"type":"command","data":"*`)
		for _, host := range []*peer{innocent} {
			host.reset()
		}
		time.Sleep(time.Hour)
	})
}

// TestAClosedRoomCountsOnce closes a room whose viewers are all far behind.
// They hold the same memory, which must count once.
func TestAClosedRoomCountsOnce(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	for range 50 {
		r.viewer(0, code).room = 10
	}
	for range 3 {
		host.say(`{"type":"command","data":"` + strings.Repeat("x", 1_000_000) + `"}`)
	}
	r.run()
	before := r.hub.budget.Sum()
	host.say(`{"type":"close"}`)
	r.run()
	if now := r.hub.budget.Sum(); now > before+100_000 || now < 3_000_000 {
		t.Errorf("%d bytes are counted after the room has closed, %d before", now, before)
	}
}

// TestLeavingWithMuchDue has viewers with full sockets reconnect repeatedly
// while their host broadcasts. What the old connections hold is bounded.
func TestLeavingWithMuchDue(t *testing.T) {
	r := newTestRelay(t, 1, Config{LagLimit: 1 << 20, MaxHostMessage: 100 << 10, MaxPrivate: 10_000})
	host, code := r.host(0)
	v, me := r.enters(0, code, "")
	text := `{"type":"command","data":"` + strings.Repeat("x", 90_000) + `"}`
	for range 20 {
		v.room = 0
		for range 5 {
			host.say(text)
		}
		next := r.dial(0)
		next.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s"}`, code, me.Token))
		r.run()
		if !v.session.cursor.IsZero() || v.session.out != nil && v.session.out.bytes > len(text)+10_000 {
			t.Fatalf("a connection that was replaced holds %d bytes", v.session.out.bytes)
		}
		v = next
	}
}
