package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"lectern/hub/budget"
	"lectern/hub/registry"
)

// A sleepingRelay is one that was started after another one, and has not read its
// rooms yet.
type sleepingRelay struct {
	*testRelay
	saved  map[string]Saved
	wanted []string
}

// asleep returns the relay that is started after r, whose rooms sleep.
func (r *testRelay) asleep(config Config) *sleepingRelay {
	next := &sleepingRelay{testRelay: newTestRelay(r.t, len(r.workers), config), saved: make(map[string]Saved)}
	var codes []string
	for _, room := range r.rooms() {
		s := room.Snapshot().Saved
		next.saved[s.Code] = s
		codes = append(codes, s.Code)
	}
	next.hub.Persist(keptStore{r.hub.tokens.Key, codes, func(code string) { next.wanted = append(next.wanted, code) }})
	return next
}

// wake wakes a room, as it was without its broadcasts.
func (r *sleepingRelay) wake(code string) {
	r.t.Helper()
	room, err := r.hub.Restore(r.saved[code], nil, Restoring{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.hub.Wake(room)
}

// TestARoomThatSleepsIsWaitedFor has a host and viewers ask for a room before
// it is read. No client is told that the room does not exist, and nothing that
// clients send is lost or answered out of order.
func TestARoomThatSleepsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newSavingRelay(t, 2, Config{})
		_, room := first.opens(0, "")
		_, was := first.enters(1, room.Code, `,"name":"Ada"`)
		other, _ := first.opens(0, "")
		other.hears()
		r := first.asleep(Config{})
		if n := r.hub.Stats().Rooms; n != 2 {
			t.Errorf("there are %d rooms", n)
		}
		host, viewer, stranger := r.dial(0), r.dial(1), r.dial(1)
		host.say(fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token))
		host.say(`{"type":"ping","data":1}`)
		host.say(`{"type":"command","data":1}`)
		viewer.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s"}`, room.Code, was.Token))
		viewer.say(`{"type":"message","data":"hello"}`)
		stranger.say(`{"type":"join","code":"` + room.Code + `"}`)
		stranger.say(`{"type":"join","code":"` + room.Code + `"}`)
		for _, p := range []*peer{host, viewer, stranger} {
			p.hears()
			if reading, writing := p.session.Wants(); reading || !writing {
				t.Error("it is read from")
			}
		}
		if !slices.Equal(r.wanted, []string{room.Code}) {
			t.Errorf("%q were wanted", r.wanted)
		}
		if r.hub.budget.Used(budget.Input) == 0 {
			t.Error("what waits is not counted")
		}
		r.wake(room.Code)
		host.hears(`{"type":"pong","data":1}`, `{"type":"created",*`, `{"type":"message","from":1,"data":"hello"}`)
		viewer.hears(`{"type":"joined",*`)
		stranger.hears(`{"type":"error","error":"already_in_room",*`, `{"type":"joined",*`)
		for _, p := range []*peer{host, viewer, stranger} {
			if reading, _ := p.session.Wants(); !reading {
				t.Error("it is not read from")
			}
		}
		host.say(`{"type":"command","data":2}`)
		viewer.hears(`{"type":"command","data":2}`)
		if n := r.hub.budget.Used(budget.Input); n != 0 {
			t.Errorf("%d bytes are counted of nothing", n)
		}
		viewer.fails("already_in_room", `{"type":"join","code":"%s"}`, room.Code)
		if n := r.hub.Stats().Rooms; n != 2 {
			t.Errorf("there are %d rooms", n)
		}
		r.hub.DeleteRoom(room.Code)
		time.Sleep(2 * registry.MaxWake)
	})
}

// TestARoomThatDoesNotWake has a room that cannot be read, and a room that
// turns out not to exist.
func TestARoomThatDoesNotWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newSavingRelay(t, 1, Config{})
		_, room := first.opens(0, "")
		r := first.asleep(Config{})
		p, ends, many := r.dial(0), r.dial(0), r.dial(0)
		join := `{"type":"join","code":"` + room.Code + `"}`
		p.say(join)
		p.say(`{"type":"ping"}`)
		ends.say(join)
		ends.frame(ws.OpClose, "")
		many.say(join)
		many.reset()
		r.sleep(registry.MaxWake - time.Millisecond)
		p.hears()
		r.sleep(time.Millisecond)
		p.hears(`{"type":"error","error":"not_ready",*`, `{"type":"pong"}`)
		if n := r.hub.budget.Used(budget.Input); n != 0 {
			t.Errorf("%d bytes are counted of nothing", n)
		}
		began := time.Now()
		if _, ok := r.hub.Room(room.Code); ok || time.Since(began) != registry.MaxWake {
			t.Errorf("it is told to be there: %t, after %s", ok, time.Since(began))
		}
		synctest.Wait() // its time is up for others, too
		p.say(join)
		p.hears()
		r.hub.Lost(room.Code)
		p.hears(`{"type":"error","error":"room_not_found",*`)
		if n := r.hub.Stats().Rooms; n != 0 {
			t.Errorf("there are %d rooms", n)
		}
		r.sleep(2 * registry.MaxWake)
	})
}

// TestWhatFollowsWaitsUnread sends a chunk of thousands of messages with a join.
func TestWhatFollowsWaitsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newSavingRelay(t, 1, Config{})
		_, room := first.opens(0, "")
		r := first.asleep(Config{})
		p := r.dial(0)
		var chunk []byte
		chunk = appendMasked(chunk, `{"type":"join","code":"`+room.Code+`"}`)
		for range 5000 {
			chunk = appendMasked(chunk, `{}`)
		}
		p.bytes(chunk)
		p.hears()
		if n := r.hub.budget.Used(budget.Input); n < int64(len(chunk))/2 || n > 2*int64(len(chunk)) {
			t.Errorf("%d bytes are counted of a chunk of %d", n, len(chunk))
		}
		r.wake(room.Code)
		p.relay.run()
		if all := p.frames(); len(all) == 0 || !slices.ContainsFunc(all, func(text string) bool { return strings.HasPrefix(text, `{"type":"joined"`) }) {
			t.Errorf("it heard %d frames", len(all))
		}
		p.reset()
		if n := r.hub.budget.Used(budget.Input); n != 0 {
			t.Errorf("%d bytes are counted of nothing", n)
		}
		r.hub.DeleteRoom(room.Code)
	})
}

// TestCodesOfSleepingRoomsAreTaken fills the relay with rooms that sleep.
func TestCodesOfSleepingRoomsAreTaken(t *testing.T) {
	first := newSavingRelay(t, 1, Config{})
	for range 3 {
		first.opens(0, "")
	}
	r := first.asleep(Config{MaxRooms: 3})
	r.dial(0).fails("too_many_rooms", `{"type":"create"}`)
}
