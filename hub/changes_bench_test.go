package hub

import (
	"fmt"
	"testing"
)

// BenchmarkMark appends a broadcast of 256 bytes to a room: in memory only,
// with a store that looks at the room now and then, and with one that looks
// after each.
func BenchmarkMark(b *testing.B) {
	text := make([]byte, 256)
	for _, every := range []int{0, 1000, 1} {
		name := "memory"
		if every > 0 {
			name = fmt.Sprintf("store/%d", every)
		}
		b.Run(name, func(b *testing.B) {
			h := newHub(Config{}, nil)
			if every > 0 {
				h.Persist(keptStore{})
			}
			r, _ := newRoom(h, verbatim, roomRules{relayTells: true})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				r.mu.Lock()
				r.publishLocked(text, nil)
				r.mu.Unlock()
				if n++; every > 0 && n%every == 0 {
					h.Changed()
				}
			}
		})
	}
}
