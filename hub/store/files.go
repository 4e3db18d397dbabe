package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The writer's files. It opens one at a time, and only while it writes to it.

// maxTaken is how many file names that exist already, and are not the room's,
// the writer skips.
const maxTaken = 1000

func (s *Store) path(rec *roomRecord, number uint32) string {
	return roomFile{rec.code, number}.path(s.config.Dir)
}

// create creates the room's next file.
func (s *Store) create(rec *roomRecord) error {
	for taken := 0; ; taken++ {
		f, err := os.OpenFile(s.path(rec, rec.number+1), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil && (!errors.Is(err, fs.ErrExist) || taken >= maxTaken) {
			return err
		}
		rec.number++
		if err != nil {
			rec.sealed = false
			continue
		}
		rec.open, rec.size = true, 0
		if !rec.onDisk {
			rec.onDisk = true
			s.rooms.Add(1)
		}
		return f.Close()
	}
}

// append writes an entry at the end of the room's open file.
func (s *Store) append(rec *roomRecord, data []byte) error {
	f, err := os.OpenFile(s.path(rec, rec.number), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = s.write(f, data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	rec.size += int64(len(data))
	s.written.Add(uint64(len(data)))
	return nil
}

// undo cuts the open file back to a size. If that fails, the file is given up:
// nothing may be appended to what may be an incomplete entry.
func (s *Store) undo(rec *roomRecord, size int64) {
	path := s.path(rec, rec.number)
	switch {
	case size == 0 && os.Remove(path) == nil:
		rec.open = false
		rec.number--
	case size > 0 && s.truncate(path, size) == nil:
		rec.size = size
	default:
		rec.old = append(rec.old, oldFile{rec.number, rec.seq})
		rec.open, rec.sealed = false, false
	}
}

// seal writes the entry that ends the open file.
func (s *Store) seal(rec *roomRecord, as kind) error {
	if !rec.open {
		return fmt.Errorf("room %s is not on disk", rec.code)
	}
	before := rec.size
	if err := s.append(rec, endEntry(beginEntry(nil, as), 0)); err != nil {
		s.undo(rec, before)
		return err
	}
	return nil
}

// rotate ends the open file, so that another one follows. With anew, the next
// file does not continue this one because the record begins anew.
func (s *Store) rotate(rec *roomRecord, anew bool) error {
	if !anew {
		if err := s.seal(rec, next); err != nil {
			return err
		}
	}
	rec.old = append(rec.old, oldFile{rec.number, rec.seq})
	rec.open, rec.sealed = false, !anew
	return nil
}

// delete deletes one of the room's files.
func (s *Store) delete(rec *roomRecord, number uint32) error {
	if err := os.Remove(s.path(rec, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
