package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"lectern/frame"
	"lectern/hub"
	"lectern/hub/broadcast"
)

// minFile is the size in bytes from which another file is begun. It is half of
// what a room retains if that is larger.
const minFile = 64 << 10

// A roomRecord is a room's record on disk, as the writer knows it. The writer
// owns all fields except the cursors.
type roomRecord struct {
	room *hub.Room // nil if the record is only to be deleted
	code string    // empty until the first file is created

	// The cursors are guarded by Store.mu. The zero Cursor stands for the
	// beginning: the record begins anew with everything that the room holds.
	cursor broadcast.Cursor // place before what has to be written
	ahead  broadcast.Cursor // within a batch: place before what is not in the buffer yet

	number uint32 // number of the newest file, 0 if there is none
	open   bool   // the newest file may be appended to
	sealed bool   // the file before it ends with next
	onDisk bool   // the record has files
	size   int64
	state  []byte    // the latest state in the open file
	saved  hub.Saved // the state before its encoding
	gone   bool      // the files are to be deleted
	// untouched says that the room has not changed in this run. Everything is
	// on disk then, and its current epoch follows from the count of starts.
	untouched bool
	sent      uint64
	lastID    uint32
	seq       uint64    // number of the last broadcast written
	old       []oldFile // files before the newest, the oldest first
	retried   bool      // the room is already on the list of rooms to write
}

// An oldFile is a file that is no longer appended to.
type oldFile struct {
	number uint32
	last   uint64 // number of the last broadcast in it
}

// A savedRoom is a room's state on disk.
type savedRoom struct {
	hub.Saved
	Starts uint64 `json:"starts,omitempty"` // see relayState
}

// letGo gives up the cursors.
func (rec *roomRecord) letGo() { rec.cursor, rec.ahead = broadcast.Cursor{}, broadcast.Cursor{} }

// errLetGo reports that tend gave up the cursor while its room was being
// written.
var errLetGo = errors.New("the disk takes less than is said")

// save writes what has changed in a room. If it fails, nothing of that is left
// in the room's files.
func (s *Store) save(rec *roomRecord) (err error) {
	if rec.gone {
		return s.remove(rec)
	}
	now := rec.room.Snapshot()
	rec.code = now.Code
	if now.Closed {
		return s.remove(rec)
	}
	// In most rooms that change, only the numbers have changed.
	text, same := rec.state, rec.open && rec.state != nil && now.SameState(&rec.saved)
	if !same {
		if text, err = json.Marshal(savedRoom{now.Saved, s.relay.Starts}); err != nil {
			return fmt.Errorf("encode room %s: %w", rec.code, err)
		}
	}
	oldest := now.Oldest.Seq()
	anew := s.start(rec, now.Oldest)
	defer func() {
		if err != nil && anew {
			s.giveUp(rec) // the room still holds what can be written again
		}
	}()
	// Each file begins with the whole state, which is long in a room with many
	// kicked ids.
	if full := rec.size >= max(s.minFile, int64(s.hub.Config().Retain/2), 4*int64(len(text))); rec.open && (anew || full) {
		if err := s.rotate(rec, anew); err != nil {
			return err
		}
	}
	if !rec.open { // the next file begins with the state
		rec.state = nil
	} else if same || bytes.Equal(text, rec.state) {
		text = nil
	}
	if !rec.open || text != nil || now.Sent != rec.sent || now.LastID != rec.lastID || now.Seq != rec.seq {
		end := now.End.Position()
		now.Oldest, now.End = broadcast.Cursor{}, broadcast.Cursor{} // otherwise they would hold the Log in memory while the disk is slow
		if err := s.batch(rec, now, text, end); err != nil {
			return err
		}
	} else {
		s.skip(rec, now.End)
	}
	if anew {
		for i := range rec.old {
			rec.old[i].last = 0 // the new file has everything that matters
		}
		anew = false
	}
	return s.tidy(rec, oldest)
}

