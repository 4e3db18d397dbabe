package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub"
)

// A sickDisk takes so many bytes more, and then what a full one answers.
type sickDisk struct {
	mu   sync.Mutex
	room int // guarded by mu
}

func (d *sickDisk) set(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

func (d *sickDisk) write(f *os.File, b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(d.room, len(b))
	d.room -= n
	if _, err := f.Write(b[:n]); err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

const enough = 1 << 40

// most is how many of the test's broadcasts a room holds at least: not quite all
// that it held before, as a Log lets go of whole segments.
const most = 2000

// TestAFullDisk fills up at each byte of some batches, and is killed then, or
// goes on when there is room again.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	for _, goesOn := range []bool{false, true} {
		for room := 0; room < 700; room += 13 {
			r := start(t, t.TempDir(), hub.Config{Retain: 1024})
			disk := &sickDisk{room: enough}
			r.store.write = disk.write
			r.store.minFile = 256
			code := r.create()
			r.say(code, 1, 3)
			r.write()
			disk.set(room)
			written := 3
			for i := 4; i < 40; i += 3 {
				r.say(code, i, i+2)
				if err := r.store.once(); err == nil && written == i-1 {
					written = i + 2
				} else if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			}
			if written == 39 {
				t.Fatalf("%d bytes were enough", room)
			}
			if goesOn {
				disk.set(enough)
				r.say(code, 40, 40)
				r.write()
				written = 40
			}
			r.kill()
			r = r.again()
			if s := r.has(code, written, written); len(s.Older) != 1 || s.Older[0].Last != uint64(written) {
				t.Fatalf("with %d bytes: it is %+v", room, s.Saved)
			}
			r.kill()
		}
	}
}

// TestAFullDiskOfItsOwn is the same with a real one, where one can be mounted.
func TestAFullDiskOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Logf("a small file system cannot be mounted here: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := start(t, dir, hub.Config{})
	code := r.create()
	r.say(code, 1, 100)
	r.write()
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the file system took too much: %v", err)
	}
	last, failed := 100, false
	for i := 0; i < 100; i++ {
		r.say(code, last+1, last+100)
		last += 100
		failed = r.store.once() != nil || failed
	}
	if !failed {
		t.Fatal("nothing failed")
	}
	if err := r.store.Close(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the stop is called clean: %v", err)
	}
	r = r.again() // it starts and serves all the same
	if err := r.store.once(); !errors.Is(err, syscall.ENOSPC) || !r.store.Stats().Failing {
		t.Errorf("with a full disk: %v, %+v", err, r.store.Stats())
	}
	other := r.create()
	r.say(other, 1, 3)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.write()
	r.kill()
	r = r.again()
	r.has(other, 1, 3)
	s := r.room(code)
	if len(s.Older) == 0 || s.Seq < 100 || s.Seq >= uint64(last) {
		t.Errorf("it is %+v", s.Saved)
	}
	r.has(code, 1, int(s.Seq))
	r.say(code, int(s.Seq)+1, int(s.Seq)+2)
	r.stop()
	r.again().has(code, 1, int(s.Seq)+2)
}

