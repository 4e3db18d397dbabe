package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lectern/hub"
)

// A truth is what a room's record may say: how the room was after each batch,
// and every broadcast.
type truth struct {
	code   string
	states map[uint64]string // by the number of the last broadcast
	files  [][]byte
	last   uint64
}

func stateOf(s hub.Saved) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%d %d %s", s.Sent, s.LastID, text)
}

// smallRecord returns a small room's, of a few files.
func smallRecord(t *testing.T) *truth {
	r := start(t, t.TempDir(), hub.Config{Retain: 2400})
	code := r.create()
	all := &truth{code: code, states: make(map[uint64]string)}
	r.store.minFile = 600
	for i := 1; i <= 40; i += 4 {
		r.say(code, i, i+3)
		r.write()
		s := r.room(code)
		all.states[s.Seq], all.last = stateOf(s.Saved), s.Seq
	}
	r.stop()
	for _, name := range r.files() {
		content, err := os.ReadFile(filepath.Join(r.dir, "rooms", name))
		if err != nil {
			t.Fatal(err)
		}
		all.files = append(all.files, content)
	}
	if len(all.files) < 2 || len(all.files) > 4 {
		t.Fatalf("there are %d files", len(all.files))
	}
	return all
}

// check reads files, some of which may be damaged. Whatever is read must be
// true, and end where a batch did; and if not all of it is there, that must have
// been noticed.
func (all *truth) check(t *testing.T, what string, files [][]byte) (whole bool) {
	t.Helper()
	r := reading{code: all.code}
	for i, content := range files {
		if good := r.file(uint32(i+1), content); good > len(content) {
			t.Fatalf("%s: %d bytes of %d are good", what, good, len(content))
		}
	}
	if !r.known {
		if r.clean() {
			t.Fatalf("%s: nothing is there, and that is called clean", what)
		}
		return false
	}
	s := r.saved
	if all.states[s.Seq] != stateOf(s) {
		t.Fatalf("%s: the state at %d is %s, was %q", what, s.Seq, stateOf(s), all.states[s.Seq])
	}
	for i, got := range r.messages {
		if n := int(s.Seq) - len(r.messages) + 1 + i; string(got) != text(n) {
			t.Fatalf("%s: broadcast %d is %q", what, n, got)
		}
	}
	complete := s.Seq == all.last && len(r.messages) == int(all.last)
	if r.clean() && !complete {
		t.Fatalf("%s: %d broadcasts up to %d are there, and that is called clean", what, len(r.messages), s.Seq)
	}
	return r.clean()
}

// each calls f with every file of the record in turn, copied, and with the
// others as they are.
func (all *truth) each(f func(number int, content []byte, files [][]byte)) {
	for i, content := range all.files {
		f(i+1, bytes.Clone(content), slices.Clone(all.files))
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	all := smallRecord(t)
	if !all.check(t, "untouched", all.files) {
		t.Fatal("the record as it was written is called damaged")
	}
	all.each(func(number int, content []byte, files [][]byte) {
		files[number-1] = content
		for at := range content {
			for bit := range 8 {
				content[at] ^= 1 << bit
				what := fmt.Sprintf("bit %d of byte %d in file %d", bit, at, number)
				if all.check(t, what, files) {
					t.Fatalf("%s: it was not noticed", what)
				}
				content[at] ^= 1 << bit
			}
			for _, value := range []byte{0, 0xff, '\n'} {
				was := content[at]
				content[at] = value
				if all.check(t, fmt.Sprintf("byte %d in file %d is %d", at, number, value), files) && value != was {
					t.Fatalf("byte %d in file %d is %d, which was not noticed", at, number, value)
				}
				content[at] = was
			}
		}
	})
}

func TestEveryTruncationIsNoticed(t *testing.T) {
	t.Parallel()
	all := smallRecord(t)
	all.each(func(number int, content []byte, files [][]byte) {
		for n := range content {
			for name, torn := range map[string][]byte{
				"cut":                content[:n],
				"ends with zeros":    append(bytes.Clone(content[:n]), make([]byte, len(content)-n+1)...),
				"ends with old data": append(bytes.Clone(content[:n]), content...),
			} {
				if bytes.Equal(torn, content) {
					continue
				}
				files[number-1] = torn
				what := fmt.Sprintf("file %d %s at %d", number, name, n)
				if all.check(t, what, files) {
					t.Fatalf("%s: it was not noticed", what)
				}
			}
		}
	})
}

func TestEveryMissingFileIsNoticed(t *testing.T) {
	all := smallRecord(t)
	for gone := range all.files {
		r := reading{code: all.code}
		for i, content := range all.files {
			if i != gone {
				r.file(uint32(i+1), content)
			}
		}
		// The oldest are deleted when the room does not hold them any more.
		if r.clean() != (gone == 0) {
			t.Errorf("without file %d the record is called clean: %t", gone+1, r.clean())
		}
	}
	other := reading{code: "000000"}
	other.file(1, all.files[0])
	if other.known || other.clean() {
		t.Error("the record was taken for another room's")
	}
}

// TestTheLaterFileIsRight gives two files the same numbers, as when a record
// began anew and the older file could not be deleted.
func TestTheLaterFileIsRight(t *testing.T) {
	file := func(first uint64, texts ...string) []byte {
		b := appendState(beginEntry([]byte(fileMagic), begin), 0, 0, []byte(`{"code":"A1B2C3","birth":"b"}`))
		b = binary.AppendUvarint(b, first)
		for _, text := range texts {
			b = appendMessage(b, []byte(text))
		}
		return endEntry(b, len(fileMagic))
	}
	for name, c := range map[string]struct {
		later []byte
		want  string
		seq   uint64
	}{
		"goes on":       {file(4, "d"), "abcd", 4},
		"overlaps":      {file(2, "B", "C", "D"), "aBCD", 4},
		"ends earlier":  {file(2, "B"), "aB", 2},
		"begins anew":   {file(1, "A", "B"), "AB", 2},
		"after a gap":   {file(5, "e"), "e", 5},
		"without words": {file(4), "abc", 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := reading{code: "A1B2C3"}
			r.file(1, file(1, "a", "b", "c"))
			r.file(2, c.later)
			if got := string(bytes.Join(r.messages, nil)); got != c.want || r.saved.Seq != c.seq || r.damaged || r.gap {
				t.Errorf("it has %q up to %d, want %q up to %d", got, r.saved.Seq, c.want, c.seq)
			}
		})
	}
}

