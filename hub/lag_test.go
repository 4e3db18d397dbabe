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

func TestWhoIsNotReadFromIsNotIdleWhileItTakesBytes(t *testing.T) {
	r := newTestRelay(t, 1, Config{HistoryTimeout: time.Hour, HistoryTake: time.Hour, MaxPrivate: 1000})
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
				v.session.lastReceived, v.session.lastSent = v.session.shard.Now(), v.session.shard.Now()
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
					end := v.session.room.streams.record.End()
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
	if got := r.hub.Stats().Slow[CauseStall]; got != (Slow{Closed: 1}) {
		t.Errorf("counted %+v", got)
	}
	r.pass(6*time.Second, v)
	if !v.gone {
		t.Error("the connection outlives the close timeout")
	}
}

// TestStalledViewerIsMovedOnFirst checks that a room that skips moves a stalled
// viewer on, until the viewer counts as idle.
func TestStalledViewerIsMovedOnFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, code := r.relayHost(0, `,"slow":"skip"`)
		v, lost := r.numberedViewer(0, code), r.viewer(0, code)
		synctest.Wait() // the count of viewers is told
		r.run()
		v.room, lost.room = 10, 10
		for n := range 5 {
			host.say(fmt.Sprintf(`{"type":"command","data":%d}`, n+1))
		}
		r.run()
		r.pass(31*time.Second, v, lost, host)
		slow := r.hub.Stats().Slow
		if want := (Slow{Skipped: 2}); slow[CauseStall] != want || slow[CauseLag] != (Slow{}) {
			t.Errorf("counted %+v, want %+v of stalls", slow, want)
		}
		host.say(`{"type":"command","data":6}`)
		v.drain(plenty)
		v.frame(ws.OpPong, "")
		v.hears(`{"seq":1,"type":"command","data":1}`, "ping ", `{"type":"skipped","messages":4,"seq":5}`, `{"seq":6,"type":"command","data":6}`)
		r.pass(31*time.Second, v, lost, host)
		if v.session.phase != open || lost.session.reason != ReasonIdle {
			t.Errorf("phase %d, and %s", v.session.phase, lost.session.reason)
		}
		host.reset()
		r.run()
		time.Sleep(time.Hour)
	})
}

// TestAHistoryIsTakenInTime has viewers ask for a long history and read it
// slowly. Only one reads fast enough.
func TestAHistoryIsTakenInTime(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxPrivate: 1000})
	host, code := r.relayHost(0, "")
	for range 100 {
		host.say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
	}
	enough, slow := r.dial(0), r.dial(0)
	for _, v := range []*peer{enough, slow} {
		v.room = 1000
		v.say(`{"type":"join","code":"` + code + `","history":true}`)
	}
	r.run()
	for range 75 {
		r.pass(time.Second, enough, slow, host)
		enough.drain(5000)
		slow.drain(1000)
		host.frame(ws.OpPong, "")
	}
	if enough.session.phase != open || len(enough.frames()) < 2 {
		t.Errorf("who took it in time is in phase %d, for %s", enough.session.phase, enough.session.reason)
	}
	if got := r.hub.Stats().Slow[CauseHistory]; slow.session.reason != ReasonTooSlow || got != (Slow{Closed: 1}) {
		t.Errorf("who did not is in phase %d, for %s; counted %+v", slow.session.phase, slow.session.reason, got)
	}
}

// TestWhoTakesBytesIsAlive has a viewer read so slowly that pings do not reach
// it in time.
func TestWhoTakesBytesIsAlive(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.viewer(0, code)
	v.room = 0
	host.say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
	r.run()
	for range 100 {
		r.pass(time.Second, v, host)
		v.drain(2)
		host.frame(ws.OpPong, "")
	}
	if v.session.phase != open {
		t.Fatalf("closed as %s", v.session.reason)
	}
	r.pass(61*time.Second, v, host) // now it takes nothing
	if v.session.phase == open {
		t.Error("who takes nothing is not given up")
	}
}

func TestReadingStopsWhileAnswersWait(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxPrivate: 1000, ViewerRate: 100})
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