// startOn starts a relay whose store writes through a function. The caller runs
// the store.
func startOn(t *testing.T, dir string, log io.Writer, config hub.Config, write func(*os.File, []byte) (int, error)) *relay {
	t.Helper()
	s, err := Open(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.write = write
	config.LagLimit, config.MaxHostMessage = 1<<16, 1<<10
	r := &relay{t: t, dir: dir, store: s, hub: newHub(config)}
	if err := s.Restore(r.hub); err != nil {
		t.Fatal(err)
	}
	s.loadAll(nil)
	return r
}

// TestASickDiskHoldsNoMemory says more than the lag limit while nothing can be
// written, and then finds everything that the room holds.
func TestASickDiskHoldsNoMemory(t *testing.T) {
	var log syncBuffer
	dir := t.TempDir()
	disk := &sickDisk{room: enough}
	synctest.Test(t, func(t *testing.T) {
		r := startOn(t, dir, &log, hub.Config{}, disk.write)
		s := r.store
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		code := r.create()
		r.say(code, 1, 100)
		time.Sleep(time.Second)
		disk.set(0)
		last := 100
		for range 150 { // seconds
			r.say(code, last+1, last+200)
			last += 200
			time.Sleep(time.Second)
		}
		s.mu.Lock()
		for _, rec := range s.records {
			if end := rec.room.End(); !rec.cursor.IsZero() && end.Position()-rec.cursor.Position() > 1<<19 {
				t.Error("the writer holds on to what it cannot write")
			}
		}
		s.mu.Unlock()
		if stats := s.Stats(); !stats.Failing || stats.Errors < 100 {
			t.Errorf("the figures are %+v", stats)
		}
		if n := strings.Count(log.String(), "cannot be written"); n != 3 {
			t.Errorf("it was told %d times in two minutes and a half", n)
		}
		disk.set(enough)
		time.Sleep(3 * time.Second)
		if stats := s.Stats(); stats.Failing || !strings.Contains(log.String(), "written to disk again") {
			t.Errorf("the figures are %+v", stats)
		}
		cancel()
		running.Wait()
		r.kill()
		r.hub.DeleteRoom(code) // its timer would keep the bubble waiting
		r = start(t, dir, hub.Config{})
		r.has(code, last-most, last)
		r.kill()
		r.hub.DeleteRoom(code)
	})
	if t.Failed() {
		t.Log(log.String())
	}
}

// TestASlowDiskTakesALongRecord begins a record anew that is far longer than the
// lag limit, on a disk that takes longer for it than the cursors are left alone.
func TestASlowDiskTakesALongRecord(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slow := func(f *os.File, b []byte) (int, error) {
			time.Sleep(time.Duration(len(b)) * time.Second / (1 << 20))
			return f.Write(b)
		}
		r := startOn(t, dir, io.Discard, hub.Config{Retain: 4 << 20, RetainMessages: 1 << 20}, slow)
		s, code := r.store, r.create()
		r.say(code, 1, 70_000)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		time.Sleep(30 * time.Second)
		if stats := s.Stats(); stats.Failing || stats.Errors > 0 || stats.Written < 2<<20 {
			t.Errorf("the figures are %+v", stats)
		}
		cancel()
		running.Wait()
		r.kill()
		r.hub.DeleteRoom(code)
	})
}

// TestAStuckDisk has the disk not answer, and looks at what the writer holds
// meanwhile.
func TestAStuckDisk(t *testing.T) {
	var log syncBuffer
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan bool)
		var stuck atomic.Bool
		r := startOn(t, dir, &log, hub.Config{}, func(f *os.File, b []byte) (int, error) {
			if stuck.Load() {
				<-answers
			}
			return f.Write(b)
		})
		s := r.store
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		code := r.create()
		r.say(code, 1, 10)
		time.Sleep(time.Second)
		stuck.Store(true)
		last := 10
		for range 20 { // seconds
			r.say(code, last+1, last+1000)
			last += 1000
			time.Sleep(time.Second)
		}
		s.mu.Lock()
		for _, rec := range s.records {
			if !rec.cursor.IsZero() || !rec.ahead.IsZero() {
				t.Error("the writer holds on to what it cannot write")
			}
		}
		s.mu.Unlock()
		if stats := s.Stats(); !stats.Failing || !strings.Contains(log.String(), "no answer") {
			t.Errorf("the figures are %+v", stats)
		}
		stuck.Store(false)
		close(answers)
		time.Sleep(3 * time.Second)
		if s.Stats().Failing {
			t.Error("the disk is still called failing")
		}
		cancel()
		running.Wait()
		r.kill()
		r.hub.DeleteRoom(code)
		r = start(t, dir, hub.Config{})
		r.has(code, last-most, last)
		r.kill()
		r.hub.DeleteRoom(code)
	})
	if t.Failed() {
		t.Log(log.String())
	}
}

// A syncBuffer may be written to and read at the same time.
type syncBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer // guarded by mu
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
