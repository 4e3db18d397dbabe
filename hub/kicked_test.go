package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestVoidIDsOfAnOlderRelay reads what it has saved, and what this one saves.
func TestVoidIDsOfAnOlderRelay(t *testing.T) {
	var s Saved
	if err := json.Unmarshal([]byte(`{"void":[9,3,1,2,4294967295],"void_ranges":[[5,6],[8,7]]}`), &s); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.VoidIDs, []uint32{9, 3, 1, 2, 4294967295}) || !slices.Equal(s.Void, [][2]uint32{{5, 6}, {8, 7}}) {
		t.Errorf("the ids are %v and %v", s.VoidIDs, s.Void)
	}
}

// TestSnapshotOfManyKicks takes as long for a room with as many void ids as there
// may be as for any other: it copies nothing.
func TestSnapshotOfManyKicks(t *testing.T) {
	h := newHub(Config{}, nil)
	r, _ := newRoom(h, verbatim, roomRules{})
	for id := range uint32(10_000) {
		r.roster.Kick(3 * id)
	}
	if n := testing.AllocsPerRun(100, func() { r.Snapshot() }); n > 2 {
		t.Errorf("a snapshot allocates %v times", n)
	}
	began := time.Now()
	for range 1000 {
		r.Snapshot()
	}
	if d := time.Since(began) / 1000; d > 100*time.Microsecond {
		t.Errorf("a snapshot takes %s", d)
	}
}

// TestKickedNeighbours has a viewer come back whose id lies between kicked ones
// that have become one range: it is somebody new.
func TestKickedNeighbours(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	r.enters(0, room.Code, "")
	v, me := r.enters(0, room.Code, "")
	r.enters(0, room.Code, "")
	for i := range uint32(1024 - 1) {
		host.session.room.roster.Kick(1000 + 10*i)
	}
	for _, id := range []int{me.ID - 1, me.ID + 1} {
		r.fresh(host)
		host.say(fmt.Sprintf(`{"type":"kick","id":%d}`, id))
		host.hears(fmt.Sprintf(`{"type":"kicked","id":%d}`, id))
	}
	v.hears() // it stays
	v.reset()
	p := r.dial(0)
	p.fails("bad_token", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
	if again := p.gets("joined", `{"type":"join","code":"%s"}`, room.Code); again.ID == me.ID {
		t.Errorf("it joined afresh as %s", again.text)
	}
}