// TestAClosedRoomStaysClosed ends the relay when it had deleted but the last of
// a closed room's files.
func TestAClosedRoomStaysClosed(t *testing.T) {
	all := smallRecord(t)
	r := start(t, t.TempDir(), hub.Config{})
	r.kill()
	last := all.files[len(all.files)-1]
	sealed := last[:len(last)-headSize-1]
	for want, seal := range map[bool]kind{true: next, false: gone} {
		path := roomFile{all.code, 7}.path(r.dir)
		content := endEntry(beginEntry(bytes.Clone(sealed), seal), len(sealed))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r = r.again()
		r.write()
		if got := r.room(all.code) != nil; got != want || len(r.files()) == 0 != !want {
			t.Errorf("sealed as %d the room is there: %t, and the files %q", seal, got, r.files())
		}
		r.kill()
		for _, name := range r.files() {
			if err := os.Remove(filepath.Join(r.dir, "rooms", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDamageIsMended starts a relay on each of some damaged records, goes on
// with what is left, and finds that again.
func TestDamageIsMended(t *testing.T) {
	t.Parallel()
	all := smallRecord(t)
	all.each(func(number int, content []byte, files [][]byte) {
		for at := 0; at < len(content); at += 37 {
			r := start(t, t.TempDir(), hub.Config{})
			r.stop()
			for i, whole := range files {
				if i+1 == number {
					whole = bytes.Clone(whole)
					whole[at] ^= 0x10
				}
				if err := os.WriteFile(roomFile{all.code, uint32(i + 1)}.path(r.dir), whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r = r.again()
			s := r.room(all.code)
			if s == nil {
				if len(files) > 1 {
					t.Fatalf("byte %d of file %d: the room is lost", at, number)
				}
				continue
			}
			if len(s.Older) != 1 {
				t.Fatalf("byte %d of file %d: no new epoch was begun: %+v", at, number, s.Saved)
			}
			from, last := int(s.Oldest.Seq())+1, int(s.Seq)
			r.say(all.code, last+1, last+3)
			r.stop()
			r = r.again()
			if s := r.has(all.code, from, last+3); len(s.Older) != 1 {
				t.Fatalf("byte %d of file %d: another epoch was begun after a clean stop", at, number)
			}
			r.kill()
		}
	})
}

// FuzzFile reads anything as a file of a record.
func FuzzFile(f *testing.F) {
	record := appendState(beginEntry([]byte(fileMagic), begin), 1, 2, []byte(`{"code":"A1B2C3"}`))
	record = endEntry(appendMessage(append(record, 1), []byte("x")), len(fileMagic))
	f.Add(record)
	f.Add(endEntry(beginEntry(record, stop), len(record)))
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := reading{code: "A1B2C3"}
		good := r.file(1, content)
		bytes := 0
		for _, message := range r.messages {
			bytes += len(message)
		}
		if good > len(content) || bytes > good || uint64(len(r.messages)) > r.saved.Seq {
			t.Errorf("%d of %d bytes are good, %d messages of %d bytes up to %d", good, len(content), len(r.messages), bytes, r.saved.Seq)
		}
		if r.known && good == 0 || r.clean() && good < len(content) {
			t.Errorf("known %t, clean %t, %d good", r.known, r.clean(), good)
		}
		// What is good is found good again, and nothing else is found in it.
		again := reading{code: "A1B2C3"}
		if n := again.file(1, content[:good]); n != good || again.saved.Seq != r.saved.Seq || len(again.messages) != len(r.messages) {
			t.Errorf("of the %d good bytes %d are good", good, n)
		}
		// The same with a checksum that is right.
		if len(content) > 0 {
			record := endEntry(append(beginEntry(nil, 0)[:headSize], content...), 0)
			if one, rest, err := nextEntry(record); err == nil && (len(rest) > 0 || len(one.state) > len(content)) {
				t.Errorf("read %+v", one)
			}
		}
	})
}
