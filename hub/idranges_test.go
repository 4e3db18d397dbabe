package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestVoidRanges compares with a map, below the most ranges that there may be.
func TestVoidRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, r := make(map[uint32]bool), idRanges(nil)
		top := rapid.SampledFrom([]uint32{20, 500, 1<<32 - 1}).Draw(t, "top")
		for _, id := range rapid.SliceOfN(rapid.Uint32Range(top-min(top, 400), top), 0, 300).Draw(t, "ids") {
			before := slices.Clone(r)
			next := r.with(id)
			if !slices.Equal(r, before) {
				t.Fatal("ranges that somebody may have are changed")
			}
			r, want[id] = next, true
		}
		for i := range 400 {
			if id := top - uint32(i); r.has(id) != want[id] {
				t.Fatalf("%d is void: %t", id, r.has(id))
			}
		}
		for i := 1; i < len(r); i++ {
			if r[i][0] <= r[i-1][1]+1 {
				t.Fatalf("the ranges are %v", r)
			}
		}
	})
}

// TestTooManyVoidRanges kicks every tenth viewer, and every third of some.
func TestTooManyVoidRanges(t *testing.T) {
	r := idRanges(nil)
	for id := uint32(10); id <= 10*maxVoidRanges; id += 10 {
		r = r.with(id)
	}
	if len(r) != maxVoidRanges || r.has(11) {
		t.Fatalf("there are %d ranges", len(r))
	}
	r = r.with(1003)
	if len(r) != maxVoidRanges || !r.has(1001) || !r.has(1002) || r.has(1004) || r.has(11) {
		t.Errorf("the smallest gap is not the one that went: %v", r[95:105])
	}
	for id := uint32(1); id <= 20_000; id += 2 {
		r = r.with(id)
		if len(r) > maxVoidRanges || !r.has(id) {
			t.Fatalf("with %d there are %d ranges", id, len(r))
		}
	}
}

// TestVoidIDsOfAnOlderRelay reads what it has saved, and what this one saves.
func TestVoidIDsOfAnOlderRelay(t *testing.T) {
	var s Saved
	if err := json.Unmarshal([]byte(`{"void":[9,3,1,2,4294967295],"void_ranges":[[5,6],[8,7]]}`), &s); err != nil {
		t.Fatal(err)
	}
	r := rangesOf(s.Void, s.VoidIDs)
	if want := (idRanges{{1, 3}, {5, 6}, {9, 9}, {1<<32 - 1, 1<<32 - 1}}); !slices.Equal(r, want) {
		t.Errorf("the ranges are %v, want %v", r, want)
	}
	var many []uint32
	for id := range uint32(150_000) {
		many = append(many, 2*id)
	}
	if r := rangesOf(nil, many); len(r) != maxVoidRanges || !r.has(0) || !r.has(299_998) {
		t.Errorf("there are %d ranges of 150,000 ids", len(r))
	}
}

// TestSnapshotOfManyKicks takes as long for a room with as many void ids as there
// may be as for any other: it copies nothing.
func TestSnapshotOfManyKicks(t *testing.T) {
	h := newHub(Config{}, nil)
	r, _ := newRoom(h, verbatim, roomRules{})
	for id := range uint32(10_000) {
		r.roster.kick(3 * id)
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
	for i := range uint32(maxVoidRanges - 1) {
		host.session.room.roster.kick(1000 + 10*i)
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

// BenchmarkKick kicks one more when there are as many ranges as there may be.
func BenchmarkKick(b *testing.B) {
	r := idRanges(nil)
	for id := range uint32(maxVoidRanges) {
		r = r.with(10 * id)
	}
	id := uint32(10 * maxVoidRanges)
	for b.Loop() {
		id += 10
		r = r.with(id)
	}
}