// start sets ahead to where the next batch begins. It reports whether that is
// the oldest broadcast that the room holds, because the record begins anew.
func (s *Store) start(rec *roomRecord, oldest broadcast.Cursor) (anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if anew = rec.cursor.IsZero(); anew {
		rec.cursor = oldest
	}
	rec.ahead = rec.cursor
	return anew
}

// giveUp has the record begin anew.
func (s *Store) giveUp(rec *roomRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.letGo()
}

// skip moves the cursor past notices.
func (s *Store) skip(rec *roomRecord, end broadcast.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !rec.cursor.IsZero() {
		rec.cursor = end
	}
}

// batch writes the broadcasts up to the Log's position end, and the state at
// that position.
func (s *Store) batch(rec *roomRecord, now hub.Snapshot, text []byte, end uint64) error {
	if !rec.open {
		if err := s.create(rec); err != nil {
			return err
		}
	}
	before := rec.size
	for complete := false; !complete; {
		var data []byte
		var err error
		if data, complete, err = s.encode(rec, &now, text, end); err == nil {
			err = s.append(rec, data)
		}
		if err != nil {
			s.undo(rec, before)
			return err
		}
	}
	s.mu.Lock()
	rec.cursor, rec.ahead = rec.ahead, broadcast.Cursor{}
	s.mu.Unlock()
	if text != nil {
		rec.state, rec.saved = text, now.Saved
	}
	rec.sent, rec.lastID, rec.seq = now.Sent, now.LastID, now.Seq
	return nil
}

// encode returns the next entry of a batch. If more broadcasts are left than
// fit, the entry is a part.
func (s *Store) encode(rec *roomRecord, now *hub.Snapshot, text []byte, end uint64) (data []byte, complete bool, err error) {
	s.mu.Lock()
	c := rec.ahead
	s.mu.Unlock()
	if c.IsZero() {
		return nil, false, errLetGo
	}
	// Which head the entry gets is known only after its broadcasts. Reserve
	// space for the longer one.
	var magic []byte
	as := state
	if rec.size == 0 {
		magic = []byte(fileMagic)
	}
	if !rec.sealed {
		as = begin
	}
	first := c.Seq() + 1
	b := append(s.buffer[:0], magic...)
	b = appendState(beginEntry(b, as), now.Sent, now.LastID, text)
	b = binary.AppendUvarint(b, first)
	body := len(b)
	for c.Position() < end && (len(b) == body || len(b)-body < maxPart) {
		if whole, message := c.NextFrame(); message {
			b = appendMessage(b, frame.Payload(whole))
		}
	}
	complete = c.Position() >= end
	start := len(magic)
	if !complete {
		head := binary.AppendUvarint(beginEntry(magic, part), first)
		start = body - len(head)
		copy(b[start:], head)
		start += len(magic)
	}
	b = endEntry(b, start)
	s.buffer = b

	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.ahead.IsZero() {
		return nil, false, errLetGo
	}
	rec.ahead = c
	return b[start-len(magic):], complete, nil
}

// tidy deletes the files whose broadcasts the room no longer holds.
func (s *Store) tidy(rec *roomRecord, oldest uint64) error {
	for len(rec.old) > 0 && rec.old[0].last <= oldest {
		if err := s.delete(rec, rec.old[0].number); err != nil {
			return err
		}
		rec.old = rec.old[1:]
	}
	return nil
}

// remove deletes the record of a closed room. It seals it first, so that the
// room does not come back if some files cannot be deleted.
func (s *Store) remove(rec *roomRecord) error {
	if rec.open {
		_ = s.seal(rec, gone) // a full disk accepts no seal, but that loses nothing
		rec.open = false
		rec.old = append(rec.old, oldFile{number: rec.number})
	}
	if err := s.tidy(rec, math.MaxUint64); err != nil {
		return err
	}
	if rec.onDisk {
		s.rooms.Add(-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, rec.room)
	return nil
}
