package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lectern/hub"
	"lectern/hub/broadcast"
)

// Config of a [Store].
type Config struct {
	Dir   string        // created if it does not exist, with access for its owner alone
	Every time.Duration // interval between writes, which is lost when the process is killed; default 100 ms
	Log   *slog.Logger  // default: no logging
}

const (
	// maxWait is the longest pause after the disk has failed.
	maxWait = time.Second
	// tendEvery is how often the cursors are checked. stuckAfter is how long
	// the writer may wait for the disk before that is logged.
	tendEvery  = time.Second
	stuckAfter = 5 * time.Second
)

// A Store keeps the rooms of a hub in a directory. Open creates one. Its
// methods must be called in the order Restore, Run, Close; Stats may be called
// at any time.
type Store struct {
	config Config // immutable
	lock   *os.File
	relay  relayState
	hub    *hub.Hub // immutable after Restore
	health health
	queue  queue
	ready  bool  // Restore has finished
	clean  bool  // immutable after Restore; the last stop was clean, and this start is on the disk
	blind  bool  // immutable after Restore; the next start may not know of this one
	limit  int64 // immutable after Restore; bytes that a room may have when it is read, 0 for no limit

	write   func(*os.File, []byte) (int, error) // immutable; tests have it fail
	minFile int64                               // immutable; tests make it smaller

	fsync    func(fd int) error        // immutable; tests have it fail
	truncate func(string, int64) error // immutable; tests have it fail

	buffer []byte        // owned by the writer
	retry  []*roomRecord // owned by the writer; rooms that could not be written

	unnoted bool // owned by the writer after Restore; DIR/relay does not say yet that the relay runs

	written atomic.Uint64 // atomic; bytes
	rooms   atomic.Int64  // atomic; rooms that have files

	mu      sync.Mutex
	records map[*hub.Room]*roomRecord // guarded by mu
	busy    time.Time                 // guarded by mu; when the writer began its current pass, zero if there is none
}

// Open locks the directory for this process. It fails if another relay uses the
// directory, if its format is another version's, or if it cannot be used.
func Open(c Config) (*Store, error) {
	if c.Every <= 0 {
		c.Every = 100 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("keep rooms in %s: %w", c.Dir, err)
	}
	s := &Store{config: c, lock: lock, write: (*os.File).Write, fsync: unix.Fsync, truncate: os.Truncate, minFile: minFile, records: make(map[*hub.Room]*roomRecord)}
	s.health = health{log: c.Log, dir: c.Dir}
	s.relay, err = readRelay(c.Dir)
	if errors.Is(err, errDamaged) {
		c.Log.Error("what the relay keeps of itself is damaged: a new key is drawn, and viewers cannot come back as who they were",
			"file", c.Dir+"/relay", "error", err)
		err = nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep rooms in %s: %w", c.Dir, err), lock.Close())
	}
	return s, nil
}

// Run reads the rooms, and writes changes in each interval, until ctx ends. The
// last changes are written only by Close.
func (s *Store) Run(ctx context.Context) {
	var beside sync.WaitGroup
	beside.Go(func() { s.tend(ctx) })
	beside.Go(func() { s.read(ctx) })
	defer beside.Wait()
	wait := s.config.Every
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := s.once(); err != nil {
			s.health.failed(err)
			wait = max(s.config.Every, min(2*wait, maxWait))
		} else {
			s.health.worked()
			wait = s.config.Every
		}
		timer.Reset(wait)
	}
}

// read reads all rooms.
func (s *Store) read(ctx context.Context) {
	began := time.Now()
	var all sync.WaitGroup
	for range loaders {
		all.Go(func() { s.loadAll(ctx.Done()) })
	}
	all.Wait()
	if ctx.Err() == nil {
		s.logRestored(began)
	}
}

