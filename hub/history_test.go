package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"lectern/hub/budget"
)

func TestHistoryThroughTheHost(t *testing.T) {
	synctest.Test(t, testHistoryThroughTheHost)
}

func testHistoryThroughTheHost(t *testing.T) {
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
	time.Sleep(11 * time.Second)
	r.pass(11*time.Second, asking...)
	asking[0].say(`{"type":"history_request"}`)
	host.hears(`{"type":"history_request"}`)
	host.say(answer)
	asking[0].hears(answer)
}

// TestTheHostIsAskedOnceInASecond has 5,000 viewers join and ask for the
// history within a second while the host keeps broadcasting and some older
// viewers ask too.
func TestTheHostIsAskedOnceInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, code := r.host(0)
		answers := func(covers string) {
			t.Helper()
			host.hears(`{"type":"history_request"}`)
			host.say(`{"type":"history","commands":[` + covers + `]}`)
		}
		host.say(`{"type":"command","data":1}`)
		there := r.viewer(1, code)
		var late []*peer
		for i := range 5000 {
			p := r.dial(i % 2)
			p.say(fmt.Sprintf(`{"type":"join","code":"%s","history":true,"numbered":%t}`, code, i%3 == 1))
			switch late = append(late, p); i {
			case 0: // whose answer serves the others, those with numbers too
				answers("1")
			case 2000:
				host.say(`{"type":"command","data":2}`)
			case 3000:
				there.hears(`{"type":"command","data":2}`)
				there.say(`{"type":"history_request"}`)
			}
			time.Sleep(time.Second / 5001)
		}
		host.say(`{"type":"command","data":3}`)
		for i, p := range late {
			if i%3 == 1 {
				p.hears(`{"type":"joined"*`, `{"seq":1,"type":"history","commands":[1]}`, `{"seq":2,"type":"command","data":2}`, `{"seq":3,"type":"command","data":3}`)
			} else {
				p.hears(`{"type":"joined"*`, `{"type":"history","commands":[1]}`, `{"type":"command","data":2}`, `{"type":"command","data":3}`)
			}
		}
		host.hears()
		there.hears() // it has got 2 already, which the answer did not tell
		time.Sleep(silentAfter / 2)
		synctest.Wait()
		answers("1,2,3")
		there.hears(`{"type":"history","commands":[1,2,3]}`)
		host.reset()
		r.run()
	})
}

// TestAnotherEncodingIsMadeOnceInASecond has viewers with numbers join, ask for the
// history and leave, one after the other, in a room in which nobody else wants
// numbers. The past is encoded for the first of them only.
func TestAnotherEncodingIsMadeOnceInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		encodings, aside := 0, r.hub.background
		r.hub.background = func(f func()) { encodings++; aside(f) }
		host, code := r.host(0)
		host.say(`{"type":"command","data":1}`)
		first := r.viewer(0, code)
		first.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		host.say(`{"type":"history","commands":[1]}`)
		first.hears(`{"type":"history","commands":[1]}`)
		host.say(`{"type":"command","data":2}`)
		for range 10 {
			p := r.dial(0)
			p.say(`{"type":"join","code":"` + code + `","history":true,"numbered":true}`)
			p.hears(`{"type":"joined"*`, `{"seq":1,"type":"history","commands":[1]}`, `{"seq":2,"type":"command","data":2}`)
			p.reset()
		}
		if encodings != 1 {
			t.Errorf("the past was encoded %d times", encodings)
		}
		room := host.session.room
		time.Sleep(freshFor)
		synctest.Wait() // the timer of the cached history is due at the same moment
		if room.streams.in(numbered) != nil || r.hub.budget.Used(budget.Histories) != 0 {
			t.Errorf("after a second the Log with numbers is %v, and histories have %d bytes", room.streams.in(numbered), r.hub.budget.Used(budget.Histories))
		}
		host.reset()
		r.run()
	})
}

// TestAnotherEncodingIsInTheBudget has a viewer with numbers ask for a cached history
// when the memory is nearly used up: it is not written once more.
func TestAnotherEncodingIsInTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, code := r.host(0)
		first, text := r.viewer(0, code), `{"type":"history","commands":["`+strings.Repeat("x", 100_000)+`"]}`
		first.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		host.say(text)
		first.hears(text)
		used := r.hub.budget.Used(budget.Histories)
		r.hub.budget.SetLimit(2*r.hub.budget.Sum() + 50_000)
		p := r.dial(0)
		p.say(`{"type":"join","code":"` + code + `","history":true,"numbered":true}`)
		p.hears(`{"type":"joined"*`)
		if now := r.hub.budget.Used(budget.Histories); now > used {
			t.Errorf("histories have %d bytes instead of %d", now, used)
		}
		host.reset()
		r.run()
	})
}

