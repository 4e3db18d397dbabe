package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"lectern/hub"
	"lectern/hub/broadcast"
)

const (
	// maxFiles is how many files a room may have at a start. Each run that writes
	// begins one: when there are more they give way to a single one.
	maxFiles = 8
	// loaders is how many rooms are read at the same time. More would take the
	// processor from those who come back.
	loaders = 2
	// maxStarts bounds how many unclean starts are counted one by one. A room that
	// has missed more of them, or of which it is not known how many, leaves out ids
	// for a random number of them beyond that, up to farStarts.
	maxStarts = 16
	farStarts = 1024
	// budgetPart is which part of the relay's memory the rooms may have when they
	// are read: half of what makes it refuse histories.
	budgetPart = 4
)

// Restore notes which rooms there are, and has the hub count on them: Run reads
// them, those first that somebody asks for. It must be called before anything is
// served. It fails if the directory may not be used; a disk that is full or fails
// is told of, and tried again.
func (s *Store) Restore(h *hub.Hub) error {
	rooms, err := s.roomFiles()
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		return fmt.Errorf("keep rooms in %s: %w", s.config.Dir, err)
	}
	s.hub = h
	s.rooms.Store(int64(len(rooms)))
	s.queue.begin(rooms)
	total := int64(h.Config().RetainTotal)
	if memory := h.Budget().Limit(); memory > 0 {
		total = min(total, memory/budgetPart)
	}
	s.limit = waterline(rooms, int64(h.Config().Retain)+2*broadcast.MaxSegment, total)
	h.Persist(s)
	s.ready = true
	return nil
}

// Key returns what viewers' tokens are made with.
func (s *Store) Key() [keySize]byte { return [keySize]byte(s.relay.Key) }

// Codes returns the codes of the rooms that Run has still to read.
func (s *Store) Codes() []string { return s.queue.codes() }

// Want has Run read a room before the others.
func (s *Store) Want(code string) { s.queue.want(code) }

// begin notes on the disk that the relay runs: a stop is unclean from here on,
// until Close has said otherwise. If the disk does not take that now the last stop
// counts as unclean, whatever it was: every room begins a new epoch, and leaves
// out so many ids that the next start, which may not know of this one, does not give
// them again.
func (s *Store) begin() error {
	s.clean = s.relay.Clean
	switch {
	case s.relay.Key == nil:
		// The rooms may be of any count: this one is none that they have.
		s.relay = relayState{Key: drawKey(), Starts: 1<<32 + rand.Uint64N(1<<48)}
	case !s.relay.Clean:
		s.relay.Starts++
	}
	s.relay.Version, s.relay.Clean = formatVersion, false
	err := s.writeRelay(s.relay)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return err
	}
	if err != nil {
		s.unnoted, s.clean, s.blind = true, false, true
		s.health.failed(fmt.Errorf("note that the relay runs: %w", err))
	}
	return nil
}

// noteRun tries again what begin could not do.
func (s *Store) noteRun() error {
	if !s.unnoted {
		return nil
	}
	if err := s.writeRelay(s.relay); err != nil {
		return fmt.Errorf("note that the relay runs: %w", err)
	}
	s.unnoted = false
	return nil
}

// A diskRoom is a room's files.
type diskRoom struct {
	code    string
	numbers []uint32 // in order
	size    int64    // bytes of all of them
}

// roomFiles returns the rooms in the directory.
func (s *Store) roomFiles() ([]*diskRoom, error) {
	entries, err := os.ReadDir(s.config.Dir + "/rooms")
	if err != nil {
		return nil, err
	}
	rooms := make(map[string]*diskRoom)
	var all []*diskRoom
	for _, e := range entries {
		f, ok := parseRoomFile(e.Name())
		if !ok {
			continue
		}
		r := rooms[f.code]
		if r == nil {
			r = &diskRoom{code: f.code}
			rooms[f.code] = r
			all = append(all, r)
		}
		r.numbers = append(r.numbers, f.number)
		if info, err := e.Info(); err == nil {
			r.size += info.Size()
		}
	}
	for _, r := range all {
		slices.Sort(r.numbers)
	}
	return all, nil
}

// waterline returns how many bytes each room may have so that all have no more
// than total, when none has more than most; 0 if that is no matter. An eighth is
// left for what is not full in their last segments.
func waterline(rooms []*diskRoom, most, total int64) int64 {
	sizes := make([]int64, len(rooms))
	for i, r := range rooms {
		sizes[i] = min(r.size, most)
	}
	slices.Sort(sizes)
	total -= total / 8
	for i, size := range sizes {
		if left := int64(len(sizes) - i); size > total/left {
			return max(1, total/left)
		}
		total -= size
	}
	return 0
}

// loadAll reads rooms until there are none left to be read, or stop is closed.
func (s *Store) loadAll(stop <-chan struct{}) {
	var b loadBuffer
	for {
		select {
		case <-stop:
			return
		default:
		}
		d := s.queue.next()
		if d == nil {
			return
		}
		err := s.load(d, &b)
		if s.queue.read(d); err != nil {
			s.health.failed(err)
			s.queue.later(d)
		}
	}
}

// reload tries again to read the rooms that could not be read.
func (s *Store) reload() (failed error) {
	s.setBusy(time.Now())
	defer s.setBusy(time.Time{})
	var b loadBuffer
	for _, d := range s.queue.unread() {
		if err := s.load(d, &b); err != nil {
			s.queue.later(d)
			if failed == nil {
				failed = err
			}
		}
	}
	return failed
}

