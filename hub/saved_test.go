package hub

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/frame"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// restart returns a relay that goes on where another one ended, as if a store
// had kept of its rooms what they had up to broadcast upTo.
func (r *testRelay) restart(config Config, clean bool, upTo uint64) *testRelay {
	r.t.Helper()
	next := newTestRelay(r.t, len(r.workers), config)
	next.hub.Persist(keptStore{key: r.hub.tokens.Key})
	for _, room := range r.rooms() {
		snapshot := room.Snapshot()
		lost := snapshot.Seq - min(upTo, snapshot.Seq)
		var messages [][]byte
		for c := snapshot.Oldest; ; {
			whole, message := c.NextFrame()
			if whole == nil || message && c.Seq() > upTo {
				break
			}
			if message {
				messages = append(messages, frame.Payload(whole))
			}
		}
		text, err := json.Marshal(snapshot.Saved)
		if err != nil {
			r.t.Fatal(err)
		}
		s := Saved{Seq: snapshot.Seq - lost, Sent: snapshot.Sent - lost, LastID: snapshot.LastID}
		if err := json.Unmarshal(text, &s); err != nil {
			r.t.Fatal(err)
		}
		how := Restoring{Starts: 1}
		if clean {
			how.Starts = 0
		}
		restored, err := next.hub.Restore(s, messages, how)
		if err != nil {
			r.t.Fatal(err)
		}
		next.hub.Wake(restored)
	}
	return next
}

func newSavingRelay(t *testing.T, workers int, config Config) *testRelay {
	r := newTestRelay(t, workers, config)
	r.hub.Persist(keptStore{key: [32]byte{1, 2, 3}})
	return r
}

func (p *peer) broadcasts(from, to int) {
	for i := from; i <= to; i++ {
		p.say(command(i))
	}
	p.hears()
}

func command(i int) string { return fmt.Sprintf(`{"type":"command","data":%d}`, i) }

