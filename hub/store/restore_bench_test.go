package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lectern/hub"
)

// fill writes the records of rooms as a relay leaves them that was killed: each
// has so many broadcasts of 256 bytes.
func fill(t testing.TB, dir string, rooms, messages int) {
	t.Helper()
	r := start(t, dir, hub.Config{})
	code := r.create()
	r.write()
	s := savedRoom{Saved: r.room(code).Saved}
	s.RelayTells = true
	r.hub.DeleteRoom(code)
	r.write()
	r.kill()
	message := []byte(`{"type":"command","data":"` + strings.Repeat("x", 228) + `"}`)
	for i := range rooms {
		s.Code = fmt.Sprintf("%06X", i)
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		content := append([]byte(fileMagic), beginEntry(nil, begin)...)
		content = append(appendState(content, uint64(messages), 3, text), 1)
		for range messages {
			content = appendMessage(content, message)
		}
		content = endEntry(content, len(fileMagic))
		if err := os.WriteFile(roomFile{s.Code, 1}.path(dir), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkStart starts a relay after a kill, with the files in the kernel's
// memory: until it may serve (ready), and until all rooms are there.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct{ rooms, messages int }{{1000, 10}, {10_000, 256}, {4000, 1024}} {
		b.Run(fmt.Sprintf("rooms=%d/messages=%d", c.rooms, c.messages), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "data")
			fill(b, dir, c.rooms, c.messages)
			var ready time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				s, err := Open(Config{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				h := newHub(hub.Config{})
				if err := s.Restore(h); err != nil {
					b.Fatal(err)
				}
				ready += time.Since(began)
				s.read(b.Context())
				if stats := h.Stats(); stats.Rooms != c.rooms || stats.LogBytes > int64(h.Config().RetainTotal) {
					b.Fatalf("%d rooms hold %d bytes", stats.Rooms, stats.LogBytes)
				}
				b.StopTimer()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/1e6, "MB-heap")
				_ = s.lock.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(ready.Milliseconds())/float64(b.N), "ms-ready")
		})
	}
}
