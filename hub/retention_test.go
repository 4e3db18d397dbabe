package hub

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/broadcast"
)

// keptBy returns how far back a room's record reaches.
func keptBy(r *Room) (first uint64, bytes int64) {
	oldest := r.streams.record.Oldest()
	return oldest.Seq() + 1, r.streams.record.Retained()
}

func TestARoomKeepsSoMuch(t *testing.T) {
	const said, size = 3000, 1000
	for name, c := range map[string]struct {
		config  Config
		atLeast int // messages
		atMost  int
	}{
		"by default":  {Config{}, 256, 256 + 128},
		"so many":     {Config{Retain: 1 << 30, RetainMessages: 500}, 500, 500 + 128},
		"so much":     {Config{Retain: 1 << 20}, 1 << 10, 1<<10 + 128},
		"all of them": {Config{Retain: 1 << 30}, said, said},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, c.config)
			host, code := r.host(0)
			v := r.numberedViewer(0, code)
			for n := range said {
				host.say(fmt.Sprintf(`{"type":"command","data":"%d %s"}`, n+1, strings.Repeat("x", size)))
			}
			r.run()
			room := host.session.room
			first, held := keptBy(room)
			if kept := said - int(first) + 1; kept < c.atLeast*size/(size+64) || kept > c.atMost {
				t.Errorf("%d messages are kept", kept)
			}
			if oldest := room.streams.in(numbered).Oldest(); oldest.Seq()+1 > first {
				t.Errorf("with numbers the record begins at %d, without at %d", oldest.Seq()+1, first)
			}
			both := held + room.streams.in(numbered).Retained()
			if got := r.hub.Stats().LogBytes; got != both {
				t.Errorf("the hub counts %d bytes, the room holds %d", got, both)
			}
			v.reset()
			host.say(`{"type":"close"}`)
			if got := r.hub.Stats().LogBytes; got != 0 {
				t.Errorf("%d bytes are counted for no room", got)
			}
		})
	}
}

func TestWhatIsOldIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{RetainAge: time.Hour})
		host, code := r.host(0)
		v := r.numberedViewer(0, code)
		room := host.session.room
		for range 30 { // a segment and a half every two minutes
			host.say(`{"type":"command","data":"` + strings.Repeat("x", 100_000) + `"}`)
			time.Sleep(2 * time.Minute)
		}
		host.tick()
		if first, _ := keptBy(room); first == 1 || first > 30 {
			t.Errorf("after an hour the record begins at %d", first)
		}
		time.Sleep(time.Hour)
		host.tick()
		first, held := keptBy(room)
		if first != 31 || held != 0 || room.streams.in(numbered).Retained() != 0 || r.hub.Stats().LogBytes != 0 {
			t.Errorf("after two hours the record begins at %d and holds %d bytes", first, r.hub.Stats().LogBytes)
		}
		r.run()
		v.frames()
		host.say(`{"type":"command","data":31}`)
		v.hears(`{"seq":31,"type":"command","data":31}`)
		v, told := r.comesBack(0, v, 30, `,"numbered":true`)
		v.hears(`{"seq":31,"type":"command","data":31}`)
		if !told.Recovered {
			t.Error("who missed only what is kept is not recovered")
		}
		v, told = r.comesBack(0, v, 29, `,"numbered":true`)
		if v.hears(); told.Recovered {
			t.Error("who missed what is forgotten is recovered")
		}
		host.reset()
	})
}

// TestAllRoomsTogetherKeepSoMuch has rooms that each keep what they may, until
// they are too many.
func TestAllRoomsTogetherKeepSoMuch(t *testing.T) {
	const rooms, total = 40, 1 << 20
	r := newTestRelay(t, 1, Config{Retain: 128 << 10, RetainTotal: total})
	var hosts []*peer
	for range rooms {
		host, _ := r.host(0)
		hosts = append(hosts, host)
		for range 200 {
			host.say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
		}
	}
	r.pass(time.Second, hosts...) // those that are silent give some back too
	if held := r.hub.Stats().LogBytes; held > total+rooms*broadcast.MaxSegment || held < total/2 {
		t.Errorf("%d rooms hold %d bytes", rooms, held)
	}
	for _, host := range hosts[1:] {
		host.say(`{"type":"close"}`)
	}
	for range 200 {
		hosts[0].say(`{"type":"command","data":"` + strings.Repeat("x", 1000) + `"}`)
	}
	if _, held := keptBy(hosts[0].session.room); held < 128<<10 {
		t.Errorf("the room that is left holds %d bytes", held)
	}
}

// TestAnIdleRoomTakesLittle counts the host's session and its buffers too.
func TestAnIdleRoomTakesLittle(t *testing.T) {
	const rooms = 1000
	r := newTestRelay(t, 2, Config{MaxRoomsPerAddress: rooms})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var hosts []*peer
	for range rooms {
		host, _ := r.host(0)
		hosts = append(hosts, host)
	}
	r.run()
	for _, host := range hosts {
		host.wire, host.presence = nil, nil
	}
	each := (heap() - before) / rooms
	t.Logf("%d bytes each", each)
	if each > 4<<10 {
		t.Errorf("an idle room takes %d bytes", each)
	}
	runtime.KeepAlive(hosts)
}

// TestSilenceEndsWhatAloneIsTooMuch lets a room fall silent: what is within its
// limits stays.
func TestSilenceEndsWhatAloneIsTooMuch(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int
		first uint64 // that is kept
	}{
		"two large ones":       {[]int{200 << 10, 200 << 10}, 1},
		"one that is too much": {[]int{1000 << 10}, 2},
		"it comes first":       {[]int{1000 << 10, 100}, 2},
		"it comes last":        {[]int{100, 1000 << 10}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 1, Config{})
			host, _ := r.host(0)
			for _, size := range c.sizes {
				host.say(`{"type":"command","data":"` + strings.Repeat("x", size) + `"}`)
				r.run()
			}
			r.pass(3*time.Second, host)
			if first, held := keptBy(host.session.room); first != c.first {
				t.Errorf("the record begins at %d and holds %d bytes, want from %d", first, held, c.first)
			}
		})
	}
}

func TestALogThatNobodyWantsIsNotCounted(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, code := r.host(0)
	v := r.numberedViewer(0, code)
	for n := range 2000 {
		host.say(command(n))
	}
	r.run()
	v.reset()
	if got, held := r.hub.Stats().LogBytes, host.session.room.streams.record.Retained(); got != held {
		t.Errorf("%d bytes are counted, %d are held", got, held)
	}
}

// TestAClosedRoomHoldsNothing keeps the room itself, as a store does whose disk
// does not answer.
func TestAClosedRoomHoldsNothing(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	r.hub.Persist(keptStore{})
	host, code := r.host(0)
	v := r.numberedViewer(0, code)
	v.room = 0
	room := host.session.room
	host.say(command(1))
	host.say(`{"type":"close"}`)
	r.run()
	if held := room.streams.record.Retained(); held != 0 || r.hub.Stats().LogBytes != 0 {
		t.Errorf("a closed room holds %d bytes", held)
	}
	v.drain(plenty)
	v.hears(`{"seq":1,"type":"command","data":1}`, `{"type":"closed"*`, "close 4000")
}