// TestAQuestionThatWaitsOutlivesTheHost shuts the relay down while a request
// waits for freshFor. The room stays open for the store, but there is no host
// to ask.
func TestAQuestionThatWaitsOutlivesTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		r.hub.Persist(keptStore{})
		host, code := r.host(0)
		first, second := r.viewer(0, code), r.viewer(0, code)
		first.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		host.say(`{"type":"history","commands":[]}`)
		host.say(`{"type":"command","data":1}`)
		second.hears(`{"type":"command","data":1}`)
		second.say(`{"type":"history_request"}`)
		r.hub.Drain()
		host.session.Shutdown()
		time.Sleep(2 * freshFor)
		synctest.Wait()
		second.session.Shutdown()
		second.Flush()
		second.hears(`{"type":"closed","reason":"shutdown"*`, "close 1001")
	})
}

// TestALateTimerEndsItsOwnQuestionOnly lets the timer of a request fire just as
// the host answers it and another request begins.
func TestALateTimerEndsItsOwnQuestionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{RetainMessages: 1})
		host, code := r.host(0)
		for range 3 {
			host.say(`{"type":"command","data":"` + strings.Repeat("long", 200) + `"}`)
		}
		v, w := r.viewer(1, code), r.viewer(1, code)
		v.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		time.Sleep(2 * freshFor) // the record cannot answer
		host.say(`{"type":"history","commands":[1]}`)
		host.say(`{"type":"command","data":1}`)
		w.hears(`{"type":"command","data":1}`)
		w.say(`{"type":"history_request"}`)
		host.hears(`{"type":"history_request"}`)
		host.session.room.history.hostSilent(1)
		host.say(`{"type":"history","commands":[2]}`)
		w.hears(`{"type":"history","commands":[2]}`)
		host.reset()
		r.run()
	})
}

// TestComingBackDoesNotEvadeHistoryEvery has a viewer reconnect repeatedly to
// ask for the history.
func TestComingBackDoesNotEvadeHistoryEvery(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, `,"history":"relay"`)
	_, _ = testPublish(r.hub, room.Code, []byte(`1`))
	_, me := r.enters(0, room.Code, "")
	back := func() string {
		p := r.dial(0)
		p.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","history":true}`, room.Code, me.Token))
		r.run()
		return strings.Join(p.frames(), "\n")
	}
	for range returnBurst { // its network is bad
		if got := back(); !strings.Contains(got, `{"type":"history",`) {
			t.Fatalf("heard %s", got)
		}
	}
	if got := back(); !strings.Contains(got, `{"type":"error","error":"too_fast"`) || !strings.Contains(got, `"joined"`) || !strings.Contains(got, `"re":"history_request"`) {
		t.Errorf("heard %s", got)
	}
	r.pass(r.hub.Config().HistoryEvery + time.Second)
	if got := back(); !strings.Contains(got, `{"type":"history",`) {
		t.Errorf("after a while: heard %s", got)
	}
}

func TestTheRecordAnswersForALateHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, code := r.host(0)
		host.say(`{"type":"command","data":1}`)
		v := r.dial(1)
		v.say(`{"type":"join","code":"` + code + `","history":true}`)
		host.hears(`{"type":"history_request"}`)
		time.Sleep(silentAfter - time.Millisecond)
		synctest.Wait()
		v.hears(`{"type":"joined"*`)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		v.hears(`{"type":"history","commands":[1],*`)
		host.say(`{"type":"history","commands":["late"]}`) // no viewer waits for it any more
		host.say(`{"type":"command","data":2}`)
		v.hears(`{"type":"command","data":2}`)
		time.Sleep(2 * freshFor)
	})
}

func TestAHistorysNumberIsTheRelays(t *testing.T) {
	r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	v := r.numberedViewer(0, code)
	v.say(`{"type":"history_request"}`)
	host.hears(`{"type":"history_request"}`)
	host.say(`{"type":"history","commands":[],"seq":99}`)
	host.hears(`{"type":"error","error":"bad_message"*`)
	v.hears()
	host.say(`{"type":"history","commands":[]}`)
	v.hears(`{"seq":0,"type":"history","commands":[]}`)
}

func TestJoinWithHistoryHasNoOverlap(t *testing.T) {
	r := newTestRelay(t, 2, Config{HistoryTimeout: time.Hour})
	host, code := r.host(0)
	host.say(`{"type":"command","data":1}`)
	v := r.dial(1)
	v.say(`{"type":"join","code":"` + code + `","history":true}`)
	host.hears(`{"type":"history_request"}`)
	host.say(`{"type":"command","data":2}`)
	v.hears(`{"type":"joined","code":"` + code + `",*`)
	host.say(`{"type":"history","commands":[1,2]}`)
	host.say(`{"type":"command","data":3}`)
	v.hears(`{"type":"history","commands":[1,2]}`, `{"type":"command","data":3}`)
}

func TestHistoryTimeoutLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{Retain: 1})
		host, code := r.host(0)
		host.say(`{"type":"command","data":"` + strings.Repeat("forgotten", 100) + `"}`)
		r.run()
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
