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

// minFile is how large a file is at least before another one is begun; where
// rooms hold more, half of that.
const minFile = 64 << 10

// A kept is a room as the writer knows it. But for the cursors it is the
// writer's alone.
type kept struct {
	room *hub.Room // nil for one that is only to be deleted
	code string    // empty until the first file

	// Guarded by the store's mu. The zero Cursor stands for the beginning: the
	// record begins anew with all that the room holds.
	cursor broadcast.Cursor // before what is to be written
	ahead  broadcast.Cursor // before what is not in the buffer yet, in the middle of it

	number uint32 // of the newest file, 0 if there is none
	open   bool   // it may be appended to
	sealed bool   // the one before it ends with next
	onDisk bool   // it has files
	size   int64
	state  []byte    // as the open file has it
	saved  hub.Saved // what it was made of
	gone   bool      // its files are to be deleted
	// untouched says that nobody has come to it in this run: what is on disk is all
	// there is, and the epoch that has begun follows from the count of starts.
	untouched bool
	sent      uint64
	lastID    uint32
	seq       uint64    // of the last broadcast written
	old       []oldFile // those before the newest, the oldest first
	retried   bool      // it is among those to be written already
}

// An oldFile is one that is no longer appended to.
type oldFile struct {
	number uint32
	last   uint64 // number of the last broadcast in it
}

// savedRoom is a room's state on disk.
type savedRoom struct {
	hub.Saved
	Starts uint64 `json:"starts,omitempty"` // see relayState
}

// letGo gives up the cursors.
func (k *kept) letGo() { k.cursor, k.ahead = broadcast.Cursor{}, broadcast.Cursor{} }

// errLetGo is that tend gave up the cursor while its room was being written.
var errLetGo = errors.New("the disk takes less than is said")

// save writes what has changed in a room. After an error nothing is in its
// files of what was to be.
func (s *Store) save(k *kept) (err error) {
	if k.gone {
		return s.remove(k)
	}
	now := k.room.Snapshot()
	k.code = now.Code
	if now.Closed {
		return s.remove(k)
	}
	// Most rooms that change have another number only.
	text, same := k.state, k.open && k.state != nil && now.SameState(&k.saved)
	if !same {
		if text, err = json.Marshal(savedRoom{now.Saved, s.relay.Starts}); err != nil {
			return fmt.Errorf("encode room %s: %w", k.code, err)
		}
	}
	oldest := now.Oldest.Seq()
	anew := s.start(k, now.Oldest)
	defer func() {
		if err != nil && anew {
			s.giveUp(k) // the room holds what there is, as long as it does
		}
	}()
	// Each file begins with the whole state: one of many kicked ids is long.
	if full := k.size >= max(s.minFile, int64(s.hub.Config().Retain/2), 4*int64(len(text))); k.open && (anew || full) {
		if err := s.turn(k, anew); err != nil {
			return err
		}
	}
	if !k.open { // the next file begins with it
		k.state = nil
	} else if same || bytes.Equal(text, k.state) {
		text = nil
	}
	if !k.open || text != nil || now.Sent != k.sent || now.LastID != k.lastID || now.Seq != k.seq {
		end := now.End.Position()
		now.Oldest, now.End = broadcast.Cursor{}, broadcast.Cursor{} // or they would hold the Log while the disk is waited for
		if err := s.batch(k, now, text, end); err != nil {
			return err
		}
	} else {
		s.skip(k, now.End)
	}
	if anew {
		for i := range k.old {
			k.old[i].last = 0 // all that counts is in the new file
		}
		anew = false
	}
	return s.tidy(k, oldest)
}

// start sets ahead to where the next batch begins, and reports whether that is
// everything that the room holds.
func (s *Store) start(k *kept, oldest broadcast.Cursor) (anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if anew = k.cursor.IsZero(); anew {
		k.cursor = oldest
	}
	k.ahead = k.cursor
	return anew
}

// giveUp has the record begin anew.
func (s *Store) giveUp(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.letGo()
}

// skip moves the cursor past notices.
func (s *Store) skip(k *kept, end broadcast.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.cursor.IsZero() {
		k.cursor = end
	}
}

// batch writes the broadcasts up to the Log's position end, and the state as it
// was there.
func (s *Store) batch(k *kept, now hub.Snapshot, text []byte, end uint64) error {
	if !k.open {
		if err := s.create(k); err != nil {
			return err
		}
	}
	before := k.size
	for complete := false; !complete; {
		var record []byte
		var err error
		if record, complete, err = s.encode(k, &now, text, end); err == nil {
			err = s.append(k, record)
		}
		if err != nil {
			s.undo(k, before)
			return err
		}
	}
	s.mu.Lock()
	k.cursor, k.ahead = k.ahead, broadcast.Cursor{}
	s.mu.Unlock()
	if text != nil {
		k.state, k.saved = text, now.Saved
	}
	k.sent, k.lastID, k.seq = now.Sent, now.LastID, now.Seq
	return nil
}

// encode makes the next record of a batch: a part if more than that is left.
func (s *Store) encode(k *kept, now *hub.Snapshot, text []byte, end uint64) (record []byte, complete bool, err error) {
	s.mu.Lock()
	c := k.ahead
	s.mu.Unlock()
	if c.IsZero() {
		return nil, false, errLetGo
	}
	// Which head it has is clear when the broadcasts are there: room is made for
	// the longer one.
	var magic []byte
	as := state
	if k.size == 0 {
		magic = []byte(fileMagic)
	}
	if !k.sealed {
		as = begin
	}
	first := c.Seq() + 1
	b := append(s.buffer[:0], magic...)
	b = appendState(beginRecord(b, as), now.Sent, now.LastID, text)
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
		head := binary.AppendUvarint(beginRecord(magic, part), first)
		start = body - len(head)
		copy(b[start:], head)
		start += len(magic)
	}
	b = endRecord(b, start)
	s.buffer = b

	s.mu.Lock()
	defer s.mu.Unlock()
	if k.ahead.IsZero() {
		return nil, false, errLetGo
	}
	k.ahead = c
	return b[start-len(magic):], complete, nil
}

// tidy deletes the files of which the room holds nothing any more.
func (s *Store) tidy(k *kept, oldest uint64) error {
	for len(k.old) > 0 && k.old[0].last <= oldest {
		if err := s.delete(k, k.old[0].number); err != nil {
			return err
		}
		k.old = k.old[1:]
	}
	return nil
}

// remove deletes a closed room's record. It is sealed before: if not all files
// can be deleted, what is left does not come back as a room.
func (s *Store) remove(k *kept) error {
	if k.open {
		_ = s.seal(k, gone) // a full disk takes no seal, and loses nothing by that
		k.open = false
		k.old = append(k.old, oldFile{number: k.number})
	}
	if err := s.tidy(k, math.MaxUint64); err != nil {
		return err
	}
	if k.onDisk {
		s.rooms.Add(-1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, k.room)
	return nil
}
