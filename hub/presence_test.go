package hub

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestPresenceTellsTheFirstAtOnceThenGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, room := r.opens(0, "")
		ada, _ := r.enters(1, room.Code, `,"name":"Ada"`)
		check := func(want ...string) {
			t.Helper()
			var got []string
			for _, e := range host.told() {
				got = append(got, e.text)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("the host was told %q, want %q", got, want)
			}
		}
		check(`{"type":"presence","joined":[{"id":1,"name":"Ada"}],"left":[],"viewers":1}`)
		r.enters(1, room.Code, "")
		ada.reset()
		r.sleep(presenceEvery - time.Millisecond)
		check()
		r.sleep(time.Millisecond)
		check(`{"type":"presence","joined":[{"id":2}],"left":[1],"viewers":1}`)
		r.sleep(time.Hour)
		check()
		r.enters(0, room.Code, `,"name":"`+"\u202e<é😀"+`"`)
		check(`{"type":"presence","joined":[{"id":3,"name":"` + "\u202e\\u003cé😀" + `"}],"left":[],"viewers":2}`)
	})
}

// TestPresenceTellsWhatHoldsInTheEnd has one viewer leave and come back, and
// another join and leave, within one event.
func TestPresenceTellsWhatHoldsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, room := r.opens(0, "")
		stays, _ := r.enters(0, room.Code, "")
		r.enters(0, room.Code, "")
		for range 3 { // now both were told
			r.sleep(presenceEvery)
		}
		r.enters(0, room.Code, "") // told at once, and nothing again for a while
		r.sleep(time.Millisecond)
		if told := host.told(); len(told) == 0 || len(told[len(told)-1].Joined) != 1 {
			t.Fatalf("the host was told %+v", told)
		}
		token := viewerToken(stays.session.room, stays.session.id)
		stays.reset()
		r.enters(0, room.Code, `,"token":"`+token+`"`)
		goes, _ := r.enters(0, room.Code, "")
		goes.reset()
		r.sleep(presenceEvery)
		told := host.told()
		if want := `{"type":"presence","joined":[{"id":1}],"left":[4],"viewers":3}`; len(told) != 1 || told[0].text != want {
			t.Errorf("the host was told %+v, want %s", told, want)
		}
	})
}

// TestPresenceOfABellThatRings has 5,000 viewers join within a second and then
// leave.
func TestPresenceOfABellThatRings(t *testing.T) {
	const viewers, steps = 5000, 100
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, room := r.opens(0, "")
		var all []*peer
		check := func(when string, count int) {
			t.Helper()
			r.sleep(presenceEvery)
			told := host.told()
			if len(told) == 0 || len(told) > 6 {
				t.Fatalf("%s the host was told %d times", when, len(told))
			}
			for _, e := range told {
				if len(e.Joined) > maxPresence || len(e.Left) > maxPresence {
					t.Errorf("%s an event tells %d and %d", when, len(e.Joined), len(e.Left))
				}
			}
			if last := told[len(told)-1]; string(last.Viewers) != fmt.Sprint(count) {
				t.Errorf("%s the host counts %s, want %d", when, last.Viewers, count)
			}
		}
		for range steps {
			for range viewers / steps {
				p := r.dial(1)
				p.say(`{"type":"join","code":"` + room.Code + `","name":"a pupil"}`)
				all = append(all, p)
			}
			r.sleep(time.Second / steps)
		}
		check("when they had joined", viewers)
		for i, p := range all {
			p.reset()
			if i%(viewers/steps) == 0 {
				r.sleep(time.Second / steps)
			}
		}
		check("when they had gone", 0)
	})
}

// TestPresenceWaitsForAHostThatDoesNotRead checks that what waits for such a
// host is bounded, and that the count is right when it reads again.
func TestPresenceWaitsForAHostThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{MaxPrivate: 4000})
		host, room := r.opens(0, "")
		host.room = 0
		for range 300 {
			r.enters(0, room.Code, `,"name":"a pupil with quite a long name"`)
			r.sleep(presenceEvery)
		}
		if waits := host.session.out.bytes; waits > 8000 {
			t.Errorf("%d bytes wait for the host", waits)
		}
		host.drain(plenty)
		r.sleep(presenceEvery)
		told := host.told()
		if last := told[len(told)-1]; string(last.Viewers) != "300" {
			t.Errorf("the host counts %s", last.Viewers)
		}
	})
}

func TestPresenceForAHostThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, room := r.opens(0, "")
		r.enters(1, room.Code, "")
		host.told()
		gone, _ := r.enters(1, room.Code, "")
		host.reset() // before it was told of the second
		gone.reset()
		r.enters(1, room.Code, "")
		r.sleep(time.Second)
		next := r.dial(0)
		next.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
		var told []string
		for range 4 {
			for _, e := range next.told() {
				told = append(told, e.text)
			}
			r.sleep(presenceEvery)
		}
		// It was not there: it lists who is, and the count tells it whether to.
		if want := []string{`{"type":"presence","joined":[],"left":[],"viewers":2}`}; !slices.Equal(told, want) {
			t.Errorf("the host that came back was told %q, want %q", told, want)
		}
	})
}

func TestPresenceIsForTheHostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, `,"roster":true`)
		v, _ := r.enters(0, room.Code, "")
		r.enters(0, room.Code, "")
		r.sleep(time.Second)
		if told := v.told(); len(told) > 0 {
			t.Errorf("a viewer was told %s", told[0].text)
		}
	})
}

// TestPresenceOfAnOlderTimer lets a timer fire that was stopped too late, as
// can happen when the host changes.
func TestPresenceOfAnOlderTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, code := r.host(0)
		r.viewer(0, code)
		host.told()
		late := func(want int) {
			t.Helper()
			host.session.room.presence.tell()
			if told := host.told(); len(told) != want {
				t.Fatalf("the host was told %d times, want %d", len(told), want)
			}
		}
		late(0) // there is nothing to tell
		r.sleep(presenceEvery / 2)
		r.viewer(0, code)
		late(0) // it is too early
		r.sleep(presenceEvery / 2)
		late(1)
		late(0)
	})
}

// TestNamesOfThoseWhoComeBack has a viewer come back without its name, and with
// another name, after it has left and while its older connection is there.
func TestNamesOfThoseWhoComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, room := r.opens(0, "")
		v, me := r.enters(1, room.Code, `,"name":"Ada"`)
		r.sleep(presenceEvery)
		host.told()
		back := func(options string) {
			t.Helper()
			v, _ = r.enters(1, room.Code, `,"token":"`+me.Token+`"`+options)
			r.sleep(2 * presenceEvery)
		}
		check := func(want ...string) {
			t.Helper()
			var got []string
			for _, e := range host.told() {
				got = append(got, e.text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("the host was told %q, want %q", got, want)
			}
		}
		joined := func(name string) string {
			return `{"type":"presence","joined":[{"id":1,"name":"` + name + `"}],"left":[],"viewers":1}`
		}
		v.reset()
		r.sleep(2 * presenceEvery)
		host.told()
		back("")
		check(joined("Ada"))
		back("") // its older connection is there
		check()
		back(`,"name":"Ada"`)
		check()
		back(`,"name":"Grace"`)
		check(joined("Grace"))
		v.reset()
		back(`,"name":"Joan"`)
		if told := host.told(); len(told) == 0 || len(told[len(told)-1].Joined) != 1 || told[len(told)-1].Joined[0].Name != "Joan" {
			t.Errorf("the host was told %+v", told)
		}
	})
}

// TestNamesGoWithTheirRoom closes a room that has kept a name, with another viewer
// in it.
func TestNamesGoWithTheirRoom(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	gone, _ := r.enters(0, room.Code, `,"name":"Ada"`)
	r.enters(0, room.Code, `,"name":"Grace"`)
	gone.reset()
	r.run()
	if n := r.hub.left.Load(); n < int64(len("Ada")) {
		t.Errorf("%d bytes are counted of one name", n)
	}
	host.say(`{"type":"close"}`)
	r.run()
	if n := r.hub.left.Load(); n != 0 {
		t.Errorf("%d bytes are counted of no room's names", n)
	}
}

// TestPresenceTellsWhenItIsCut has more viewers join and leave at once than an
// event names. The event says so, and the list names all of them.
func TestPresenceTellsWhenItIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, room := r.opens(0, "")
		r.enters(0, room.Code, "")
		host.told() // and nothing again for a while
		for range maxPresence {
			r.enters(0, room.Code, "")
		}
		r.sleep(presenceEvery)
		if told := host.told(); len(told) != 1 || told[0].Truncated || len(told[0].Joined) != maxPresence {
			t.Fatalf("of %d who joined the host was told %+v", maxPresence, told)
		}
		var all []*peer
		for range maxPresence + 1 {
			v, _ := r.enters(0, room.Code, "")
			all = append(all, v)
		}
		r.sleep(presenceEvery)
		if told := host.told(); len(told) != 1 || !told[0].Truncated || len(told[0].Joined) != maxPresence {
			t.Fatalf("of one more than fit the host was told %+v", told)
		}
		for _, v := range all {
			v.reset()
		}
		r.sleep(presenceEvery)
		if told := host.told(); len(told) != 1 || !told[0].Truncated || len(told[0].Left) != maxPresence {
			t.Fatalf("of one more than fit who left the host was told %+v", told)
		}
		r.sleep(time.Second)
		r.enters(0, room.Code, "")
		if told := host.told(); len(told) != 1 || told[0].Truncated {
			t.Errorf("afterwards the host was told %+v", told)
		}
		if got := host.listed(`,"limit":1000`); len(got) != maxPresence+2 {
			t.Errorf("the list has %d", len(got))
		}
	})
}