// load gives the hub one room. It fails if the room cannot be read now.
func (s *Store) load(d *diskRoom, b *loadBuffer) error {
	k := &kept{code: d.code, onDisk: true}
	r := reading{code: d.code, messages: b.messages[:0], slab: slab{b.slab.messages[:0]}}
	b.begin(d.size)
	mended := true
	for _, number := range d.numbers {
		mends, err := s.readFile(k, &r, number, b)
		if err != nil {
			return fmt.Errorf("read room %s: %w", d.code, err)
		}
		mended = mended && mends
	}
	b.messages, b.slab = r.messages, r.slab
	defer b.end()
	switch {
	case !r.known: // what could be read was of no use, and is deleted
		s.config.Log.Error("nothing of a room's record can be read: the room is lost", "data", s.config.Dir, "room", d.code)
		fallthrough
	case r.ended == gone:
		k.gone = true
		s.queue.mend(k) // the writer deletes what is left
		s.hub.Lost(d.code)
		return nil
	}
	how := s.restoring(&r)
	var err error
	if k.room, err = s.hub.Restore(r.saved, r.lastBytes(s.limit), how); err != nil {
		s.config.Log.Error("a room on disk is none that this relay can have: its files stay", "data", s.config.Dir, "room", d.code, "error", err)
		s.rooms.Add(-1)
		s.hub.Lost(d.code)
		return nil
	}
	k.seq, k.untouched = r.saved.Seq, true
	if mended && len(k.old) <= maxFiles {
		k.cursor = k.room.End() // else all that the room holds is written again
	}
	s.mu.Lock()
	s.kept[k.room] = k
	s.mu.Unlock()
	if !mended {
		s.queue.mend(k)
	}
	s.hub.Wake(k.room)
	s.queue.count(how.Starts > 0)
	return nil
}

// restoring returns after how many unclean starts a room comes back, none if it
// is as it was when the relay was stopped, and which epochs began with them.
func (s *Store) restoring(r *reading) hub.Restoring {
	how := hub.Restoring{Bytes: s.limit}
	since := s.relay.Starts - r.starts
	whole := !r.damaged && !r.gap
	switch {
	case s.clean && r.clean() && since == 0:
		return how
	case !s.blind && since > 0 && since <= maxStarts && (whole || !s.clean):
		// What is damaged may be of the present count, unless that has just begun.
		for n := r.starts + 1; n <= s.relay.Starts; n++ {
			how.Epochs = append(how.Epochs, s.epoch(r.saved.Birth, n))
		}
		how.Starts = int(since)
	default:
		how.Starts = maxStarts + 1 + rand.IntN(farStarts-maxStarts)
	}
	return how
}

// epoch returns the name of the epoch that begins in a room with an unclean start,
// by its count. It follows from them, so that who was told it is known also if the
// relay was killed before it had written anything of the room.
func (s *Store) epoch(birth string, start uint64) string {
	mac := hmac.New(sha256.New, s.relay.Key)
	_, _ = fmt.Fprintf(mac, "epoch %s %d", birth, start)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// A loadBuffer is memory that is used for one room after the other.
type loadBuffer struct {
	bytes    []byte
	messages [][]byte
	slab     slab
}

// keptBuffer is how many bytes are kept for the next room.
const keptBuffer = 4 << 20

func (b *loadBuffer) begin(size int64) {
	if int64(cap(b.bytes)) <= size {
		b.bytes = make([]byte, 0, size+size/4+1)
	}
	b.bytes = b.bytes[:0]
}

func (b *loadBuffer) end() {
	if cap(b.bytes) > keptBuffer {
		b.bytes = nil
	}
	clear(b.messages)
	clear(b.slab.messages)
	if cap(b.slab.messages) > keptBuffer/24 {
		b.slab, b.messages = slab{}, nil
	}
}

// read reads a file behind what is in the buffer.
func (b *loadBuffer) read(path string) (content []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	start := len(b.bytes)
	for {
		if len(b.bytes) == cap(b.bytes) { // it is longer than it was; what was read stays where it is
			b.bytes = append(make([]byte, 0, 2*(len(b.bytes)-start)+512), b.bytes[start:]...)
			start = 0
		}
		n, err := f.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if err != nil || n == 0 {
			content = b.bytes[start:len(b.bytes):len(b.bytes)]
			if err != nil && err == io.EOF {
				err = nil
			}
			return content, errors.Join(err, f.Close())
		}
	}
}

// readFile reads one of a room's files, and mends it: what follows the damage is
// of no use, and would be found damaged at each start. It reports whether that
// could be done, and fails if the file cannot be opened.
func (s *Store) readFile(k *kept, r *reading, number uint32, b *loadBuffer) (mended bool, err error) {
	path := s.path(k, number)
	content, err := b.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // whoever took it away leaves a gap
	case err != nil && content == nil:
		return false, err
	}
	k.number = number
	good := r.file(number, content)
	if err != nil || good < len(content) {
		r.damaged = true
		s.config.Log.Warn("a room's record is damaged: what follows in this file is dropped",
			"file", path, "at", good, "of", len(content), "error", errors.Join(err, errDamaged))
	}
	mended = true
	switch {
	case err != nil: // it may be read another time
	case good == 0:
		if s.delete(k, number) == nil {
			return true, nil
		}
		mended = false
	case good < len(content):
		mended = s.truncate(path, int64(good)) == nil
	}
	k.old = append(k.old, oldFile{number, r.saved.Seq})
	return mended, nil
}

// told logs that all rooms have been read.
func (s *Store) told(since time.Time) {
	if rooms, unclean := s.queue.counts(); rooms > 0 {
		s.config.Log.Info("rooms restored", "data", s.config.Dir, "rooms", rooms, "clean_stop", s.clean,
			"new_epochs", unclean, "took", time.Since(since).Round(time.Millisecond))
	}
}
