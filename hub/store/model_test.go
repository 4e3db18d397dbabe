package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"lectern/frame"
	"lectern/hub"
)

// A modelRoom is what is known of a room, whatever the store does.
type modelRoom struct {
	said    []int // what was broadcast, number by number
	least   int   // at least this many broadcasts are on disk; -1 if even the room need not be
	deleted bool  // since the last time that all was written
	epochs  []string
}

// TestRecordsTellTheTruth does random things to rooms, disk and relay, and
// checks after each start that the rooms are what they were, up to a broadcast
// that is not older than the last one known to be on disk.
func TestRecordsTellTheTruth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		config := hub.Config{Retain: rapid.SampledFrom([]int{1, 1000, 10_000}).Draw(rt, "retain")}
		disk := &sickDisk{room: enough}
		begin := func() *relay {
			r := start(t, dir, config)
			r.store.write = disk.write
			r.store.minFile = 700
			return r
		}
		r := begin()
		rooms := make(map[string]*modelRoom)
		said := 0
		draw := func(t *rapid.T) (string, *modelRoom) {
			codes := make([]string, 0, len(rooms))
			for code, m := range rooms {
				if !m.deleted {
					codes = append(codes, code)
				}
			}
			if len(codes) == 0 {
				t.Skip("there is no room")
			}
			slices.Sort(codes)
			code := rapid.SampledFrom(codes).Draw(t, "room")
			return code, rooms[code]
		}
		wrote := func() {
			for code, m := range rooms {
				if m.least = len(m.said); m.deleted {
					delete(rooms, code)
				}
			}
		}
		// heard notes the epochs that may be on disk.
		heard := func() {
			for room := range r.store.records {
				s := room.Snapshot()
				if m := rooms[s.Code]; m != nil && !slices.Contains(m.epochs, s.Epoch) {
					m.epochs = append(m.epochs, s.Epoch)
				}
			}
		}
		restart := func(t *rapid.T, clean, damaged bool) {
			r.kill()
			disk.set(enough)
			r = begin()
			for code, m := range rooms {
				s := r.room(code)
				if s == nil {
					if m.least >= 0 && !m.deleted && !damaged {
						t.Fatalf("room %s is lost", code)
					}
					delete(rooms, code)
					continue
				}
				if m.deleted && clean {
					t.Fatalf("room %s was deleted", code)
				}
				m.deleted = false // that was lost
				m.check(t, s, clean, damaged)
			}
			for room := range r.store.records {
				if s := room.Snapshot(); rooms[s.Code] == nil {
					t.Fatalf("there is a room %s", s.Code)
				}
			}
			wrote()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(*rapid.T) { rooms[r.create()] = &modelRoom{least: -1} },
			"say": func(t *rapid.T) {
				code, m := draw(t)
				for range rapid.IntRange(1, 30).Draw(t, "broadcasts") {
					said++
					r.say(code, said, said)
					m.said = append(m.said, said)
				}
			},
			"delete": func(t *rapid.T) {
				code, m := draw(t)
				m.deleted = true
				r.hub.DeleteRoom(code)
			},
			"write": func(t *rapid.T) {
				err := r.store.once()
				if heard(); err == nil {
					wrote()
				} else if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			},
			"disk": func(t *rapid.T) {
				disk.set(rapid.SampledFrom([]int{enough, enough, 0, 5, 100, 700, 1500}).Draw(t, "bytes"))
			},
			"let go": func(*rapid.T) {
				for _, rec := range r.store.records {
					rec.letGo()
				}
			},
			"kill": func(t *rapid.T) { restart(t, false, false) },
			"stop": func(t *rapid.T) {
				r.hub.Drain()
				err := r.store.Close(rt.Context())
				if heard(); err == nil {
					wrote()
				} else if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				restart(t, err == nil, false)
			},
			"damage": func(t *rapid.T) {
				names := r.files()
				if len(names) == 0 {
					t.Skip("there is no file")
				}
				path := filepath.Join(dir, "rooms", rapid.SampledFrom(names).Draw(t, "file"))
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				at := rapid.IntRange(0, len(content)-1).Draw(t, "at")
				if rapid.Bool().Draw(t, "cut") {
					content = content[:at]
				} else {
					content[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				restart(t, false, true)
			},
		})
		r.kill()
	})
}

// check compares a room that was restored, and goes on with what it has.
func (m *modelRoom) check(t *rapid.T, s *hub.Snapshot, clean, damaged bool) {
	n := int(s.Seq)
	if n > len(m.said) || n < m.least && !damaged || clean && n != len(m.said) {
		t.Fatalf("room %s has %d of %d broadcasts, at least %d were on disk", s.Code, n, len(m.said), m.least)
	}
	m.said = m.said[:n]
	c := s.Oldest
	for i := int(c.Seq()); ; {
		whole, message := c.NextFrame()
		if whole == nil {
			break
		}
		if message {
			if got := string(frame.Payload(whole)); got != text(m.said[i]) {
				t.Fatalf("broadcast %d of room %s is %s, want %s", i+1, s.Code, got, text(m.said[i]))
			}
			i++
		}
	}
	if len(m.epochs) > 0 {
		last := m.epochs[len(m.epochs)-1]
		isNew := !slices.Contains(m.epochs, s.Epoch)
		past := hub.Past{}
		if len(s.Older) > 0 {
			past = s.Older[len(s.Older)-1]
		}
		if clean && s.Epoch != last || !clean && (!isNew || past.Last != s.Seq || past.Epoch != last && !damaged) {
			t.Fatalf("after the epochs %q room %s has %q and %+v", m.epochs, s.Code, s.Epoch, s.Older)
		}
	}
	if len(m.epochs) == 0 || m.epochs[len(m.epochs)-1] != s.Epoch {
		m.epochs = append(m.epochs, s.Epoch)
	}
}
