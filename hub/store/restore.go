package store

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"lectern/hub"
)

// maxFiles is how many files a room may have at a start. Each start begins one:
// when there are more they give way to a single one.
const maxFiles = 8

// Restore gives the hub all rooms that the directory has. It must be called
// before anything is served, and fails if the directory cannot be written to.
func (s *Store) Restore(h *hub.Hub) error {
	if err := s.restoreAll(h); err != nil {
		return fmt.Errorf("keep rooms in %s: %w", s.config.Dir, err)
	}
	s.ready = true
	return nil
}

func (s *Store) restoreAll(h *hub.Hub) error {
	rooms, err := s.roomFiles()
	if err != nil {
		return err
	}
	clean := s.relay.Clean
	if s.relay.Key == nil {
		s.relay = relayState{Key: drawKey()}
	}
	// From here on a stop is unclean until Close has said otherwise.
	s.relay.Version, s.relay.Clean = formatVersion, false
	if err := writeRelay(s.config.Dir, s.relay); err != nil {
		return err
	}
	h.Persist([keySize]byte(s.relay.Key))
	s.hub = h
	unclean := 0
	for code, numbers := range rooms {
		intact, err := s.restore(code, numbers, clean)
		if err != nil {
			return fmt.Errorf("restore room %s: %w", code, err)
		}
		if !intact {
			unclean++
		}
	}
	if unclean > 0 {
		// Ids and epochs that are told from now on must not be drawn again if the
		// machine loses power before the kernel has written them.
		if err := syncFile(s.config.Dir, unix.Syncfs); err != nil {
			return err
		}
	}
	if len(rooms) > 0 {
		s.config.Log.Info("rooms restored", "data", s.config.Dir, "rooms", len(s.kept), "clean_stop", clean, "new_epochs", unclean)
	}
	return nil
}

// roomFiles returns the numbers of each room's files, in order.
func (s *Store) roomFiles() (map[string][]uint32, error) {
	entries, err := os.ReadDir(s.config.Dir + "/rooms")
	if err != nil {
		return nil, err
	}
	rooms := make(map[string][]uint32)
	for _, e := range entries {
		if f, ok := parseRoomFile(e.Name()); ok {
			rooms[f.code] = append(rooms[f.code], f.number)
		}
	}
	for _, numbers := range rooms {
		slices.Sort(numbers)
	}
	return rooms, nil
}

// restore gives the hub one room, and begins a new file for it, so that its
// epoch is in the record before anybody is told it. It reports whether the room
// is as it was.
func (s *Store) restore(code string, numbers []uint32, clean bool) (intact bool, err error) {
	k := &kept{code: code, onDisk: true}
	r := reading{code: code}
	for _, number := range numbers {
		if err := s.readFile(k, &r, number); err != nil {
			return false, err
		}
	}
	if !r.known { // what could be read was of no use, and is deleted
		s.config.Log.Error("nothing of a room's record can be read: the room is lost", "data", s.config.Dir, "room", code)
		return false, nil
	}
	s.rooms.Add(1)
	if r.ended == gone {
		return true, s.remove(k)
	}
	intact = clean && r.clean()
	if k.room, err = s.hub.Restore(r.saved, r.messages, intact); err != nil {
		return false, err
	}
	k.seq = r.saved.Seq
	if len(k.old) <= maxFiles {
		k.cursor = k.room.End() // else all that the room holds is written again
	}
	s.kept[k.room] = k
	return intact, s.save(k)
}

// readFile reads one of a room's files, and mends it: what follows the damage is
// of no use, and would be found damaged at each start.
func (s *Store) readFile(k *kept, r *reading, number uint32) error {
	path := s.path(k, number)
	content, err := os.ReadFile(path)
	if err != nil && content == nil {
		return err
	}
	k.number = number
	good := r.file(number, content)
	if err != nil || good < len(content) {
		r.damaged = true
		s.config.Log.Warn("a room's record is damaged: what follows in this file is dropped",
			"file", path, "at", good, "of", len(content), "error", errors.Join(err, errDamaged))
	}
	switch {
	case err != nil: // it may be read another time
	case good == 0:
		return s.delete(k, number)
	case good < len(content):
		if err := os.Truncate(path, int64(good)); err != nil {
			return err
		}
	}
	k.old = append(k.old, oldFile{number, r.saved.Seq})
	return nil
}
