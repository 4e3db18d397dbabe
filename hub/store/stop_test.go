package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lectern/hub"
)

// TestAStopAfterAnUncleanStart writes nothing of a room that nobody has come to,
// and what was told of another is so after the next start.
func TestAStopAfterAnUncleanStart(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	quiet, loud := r.create(), r.create()
	r.write()
	r.kill()
	r = r.again()
	r.say(loud, 1, 1)
	before := r.room(loud)
	r.stop()
	var files []string
	for _, name := range r.files() {
		files = append(files, name[:strings.LastIndexByte(name, '-')])
	}
	if want := []string{quiet, loud}; !slices.Equal(slices.Sorted(slices.Values(files)), slices.Sorted(slices.Values(want))) {
		t.Errorf("there are the files %q", r.files())
	}
	for range 2 {
		r = r.again()
		if s := r.has(loud, 1, 1); s.Epoch != before.Epoch || s.LastID != before.LastID {
			t.Errorf("it was %+v, is %+v", before.Saved, s.Saved)
		}
		if s := r.room(quiet); len(s.Older) != 1 || s.LastID != 65_536 {
			t.Errorf("it is %+v", s.Saved)
		}
		r.stop()
	}
	r = r.again()
	r.say(quiet, 1, 1)
	r.kill() // unwritten
	if s := r.again().room(quiet); s.LastID != 2*65_536 || len(s.Older) != 2 {
		t.Errorf("after another unclean start it is %+v", s.Saved)
	}
}

// TestAStopInTime has files that take for ever to be synced: the stop ends when
// it must, the next start is unclean, and nobody else takes the directory before.
func TestAStopInTime(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	blocked := make(chan struct{})
	var calls atomic.Int64
	r.store.fsync = func(int) error {
		calls.Add(1)
		<-blocked
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r.hub.Drain()
	if err := r.store.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || calls.Load() == 0 {
		t.Fatalf("it was answered %v after %d calls", err, calls.Load())
	}
	if _, err := Open(Config{Dir: r.dir}); err == nil || !strings.Contains(err.Error(), "another relay") {
		t.Errorf("a start meanwhile: %v", err)
	}
	r.kill() // the process ends
	if s := r.again().has(code, 1, 3); len(s.Older) != 1 {
		t.Errorf("the stop is called clean: %+v", s.Saved)
	}
	close(blocked)
}

// TestAStopSyncsItsOwn counts what is synced: the room's files, both directories
// and the relay's file; and of a room that nobody has come to nothing.
func TestAStopSyncsItsOwn(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	r.create()
	r.stop()
	r = r.again()
	code := r.create()
	r.say(code, 1, 3)
	r.write()
	var mu sync.Mutex
	var synced []string
	r.store.fsync = func(fd int) error {
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		name, err := filepath.Rel(r.dir, path)
		synced = append(synced, name)
		return err
	}
	r.stop()
	if want := []string{"rooms/" + code + "-00000001", "rooms", "relay.new", "."}; !slices.Equal(synced, want) {
		t.Errorf("it synced %q, want %q", synced, want)
	}
}
