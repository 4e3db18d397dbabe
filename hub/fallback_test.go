package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In rooms whose host keeps the history, the relay answers for it when it can
// tell everything.

const wholeHistory = `{"type":"history","commands":[1,2],"messages":[{"type":"command","data":1},{"type":"command","data":2}],"seq":2}`

func TestTheRecordAnswersForAHostThat(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(r *testRelay, host, v *peer) // between two broadcasts and the question
		asked   bool                              // the host is, and does not answer
		event   string
	}{
		"is silent": {
			happens: func(*testRelay, *peer, *peer) {},
			asked:   true,
		},
		"is away": {
			happens: func(_ *testRelay, host, _ *peer) { host.reset() },
			event:   `{"type":"host_left"*`,
		},
		"has come back": {
			happens: func(r *testRelay, host, _ *peer) {
				room := host.session.room
				token := host.hostToken()
				again := r.dial(0)
				again.say(`{"type":"resume","code":"` + room.code.String() + `","token":"` + token + `"}`)
				again.hears(`{"type":"created"*`)
			},
		},
		"was made host": {
			happens: func(r *testRelay, host, _ *peer) {
				heir := r.viewer(0, host.session.room.code.String())
				host.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, heir.session.id))
				r.run()
				heir.hears(`{"type":"host"*`)
			},
			event: `{"type":"host_changed"*`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTestRelay(t, 2, Config{})
				host, code := r.host(0)
				v := r.viewer(1, code)
				host.say(`{"type":"command","data":1}`)
				host.say(`{"type":"command","data":2}`)
				v.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`)
				c.happens(r, host, v)
				if c.event != "" {
					v.hears(c.event)
				}
				asked := v.session.room.hostSlot.host
				v.say(`{"type":"history_request"}`)
				if c.asked {
					host.hears(`{"type":"history_request"}`)
					v.hears()
					time.Sleep(5 * time.Second)
					synctest.Wait()
				}
				v.hears(wholeHistory)
				if asked != nil && !c.asked && asked.room.history.request.open {
					t.Error("the host was asked too")
				}
				host.reset()
				r.run()
			})
		})
	}
}

// TestAnHeirIsAskedForWhatTheRecordHasLost has a new host asked when the record
// no longer reaches back to the first broadcast.
func TestAnHeirIsAskedForWhatTheRecordHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{Retain: 1})
		host, code := r.host(0)
		v := r.viewer(1, code)
		token := host.hostToken()
		for range 3 {
			host.say(`{"type":"command","data":"` + strings.Repeat("x", 600) + `"}`)
		}
		r.run()
		v.frames()
		heir := r.dial(0)
		heir.say(`{"type":"resume","code":"` + code + `","token":"` + token + `"}`)
		heir.hears(`{"type":"created"*`)
		v.say(`{"type":"history_request"}`)
		heir.hears(`{"type":"history_request"}`)
		heir.say(`{"type":"history","commands":["all"]}`)
		v.hears(`{"type":"history","commands":["all"]}`)
		heir.reset()
		v.hears(`{"type":"host_left"*`)
		time.Sleep(10 * time.Second)
		r.pass(11*time.Second, v)
		v.say(`{"type":"history_request"}`)
		v.hears(`{"type":"error","error":"history_unavailable"*`)
	})
}
