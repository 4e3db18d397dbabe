package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The writer's files. One is open at a time, while it is written to.

// maxTaken is how many numbers further a file is begun when there are some of
// the names already, which are not the room's.
const maxTaken = 1000

func (s *Store) path(k *kept, number uint32) string {
	return roomFile{k.code, number}.path(s.config.Dir)
}

// create begins the room's next file.
func (s *Store) create(k *kept) error {
	for taken := 0; ; taken++ {
		f, err := os.OpenFile(s.path(k, k.number+1), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil && (!errors.Is(err, fs.ErrExist) || taken >= maxTaken) {
			return err
		}
		k.number++
		if err != nil {
			k.sealed = false
			continue
		}
		k.open, k.size = true, 0
		if !k.onDisk {
			k.onDisk = true
			s.rooms.Add(1)
		}
		return f.Close()
	}
}

// append writes a record at the end of the room's open file.
func (s *Store) append(k *kept, record []byte) error {
	f, err := os.OpenFile(s.path(k, k.number), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = s.write(f, record)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	k.size += int64(len(record))
	s.written.Add(uint64(len(record)))
	return nil
}

// undo takes back what was written beyond a size. If that cannot be done,
// nothing is ever appended to what may be half a record: another file is begun.
func (s *Store) undo(k *kept, size int64) {
	path := s.path(k, k.number)
	switch {
	case size == 0 && os.Remove(path) == nil:
		k.open = false
		k.number--
	case size > 0 && s.truncate(path, size) == nil:
		k.size = size
	default:
		k.old = append(k.old, oldFile{k.number, k.seq})
		k.open, k.sealed = false, false
	}
}

// seal ends the open file.
func (s *Store) seal(k *kept, as kind) error {
	if !k.open {
		return fmt.Errorf("room %s is not on disk", k.code)
	}
	before := k.size
	if err := s.append(k, endRecord(beginRecord(nil, as), 0)); err != nil {
		s.undo(k, before)
		return err
	}
	return nil
}

// turn ends the open file, for another one to follow. When the record begins
// anew, that one does not go on from it.
func (s *Store) turn(k *kept, anew bool) error {
	if !anew {
		if err := s.seal(k, next); err != nil {
			return err
		}
	}
	k.old = append(k.old, oldFile{k.number, k.seq})
	k.open, k.sealed = false, !anew
	return nil
}

// delete deletes one of the room's files.
func (s *Store) delete(k *kept, number uint32) error {
	if err := os.Remove(s.path(k, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