// once writes what has changed and tries again what has failed. It returns the
// first error.
func (s *Store) once() error {
	failed := s.noteRun()
	for _, err := range []error{s.reload(), s.pass(s.changed()), s.queue.stuck()} {
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// changed returns the rooms to write: those that have changed, and those that
// could not be written before.
func (s *Store) changed() []*roomRecord {
	all := append(s.retry, s.queue.toMend()...)
	s.retry = nil
	for _, rec := range all {
		rec.retried, rec.untouched = true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.hub.Changed() {
		rec := s.records[r]
		if rec == nil {
			rec = &roomRecord{room: r}
			s.records[r] = rec
		}
		if rec.untouched = false; !rec.retried {
			all = append(all, rec)
		}
	}
	return all
}

// pass writes rooms. It continues after an error, and returns the first.
func (s *Store) pass(rooms []*roomRecord) (failed error) {
	s.setBusy(time.Now())
	defer s.setBusy(time.Time{})
	for _, rec := range rooms {
		rec.retried = false
		if err := s.save(rec); err != nil {
			s.retry = append(s.retry, rec)
			if failed == nil {
				failed = err
			}
		}
	}
	if cap(s.buffer) > 2*maxPart {
		s.buffer = nil
	}
	return failed
}

func (s *Store) setBusy(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = since
}

// tend checks the cursors, even while the writer waits for the disk. It gives
// up a cursor that has fallen behind further than a viewer may, so that a
// failing disk does not hold every broadcast in memory. A cursor at the end of
// its Log must not hold a segment that the Log has dropped.
func (s *Store) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A record that begins anew is behind by everything that the room
		// retains.
		config := s.hub.Config()
		limit := uint64(config.LagLimit + config.Retain + 2*broadcast.MaxSegment)
		s.mu.Lock()
		for _, rec := range s.records {
			end := rec.room.End()
			if !rec.cursor.IsZero() && end.Position()-rec.cursor.Position() > limit {
				rec.letGo()
			}
			rec.cursor.Next()
		}
		stuck := !s.busy.IsZero() && time.Since(s.busy) > stuckAfter
		s.mu.Unlock()
		if stuck {
			s.health.failed(fmt.Errorf("no answer for more than %s", stuckAfter))
		}
	}
}

// Close writes everything, waits until it is on the disk, records that the stop
// was clean, and unlocks the directory. After an error, or if ctx ends before
// Close has finished, the next start is unclean. Run must have returned, and
// the hub's rooms must not change any more.
func (s *Store) Close(ctx context.Context) error {
	finished := make(chan error, 1)
	go func() { finished <- s.finish(ctx) }()
	select {
	case err := <-finished:
		return errors.Join(err, s.lock.Close())
	case <-ctx.Done():
	}
	select {
	case err := <-finished: // it gave up at the same moment
		return errors.Join(err, s.lock.Close())
	case <-time.After(giveUpTime):
		// The disk does not respond. The directory stays locked until the
		// process ends, because something may still be written.
		return fmt.Errorf("the disk does not answer: %w", context.Cause(ctx))
	}
}

// giveUpTime is how long Close still waits for a write in progress when ctx has
// ended.
const giveUpTime = 100 * time.Millisecond

func (s *Store) finish(ctx context.Context) error {
	if !s.ready {
		return nil
	}
	var all []*roomRecord
	for _, rec := range s.changed() {
		if rec.gone {
			all = append(all, rec)
		}
	}
	for _, rec := range s.records {
		if !rec.untouched {
			all = append(all, rec)
		}
	}
	for len(all) > 0 { // some at a time, so that it stops when ctx ends
		if ctx.Err() != nil {
			return fmt.Errorf("write the rooms: %w", context.Cause(ctx))
		}
		n := min(len(all), 100)
		if err := s.pass(all[:n]); err != nil {
			return fmt.Errorf("write the rooms: %w", err)
		}
		all = all[n:]
	}
	var changed []*roomRecord
	for _, rec := range s.records {
		if rec.untouched {
			continue
		}
		if err := s.seal(rec, stop); err != nil {
			return fmt.Errorf("write the rooms: %w", err)
		}
		changed = append(changed, rec)
	}
	if err := s.syncRooms(ctx, changed); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.relay.Clean = true
	return s.writeRelay(s.relay)
}

// Stats are the figures of a store. Counters start at zero with Open.
type Stats struct {
	Rooms   int64  // rooms on disk
	Written uint64 // bytes written
	Errors  uint64 // failed attempts to write or read
	Failing bool   // the last attempt failed
}

// Stats returns the store's figures. It may be called from any goroutine.
func (s *Store) Stats() Stats {
	t := Stats{Rooms: s.rooms.Load(), Written: s.written.Load()}
	t.Errors, t.Failing = s.health.stats()
	return t
}
