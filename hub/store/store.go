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
	Dir   string        // made if it is not there, for its owner alone
	Every time.Duration // what is said in it is lost when the process is killed; default 100 ms
	Log   *slog.Logger  // default: nothing is logged
}

const (
	// maxWait is how long a disk that failed is left alone at most.
	maxWait = time.Second
	// tendEvery is how often the cursors are looked at, and stuckAfter how long
	// the writer may wait for the disk before that is told.
	tendEvery  = time.Second
	stuckAfter = 5 * time.Second
)

// A Store keeps the rooms of a hub in a directory. Open makes one. Its methods
// are to be called in the order Open, Restore, Run, Close; Stats at any time.
type Store struct {
	config Config // immutable
	lock   *os.File
	relay  relayState
	hub    *hub.Hub // immutable after Restore
	health health
	queue  queue
	ready  bool  // Restore has finished
	clean  bool  // immutable after Restore; the last stop was clean, and this start is noted
	blind  bool  // immutable after Restore; the next start may not know of this one
	limit  int64 // immutable after Restore; bytes that a room may have when it is read, 0 for any

	write   func(*os.File, []byte) (int, error) // immutable; tests have it fail
	minFile int64                               // immutable; tests have it smaller

	fsync    func(fd int) error        // immutable; tests have it fail
	truncate func(string, int64) error // immutable; tests have it fail

	buffer []byte  // owned by the writer
	retry  []*kept // owned by the writer; rooms that could not be written

	unnoted bool // owned by the writer after Restore; DIR/relay does not say yet that the relay runs

	written atomic.Uint64 // bytes
	rooms   atomic.Int64  // with files

	mu   sync.Mutex
	kept map[*hub.Room]*kept // guarded by mu
	busy time.Time           // guarded by mu; since when the writer has been at it, zero if it is not
}

// Open takes the directory for this process. It fails if another relay uses
// it, if it was written in another format, or if it cannot be used.
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
	s := &Store{config: c, lock: lock, write: (*os.File).Write, fsync: unix.Fsync, truncate: os.Truncate, minFile: minFile, kept: make(map[*hub.Room]*kept)}
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

// Run reads the rooms, and writes what changes, each interval, until ctx ends. Only
// Close writes all of it.
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

// read reads the rooms.
func (s *Store) read(ctx context.Context) {
	began := time.Now()
	var all sync.WaitGroup
	for range loaders {
		all.Go(func() { s.loadAll(ctx.Done()) })
	}
	all.Wait()
	if ctx.Err() == nil {
		s.told(began)
	}
}

// once writes what has changed, and tries again what could not be done. The error
// is the first.
func (s *Store) once() error {
	failed := s.noteRun()
	for _, err := range []error{s.reload(), s.pass(s.changed()), s.queue.stuck()} {
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// changed returns the rooms to be written: those that have changed, and those
// that could not be written before.
func (s *Store) changed() []*kept {
	all := append(s.retry, s.queue.toMend()...)
	s.retry = nil
	for _, k := range all {
		k.retried, k.untouched = true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.hub.Changed() {
		k := s.kept[r]
		if k == nil {
			k = &kept{room: r}
			s.kept[r] = k
		}
		if k.untouched = false; !k.retried {
			all = append(all, k)
		}
	}
	return all
}

// pass writes rooms. One that cannot be written does not keep the others from
// it; the error is the first.
func (s *Store) pass(rooms []*kept) (failed error) {
	s.setBusy(time.Now())
	defer s.setBusy(time.Time{})
	for _, k := range rooms {
		k.retried = false
		if err := s.save(k); err != nil {
			s.retry = append(s.retry, k)
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

// tend looks after the cursors, also while the writer waits for the disk. One
// that falls behind as far as no viewer may is given up, so that a sick disk
// does not hold the memory of all that is said; and one that has read everything
// does not hold a segment that its Log has let go.
func (s *Store) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A record that begins anew is behind by all that the room retains.
		config := s.hub.Config()
		limit := uint64(config.LagLimit + config.Retain + 2*broadcast.MaxSegment)
		s.mu.Lock()
		for _, k := range s.kept {
			end := k.room.End()
			if !k.cursor.IsZero() && end.Position()-k.cursor.Position() > limit {
				k.letGo()
			}
			k.cursor.Next()
		}
		stuck := !s.busy.IsZero() && time.Since(s.busy) > stuckAfter
		s.mu.Unlock()
		if stuck {
			s.health.failed(fmt.Errorf("no answer for more than %s", stuckAfter))
		}
	}
}

// Close writes everything, waits until it is on the disk, notes that the stop
// was clean, and lets the directory go. After an error, and when ctx ends before it
// has finished, the next start is an unclean one. Nothing may be accepted into the
// hub's rooms any more, and Run must have returned.
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
		// The disk does not answer. The directory stays taken until the process has
		// ended, since something may be written yet.
		return fmt.Errorf("the disk does not answer: %w", context.Cause(ctx))
	}
}

// giveUpTime is how long a write that is under way is waited for, when there is no
// more time.
const giveUpTime = 100 * time.Millisecond

func (s *Store) finish(ctx context.Context) error {
	if !s.ready {
		return nil
	}
	var all []*kept
	for _, k := range s.changed() {
		if k.gone {
			all = append(all, k)
		}
	}
	for _, k := range s.kept {
		if !k.untouched {
			all = append(all, k)
		}
	}
	for len(all) > 0 { // some at a time, so that it ends when there is no more time
		if ctx.Err() != nil {
			return fmt.Errorf("write the rooms: %w", context.Cause(ctx))
		}
		n := min(len(all), 100)
		if err := s.pass(all[:n]); err != nil {
			return fmt.Errorf("write the rooms: %w", err)
		}
		all = all[n:]
	}
	var changed []*kept
	for _, k := range s.kept {
		if k.untouched {
			continue
		}
		if err := s.seal(k, stop); err != nil {
			return fmt.Errorf("write the rooms: %w", err)
		}
		changed = append(changed, k)
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

// Stats are a store's figures. Those that count are since its start.
type Stats struct {
	Rooms   int64  // on disk
	Written uint64 // bytes
	Errors  uint64 // times that something could not be written
	Failing bool   // the last time nothing could
}

// Stats returns the figures. It may be called from anywhere.
func (s *Store) Stats() Stats {
	t := Stats{Rooms: s.rooms.Load(), Written: s.written.Load()}
	t.Errors, t.Failing = s.health.stats()
	return t
}