// TestWhoIsRecovered tries the places from which a viewer may come back after
// two unclean starts. The first start lost broadcasts 6 to 8, the second lost 9
// and 10 of their successors.
func TestWhoIsRecovered(t *testing.T) {
	r := newSavingRelay(t, 2, Config{})
	host, first := r.opens(0, `,"history":"relay"`)
	viewer, was := r.enters(1, first.Code, "")
	host.broadcasts(1, 8)
	if len(viewer.frames()) != 8 {
		t.Fatal("the viewer did not get all")
	}
	epochs := []string{first.Epoch}
	for _, keeps := range []uint64{5, 8} {
		r = r.restart(Config{}, false, keeps)
		host = r.dial(0)
		back := host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, first.Code, first.Token)
		if back.Seq != int(keeps) || back.Sent != int(keeps) || back.Token != first.Token || slices.Contains(epochs, back.Epoch) {
			t.Fatalf("the host was told %s", back.text)
		}
		epochs = append(epochs, back.Epoch)
		host.broadcasts(int(keeps)+1, 10)
	}
	for name, c := range map[string]struct {
		epoch     string
		seq       int
		recovered bool
		from      int // where its stream goes on
		common    int // -1 if it is told none
	}{
		"first epoch, before its end":      {epochs[0], 3, true, 3, -1},
		"first epoch, nothing":             {epochs[0], 0, true, 0, -1},
		"first epoch, its end":             {epochs[0], 5, true, 5, -1},
		"first epoch, what was lost":       {epochs[0], 6, false, 5, 5},
		"first epoch, its very last":       {epochs[0], 8, false, 5, 5},
		"second epoch, before it began":    {epochs[1], 2, true, 2, -1},
		"second epoch, its end":            {epochs[1], 8, true, 8, -1},
		"second epoch, what was lost":      {epochs[1], 9, false, 8, 8},
		"present epoch, its end":           {epochs[2], 10, true, 10, -1},
		"present epoch, before it began":   {epochs[2], 1, true, 1, -1},
		"present epoch, what is not there": {epochs[2], 11, false, 10, -1},
		"no epoch":                         {"", 10, false, 10, -1},
		"no epoch that there was":          {"0123456789ab", 3, false, 10, -1},
	} {
		for _, numbered := range []bool{false, true} {
			v := r.dial(1)
			v.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d,"numbered":%t}`, first.Code, was.Token, c.epoch, c.seq, numbered))
			r.run()
			all := slices.DeleteFunc(v.frames(), func(text string) bool { return text == `{"type":"host_back"}` })
			e, err := parseEvent(all[0])
			if err != nil || e.ID != was.ID || e.Recovered != c.recovered || e.Epoch != epochs[2] {
				t.Fatalf("%s: was told %q", name, all)
			}
			if e.Seq != c.from {
				t.Errorf("%s: goes on from %d, want %d", name, e.Seq, c.from)
			}
			if (e.Common == nil) != (c.common < 0) || e.Common != nil && *e.Common != c.common {
				t.Errorf("%s: was told %s, want common %d", name, all[0], c.common)
			}
			for i, text := range all[1:] {
				n := e.Seq + 1 + i
				want := command(n)
				if numbered {
					want = fmt.Sprintf(`{"seq":%d,%s`, n, want[1:])
				}
				if text != want {
					t.Errorf("%s: broadcast %d is %s", name, n, text)
				}
			}
			if len(all)-1 != 10-e.Seq {
				t.Errorf("%s: got %d broadcasts from %d on", name, len(all)-1, e.Seq)
			}
			v.say(`{"type":"leave"}`)
			v.hears(`{"type":"left"}`)
		}
	}
}

// TestWhatIsCommonWithoutTheRest has viewers of an older epoch come back when
// the record does not reach back far enough, or ask for the history.
func TestWhatIsCommonWithoutTheRest(t *testing.T) {
	r := newSavingRelay(t, 1, Config{RetainMessages: 1})
	host, first := r.opens(0, `,"history":"relay"`)
	_, was := r.enters(0, first.Code, "")
	host.broadcasts(1, 8)
	r = r.restart(Config{RetainMessages: 1, HistoryEvery: time.Nanosecond}, false, 6)
	host = r.dial(0)
	host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, first.Code, first.Token)
	for i := range 2000 {
		host.say(command(7 + i))
	}
	r.run()
	const last = 2006
	for name, c := range map[string]struct {
		seq     int
		history bool
		common  int
	}{
		"it saw what was lost":            {8, false, 6},
		"it has what the relay had":       {4, false, 4},
		"it has nothing":                  {0, false, 0},
		"it saw what was lost, and asks":  {8, true, 6},
		"it saw more than there ever was": {1 << 40, false, 6},
	} {
		v := r.dial(0)
		v.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d,"history":%t}`, first.Code, was.Token, first.Epoch, c.seq, c.history))
		r.run()
		all := v.frames()
		e, err := parseEvent(all[0])
		if err != nil || e.Recovered || e.Common == nil || *e.Common != c.common || e.Seq != last {
			t.Errorf("%s: was told %q", name, all[0])
		}
		if len(all) != map[bool]int{false: 1, true: 2}[c.history] {
			t.Errorf("%s: heard %d frames", name, len(all))
		}
		v.reset()
	}
}

// TestSameState changes one field after the other.
func TestSameState(t *testing.T) {
	changes := map[string]any{
		"Older": []Past{{"e", 1}}, "Created": time.Unix(1, 0), "Secret": credentials.Hash{1}, "Token": credentials.Hash{1}, "Granted": credentials.Hash{1},
		"Void": [][2]uint32{{1, 1}}, "VoidIDs": []uint32{1},
		"Code": "c", "Birth": "b", "Epoch": "e", "Name": "n", "MaxViewers": 1, "Roster": true, "RelayTells": true, "Skips": true, "Hosted": true,
	}
	numbers := map[string]any{"Seq": uint64(1), "Sent": uint64(1), "LastID": uint32(1)}
	for i := range reflect.TypeFor[Saved]().NumField() {
		name := reflect.TypeFor[Saved]().Field(i).Name
		var s Saved
		to, counts := changes[name]
		if !counts {
			to = numbers[name]
		}
		reflect.ValueOf(&s).Elem().Field(i).Set(reflect.ValueOf(to))
		if s.SameState(new(Saved)) == counts {
			t.Errorf("a change of %s counts: %t", name, !counts)
		}
	}
}

