package roster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// A session stands for a viewer's.
type session struct{ _ int }

func newRoster() *Roster[*session] {
	r := New[*session](new(atomic.Int64))
	return &r
}

// check compares a roster with what it should be.
func check(t interface{ Fatalf(string, ...any) }, r *Roster[*session], want map[uint32]*session, names map[uint32]string) {
	ids := slices.Sorted(maps.Keys(want))
	if r.viewers != len(ids) {
		t.Fatalf("%d viewers are counted, want %d", r.viewers, len(ids))
	}
	var met []uint32
	for after := uint32(0); ; after = met[len(met)-1] {
		before := len(met)
		r.Page(after, 700, func(id uint32, name string) {
			met = append(met, id)
			if name != names[id] {
				t.Fatalf("viewer %d is called %q, want %q", id, name, names[id])
			}
		})
		if len(met) == before {
			break
		}
	}
	if !slices.Equal(met, ids) {
		t.Fatalf("the pages tell of %d viewers, want %d", len(met), len(ids))
	}
	room := 0
	for i, c := range r.chunks {
		if len(c) == 0 || len(c) > maxChunk || cap(c) > maxChunk {
			t.Fatalf("chunk %d has %d of %d entries", i, len(c), cap(c))
		}
		for _, e := range c[len(c):cap(c)] {
			if e.session != nil {
				t.Fatalf("chunk %d holds on to a session that has gone", i)
			}
		}
		room += cap(c)
	}
	if n := cap(r.chunks); n > 8 && n > 4*len(r.chunks) {
		t.Fatalf("there is room for %d chunks, and there are %d", n, len(r.chunks))
	}
	if room > 8*len(ids)+maxChunk {
		t.Fatalf("there is room for %d entries, and there are %d", room, len(ids))
	}
}

// TestRosterAgainstAMap has many come, come back, move and go, in any order.
func TestRosterAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, there, names := newRoster(), make(map[uint32]*session), make(map[uint32]string)
		var gone []uint32
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		leave := func(id uint32) {
			r.Remove(id)
			delete(there, id)
			delete(names, id)
			gone = append(gone, id)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { check(t, r, there, names) },
			"come": func(t *rapid.T) {
				if len(there) > 2*maxChunk {
					t.Skip("enough are there")
				}
				for range rapid.SampledFrom([]int{1, 10, maxChunk, 3 * maxChunk}).Draw(t, "how many") {
					s := new(session)
					id, _ := r.Add(s, 0, "")
					if there[id] != nil {
						t.Fatalf("the id %d is given twice", id)
					}
					there[id] = s
				}
			},
			"come back": func(t *rapid.T) {
				random.Shuffle(len(gone), func(i, j int) { gone[i], gone[j] = gone[j], gone[i] })
				n := rapid.IntRange(0, len(gone)).Draw(t, "how many")
				for _, id := range gone[:n] {
					there[id] = new(session)
					if as, _ := r.Add(there[id], id, ""); as != id {
						t.Fatalf("viewer %d came back as %d", id, as)
					}
				}
				gone = nil // viewers that have left do not come back
			},
			"go": func(t *rapid.T) {
				one := rapid.SampledFrom([]int{1, 2, 3, 50}).Draw(t, "one in")
				for _, id := range slices.Sorted(maps.Keys(there)) {
					if random.IntN(one) == 0 {
						leave(id)
					}
				}
			},
			"move": func(t *rapid.T) {
				for _, id := range slices.Sorted(maps.Keys(there)) {
					if random.IntN(10) == 0 {
						there[id] = new(session)
						r.Replace(there[id], id, "")
					}
				}
			},
			"ask": func(t *rapid.T) {
				for range 100 {
					if id := random.Uint32N(r.last + 3); r.Session(id) != there[id] {
						t.Fatalf("viewer %d is %p, want %p", id, r.Session(id), there[id])
					}
				}
			},
		})
	})
}

// TestRosterNeedsLittle counts the bytes for each viewer of a large hall.
func TestRosterNeedsLittle(t *testing.T) {
	r, s := newRoster(), new(session)
	const viewers = 300_000
	for range viewers {
		r.Add(s, 0, "")
	}
	bytes := cap(r.chunks) * int(unsafe.Sizeof(r.chunks[0]))
	for _, c := range r.chunks {
		bytes += cap(c) * int(unsafe.Sizeof(c[0]))
	}
	if limit := viewers * 16 * 103 / 100; bytes > limit {
		t.Errorf("%d viewers need %d bytes, want %d at most", viewers, bytes, limit)
	}
}

// TestNamesOfThoseWhoHaveLeft counts what is kept.
func TestNamesOfThoseWhoHaveLeft(t *testing.T) {
	r, s := newRoster(), new(session)
	const viewers = maxLeftNames + 10
	for id := uint32(1); id <= viewers; id++ {
		r.Add(s, 0, fmt.Sprint("viewer ", id))
	}
	r.Kick(3)
	for id := uint32(1); id <= viewers; id++ {
		r.Remove(id)
	}
	if len(r.left.names) != maxLeftNames {
		t.Fatalf("%d names are kept", len(r.left.names))
	}
	for id, want := range map[uint32]string{1: "", 10: "", 12: "viewer 12", viewers: fmt.Sprint("viewer ", viewers)} {
		if _, name := r.Add(s, id, ""); name != want {
			t.Errorf("viewer %d is called %q, want %q", id, name, want)
		}
		r.Remove(id)
		if _, name := r.Add(s, id, "other"); name != "other" {
			t.Errorf("viewer %d is called %q although it has another name", id, name)
		}
	}
	r.left.forget()
	if n := r.left.total.Load(); n != 0 {
		t.Errorf("%d bytes are left of nothing", n)
	}
	// Many rooms have all that there may be: this one keeps one for another.
	r.left.shut = false
	r.left.total.Store(maxLeftBytes - 100)
	for id := uint32(20); id < 40; id++ {
		r.left.put(id, "a name of some length")
	}
	if n := len(r.left.names); n < 1 || n > 3 || r.left.names[n-1].id != 39 || r.left.total.Load() > maxLeftBytes {
		t.Errorf("%d names are kept, of %d bytes in all", n, r.left.total.Load())
	}
}

// BenchmarkReturn has a hall of 300,000 go, and nine tenths of it come back in
// random order.
func BenchmarkReturn(b *testing.B) {
	const viewers = 300_000
	s := new(session)
	for b.Loop() {
		b.StopTimer()
		r := newRoster()
		var ids []uint32
		for range viewers {
			id, _ := r.Add(s, 0, "")
			ids = append(ids, id)
		}
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		b.StartTimer()
		for _, id := range ids {
			r.Remove(id)
		}
		for _, id := range ids[:len(ids)*9/10] {
			r.Add(s, id, "")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/viewers/1.9, "ns/move")
}
