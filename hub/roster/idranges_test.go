package roster

import (
	"slices"
	"testing"

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

// TestRangesInAnyOrder reads ranges and ids as stores have them.
func TestRangesInAnyOrder(t *testing.T) {
	r := rangesOf([][2]uint32{{5, 6}, {8, 7}}, []uint32{9, 3, 1, 2, 4294967295})
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
