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
	// maxFiles is how many files a room may have at a start. Each run of the
	// relay adds one; when there are more, the writer replaces them with one.
	maxFiles = 8
	// loaders is how many rooms are read at the same time. More would take
	// processor time from clients that reconnect.
	loaders = 2
	// maxStarts is how many unclean starts are counted one by one. A room that
	// has missed more, or an unknown number, skips ids for a random number of
	// starts beyond maxStarts, up to farStarts.
	maxStarts = 16
	farStarts = 1024
	// budgetPart is the fraction of the relay's memory, one over this, that
	// rooms may have when they are read: half of the level at which the budget
	// refuses histories.
	budgetPart = 4
)

// Restore lists the rooms in the directory and registers them with the hub. Run
// then reads them, first those that clients ask for. Restore must be called
// before anything is served. It fails if the directory cannot be used. If the
// disk is full or fails, it logs that, and Run tries again.
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

// Key returns the key of viewers' tokens.
func (s *Store) Key() [keySize]byte { return [keySize]byte(s.relay.Key) }

// Codes returns the codes of the rooms that Run has yet to read.
func (s *Store) Codes() []string { return s.queue.codes() }

// Want has Run read a room before the others.
func (s *Store) Want(code string) { s.queue.want(code) }

// begin writes to the disk that the relay runs, so that every stop is unclean
// until Close says otherwise. If the disk fails, the previous stop counts as
// unclean: every room begins a new epoch, and skips so many ids that the next
// start, which may not know of this one, does not reuse them.
func (s *Store) begin() error {
	s.clean = s.relay.Clean
	switch {
	case s.relay.Key == nil:
		// The rooms may have been saved with any count: choose one that none of
		// them has.
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

// noteRun tries again to do what begin could not.
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

// A diskRoom is the list of a room's files.
type diskRoom struct {
	code    string
	numbers []uint32 // of the files, in order
	size    int64    // bytes in all files
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

// waterline returns how many bytes each room may have so that all together have
// at most total, given that no room has more than most. It returns 0 if no
// limit is needed. It leaves an eighth for the unused space in the rooms' last
// segments.
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

// loadAll reads rooms until none are left or stop is closed.
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

// load reads a room and gives it to the hub. It fails if the room cannot be
// read now.
func (s *Store) load(d *diskRoom, b *loadBuffer) error {
	rec := &roomRecord{code: d.code, onDisk: true}
	r := reading{code: d.code, messages: b.messages[:0], slab: slab{b.slab.messages[:0]}}
	b.begin(d.size)
	mended := true
	for _, number := range d.numbers {
		mends, err := s.readFile(rec, &r, number, b)
		if err != nil {
			return fmt.Errorf("read room %s: %w", d.code, err)
		}
		mended = mended && mends
	}
	b.messages, b.slab = r.messages, r.slab
	defer b.end()
	switch {
	case !r.known: // nothing that could be read was usable; delete it
		s.config.Log.Error("nothing of a room's record can be read: the room is lost", "data", s.config.Dir, "room", d.code)
		fallthrough
	case r.ended == gone:
		rec.gone = true
		s.queue.mend(rec) // the writer deletes the files that are left
		s.hub.Lost(d.code)
		return nil
	}
	how := s.restoring(&r)
	var err error
	if rec.room, err = s.hub.Restore(r.saved, r.lastBytes(s.limit), how); err != nil {
		s.config.Log.Error("a room on disk is none that this relay can have: its files stay", "data", s.config.Dir, "room", d.code, "error", err)
		s.rooms.Add(-1)
		s.hub.Lost(d.code)
		return nil
	}
	rec.seq, rec.untouched = r.saved.Seq, true
	if mended && len(rec.old) <= maxFiles {
		rec.cursor = rec.room.End() // otherwise everything that the room holds is written again
	}
	s.mu.Lock()
	s.records[rec.room] = rec
	s.mu.Unlock()
	if !mended {
		s.queue.mend(rec)
	}
	s.hub.Wake(rec.room)
	s.queue.count(how.Starts > 0)
	return nil
}

// restoring returns after how many unclean starts a room comes back, 0 if it is
// as it was when the relay stopped, and which epochs began with them.
func (s *Store) restoring(r *reading) hub.Restoring {
	how := hub.Restoring{Bytes: s.limit}
	since := s.relay.Starts - r.starts
	whole := !r.damaged && !r.gap
	switch {
	case s.clean && r.clean() && since == 0:
		return how
	case !s.blind && since > 0 && since <= maxStarts && (whole || !s.clean):
		// A damaged record may have lost a state with the current count, unless
		// the current count is new with this start.
		for n := r.starts + 1; n <= s.relay.Starts; n++ {
			how.Epochs = append(how.Epochs, s.epoch(r.saved.Birth, n))
		}
		how.Starts = int(since)
	default:
		how.Starts = maxStarts + 1 + rand.IntN(farStarts-maxStarts)
	}
	return how
}

// epoch returns the name of the epoch that an unclean start begins in a room.
// It is derived from the count of starts, so that the relay recognizes it even
// if it was killed before it had written anything of the room.
func (s *Store) epoch(birth string, start uint64) string {
	mac := hmac.New(sha256.New, s.relay.Key)
	_, _ = fmt.Fprintf(mac, "epoch %s %d", birth, start)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// A loadBuffer is memory that a loader reuses for one room after the other.
type loadBuffer struct {
	bytes    []byte
	messages [][]byte
	slab     slab
}

// maxSpareBuffer is how many bytes of it are kept for the next room.
const maxSpareBuffer = 4 << 20

func (b *loadBuffer) begin(size int64) {
	if int64(cap(b.bytes)) <= size {
		b.bytes = make([]byte, 0, size+size/4+1)
	}
	b.bytes = b.bytes[:0]
}

func (b *loadBuffer) end() {
	if cap(b.bytes) > maxSpareBuffer {
		b.bytes = nil
	}
	clear(b.messages)
	clear(b.slab.messages)
	if cap(b.slab.messages) > maxSpareBuffer/24 {
		b.slab, b.messages = slab{}, nil
	}
}

// read reads a file behind the content that is in the buffer.
func (b *loadBuffer) read(path string) (content []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	start := len(b.bytes)
	for {
		if len(b.bytes) == cap(b.bytes) { // the file has grown; content that was returned stays where it is
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

// readFile reads a file of a room and repairs it: it cuts off what follows
// damage, which is unusable and would be found again at each start. It reports
// whether the repair worked, and fails if the file cannot be opened.
func (s *Store) readFile(rec *roomRecord, r *reading, number uint32, b *loadBuffer) (mended bool, err error) {
	path := s.path(rec, number)
	content, err := b.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // somebody removed the file, which leaves a gap
	case err != nil && content == nil:
		return false, err
	}
	rec.number = number
	good := r.file(number, content)
	if err != nil || good < len(content) {
		r.damaged = true
		s.config.Log.Warn("a room's record is damaged: what follows in this file is dropped",
			"file", path, "at", good, "of", len(content), "error", errors.Join(err, errDamaged))
	}
	mended = true
	switch {
	case err != nil: // the file may be readable later
	case good == 0:
		if s.delete(rec, number) == nil {
			return true, nil
		}
		mended = false
	case good < len(content):
		mended = s.truncate(path, int64(good)) == nil
	}
	rec.old = append(rec.old, oldFile{number, r.saved.Seq})
	return mended, nil
}

// logRestored logs that all rooms have been read.
func (s *Store) logRestored(since time.Time) {
	if rooms, unclean := s.queue.counts(); rooms > 0 {
		s.config.Log.Info("rooms restored", "data", s.config.Dir, "rooms", rooms, "clean_stop", s.clean,
			"new_epochs", unclean, "took", time.Since(since).Round(time.Millisecond))
	}
}
