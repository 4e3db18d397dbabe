package store

import (
	"fmt"
	"strings"
	"testing"

	"lectern/hub"
	"lectern/hub/classroom"
)

// BenchmarkWriter writes batches of broadcasts of 256 bytes, as one interval
// has them, of one room or of many.
func BenchmarkWriter(b *testing.B) {
	data := []byte(`"` + strings.Repeat("x", 220) + `"`)
	for _, c := range []struct{ rooms, batch int }{{1, 1}, {1, 100}, {1, 4000}, {1000, 1}, {1000, 10}} {
		b.Run(fmt.Sprintf("rooms=%d/batch=%d", c.rooms, c.batch), func(b *testing.B) {
			r := start(b, b.TempDir(), hub.Config{})
			codes := make([]string, c.rooms)
			for i := range codes {
				codes[i] = r.create()
			}
			r.write()
			before := r.store.Stats().Written
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for _, code := range codes {
					for range c.batch {
						if _, err := classroom.Publish(r.hub, code, data); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StartTimer()
				r.write()
			}
			b.SetBytes(int64(r.store.Stats().Written-before) / int64(b.N))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.rooms), "ns/room")
		})
	}
}