func TestACleanStartChangesNothing(t *testing.T) {
	r := newSavingRelay(t, 1, Config{})
	host, first := r.opens(0, `,"history":"relay","roster":true,"slow":"skip","name":"a name","secret":"right","max_viewers":3`)
	viewer, was := r.enters(0, first.Code, `,"secret":"right"`)
	kicked, void := r.enters(0, first.Code, `,"secret":"right"`)
	host.say(fmt.Sprintf(`{"type":"kick","id":%d}`, void.ID))
	host.hears(fmt.Sprintf(`{"type":"kicked","id":%d}`, void.ID))
	kicked.hears(`{"type":"closed","reason":"kicked"}`, "close 4002")
	host.broadcasts(1, 3)
	viewer.hears(command(1), command(2), command(3))
	before := r.hub.room(first.Code).info()

	r = r.restart(Config{}, true, 3)
	after := r.hub.room(first.Code).info()
	before.Host, before.Viewers, before.Bytes, after.Bytes = false, 0, 0, 0
	before.Created, after.Created = before.Created.Round(0), after.Created.Round(0)
	if before != after {
		t.Errorf("the room is %+v, was %+v", after, before)
	}
	v := r.dial(0)
	v.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":2}`, first.Code, was.Token, was.Epoch))
	v.hears(fmt.Sprintf(`{"type":"joined","code":"%s","id":%d,"token":"%s","epoch":"%s","seq":2,"viewers":1,"host":false,"recovered":true}`,
		first.Code, was.ID, was.Token, was.Epoch), command(3))
	v = r.dial(0)
	v.fails("bad_token", `{"type":"join","code":"%s","token":"%s"}`, first.Code, void.Token)
	v.fails("wrong_secret", `{"type":"join","code":"%s","secret":"wrong"}`, first.Code)
	v.fails("bad_token", `{"type":"resume","code":"%s","token":"%s"}`, first.Code, was.Token)
	if next := v.gets("joined", `{"type":"join","code":"%s","secret":"right"}`, first.Code); next.ID != void.ID+1 {
		t.Errorf("the next viewer got the id %d after %d", next.ID, void.ID)
	}
	v = r.dial(0)
	if back := v.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, first.Code, first.Token); back.Epoch != first.Epoch || back.Sent != 3 {
		t.Errorf("the host was told %s", back.text)
	}
}

// TestUncleanStarts counts what each of them adds, up to its limit.
func TestUncleanStarts(t *testing.T) {
	r := newSavingRelay(t, 1, Config{})
	_, first := r.opens(0, "")
	r.enters(0, first.Code, "")
	for i := 1; i <= maxOlder+2; i++ {
		r = r.restart(Config{}, false, 0)
		room := r.hub.room(first.Code)
		if len(room.older) != min(i, maxOlder) || room.birth != first.Epoch || room.epoch == first.Epoch {
			t.Fatalf("after %d starts the room has %d older epochs, birth %s, epoch %s", i, len(room.older), room.birth, room.epoch)
		}
		if last := room.roster.LastID(); last != uint32(1+i*lostIDs) {
			t.Fatalf("after %d starts the last id is %d", i, last)
		}
	}
	if got := r.hub.room(first.Code).older[0].Epoch; got == first.Epoch {
		t.Error("the first epoch is still remembered")
	}
}

// TestRestoredRoomsWait leaves a restored room that had a host, and one that
// had none, without a host.
func TestRestoredRoomsWait(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		hosted bool
		waits  time.Duration
		why    string
	}{
		"for the grace":               {Config{HostGrace: time.Minute}, true, time.Minute, "host_gone"},
		"for a while without a grace": {Config{HostGrace: -1}, true, minReturn, "host_gone"},
		"for the first host":          {Config{RoomIdle: time.Hour}, false, time.Hour, "room_idle"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newSavingRelay(t, 1, Config{})
				info, token, err := r.hub.CreateRoom(RoomOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if c.hosted {
					r.dial(0).gets("created", `{"type":"resume","code":"%s","token":"%s"}`, info.Code, token)
				}
				for _, room := range r.rooms() {
					room.hostSlot.stopWaiting()
				}
				r = r.restart(c.config, true, 0)
				v, told := r.enters(0, info.Code, "")
				if told.Host {
					t.Error("there is a host")
				}
				r.sleep(c.waits - time.Second)
				v.hears()
				r.sleep(2 * time.Second)
				v.hears(`{"type":"closed","reason":"`+c.why+`"}`, "close 4000")
			})
		})
	}
}

// TestRoomsStayWhenTheRelayDrains ends a relay with a store, and one without.
func TestRoomsStayWhenTheRelayDrains(t *testing.T) {
	for name, stays := range map[string]bool{"with a store": true, "in memory": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTestRelay(t, 1, Config{})
				if stays {
					r.hub.Persist(keptStore{})
				}
				host, first := r.opens(0, `,"history":"relay"`)
				away, other := r.opens(0, "")
				away.reset()
				viewer, _ := r.enters(0, first.Code, "")
				r.hub.Drain()
				if _, err := testPublish(r.hub, first.Code, []byte(`1`)); err != ErrShuttingDown {
					t.Errorf("a broadcast was answered %v", err)
				}
				for _, p := range []*peer{host, viewer} {
					p.session.Shutdown()
					p.Flush()
					p.hears(`{"type":"closed","reason":"shutdown","retry_ms":*`, "close 1001")
				}
				r.sleep(time.Hour)
				for _, code := range []string{first.Code, other.Code} {
					if _, open := r.hub.Room(code); open != stays {
						t.Errorf("a room is open: %t", open)
					}
				}
				for _, room := range r.rooms() {
					room.hostSlot.stopWaiting()
				}
			})
		})
	}
}

// TestChanged checks which rooms the store is told of.
func TestChanged(t *testing.T) {
	r := newSavingRelay(t, 1, Config{})
	host, first := r.opens(0, "")
	room := host.session.room
	changes := func(want int, why string) {
		t.Helper()
		if got := r.hub.Changed(); len(got) != want || want == 1 && got[0] != room {
			t.Errorf("%s: %d rooms have changed, want %d", why, len(got), want)
		}
	}
	changes(1, "a new room")
	changes(0, "nothing")
	host.broadcasts(1, 3)
	changes(1, "three broadcasts")
	viewer, _ := r.enters(0, first.Code, "")
	changes(1, "a viewer")
	viewer.say(`{"type":"message","data":1}`)
	r.run()
	viewer.say(`{"type":"leave"}`)
	r.run()
	changes(0, "a message to the host, and a viewer that leaves")
	host.say(`{"type":"close"}`)
	changes(1, "the end")
	if !room.Snapshot().Closed {
		t.Error("the room is not closed")
	}
}

// TestCodesOfTheOtherFormAreFound restores rooms whose codes were drawn before
// --codes was changed. Their viewers' tokens stay valid.
func TestCodesOfTheOtherFormAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, before := range []bool{true, false} {
			r := newSavingRelay(t, 1, Config{HexCodes: before})
			_, room := r.opens(0, "")
			_, me := r.enters(0, room.Code, "")
			r = r.restart(Config{HexCodes: !before}, true, 0)
			r.dial(0).gets("joined", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
			r.dial(0).gets("joined", `{"type":"join","code":"%s"}`, strings.ToLower(room.Code))
			r.dial(0).gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
			if _, other := r.opens(0, ""); len(other.Code) == len(room.Code) {
				t.Errorf("the codes are %s and %s", room.Code, other.Code)
			}
		}
	})
}

// TestTokensOfShortCodesAreWhatTheyWere before codes had eight characters.
func TestTokensOfShortCodesAreWhatTheyWere(t *testing.T) {
	r := newSavingRelay(t, 1, Config{})
	room := &Room{hub: r.hub, birth: "0123456789ab", code: roomcode.Code{'A', '1', 'B', '2', 'C', '3'}}
	if got, want := viewerToken(room, 7), "00000007edb6b5fdde2b9bf1cfcbcd7c322ee5a6"; got != want {
		t.Errorf("the token is %s, it was %s", got, want)
	}
}
