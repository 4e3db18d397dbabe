package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub"
)

// open opens a store on the relay's directory, for a new hub, without reading
// anything.
func (r *relay) open() *relay {
	r.t.Helper()
	s, err := Open(Config{Dir: r.dir})
	if err != nil {
		r.t.Fatal(err)
	}
	next := &relay{t: r.t, dir: r.dir, hub: hub.New(*r.hub.Config(), []hub.Worker{idleWorker{}}), store: s}
	r.t.Cleanup(next.kill)
	return next
}

// TestAStartThatCannotBeNoted has the disk take nothing at a start, after a clean
// stop. The start is tried again; one that comes after a kill takes the last stop
// for a clean one, rightly or not, and neither numbers nor ids may be given twice.
func TestAStartThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fsync    bool // which call fails
		recovers bool // the disk works again before the kill
	}{
		"no room, for ever":    {},
		"no room, for a while": {recovers: true},
		"no sync, for ever":    {fsync: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, t.TempDir(), hub.Config{})
			code := r.create()
			r.say(code, 1, 5)
			r.stop()
			first := r.open()
			was := first.store.relay.Clean
			disk := &sickDisk{}
			if c.fsync {
				disk.set(enough)
				first.store.fsync = func(int) error { return syscall.EIO }
			}
			first.store.write = disk.write
			if err := first.store.Restore(first.hub); err != nil || !was {
				t.Fatalf("the start: %v; the stop was clean: %t", err, was)
			}
			first.store.loadAll(nil)
			before := first.has(code, 1, 5)
			if len(before.Older) != 1 || !first.store.Stats().Failing {
				t.Errorf("no new epoch was begun, or the disk is not called failing: %+v", before.Saved)
			}
			if before.LastID < maxStarts*65_536 {
				t.Errorf("the next id is %d", before.LastID+1)
			}
			if c.recovers {
				disk.set(enough)
				first.write()
				if first.say(code, 6, 6); first.store.once() != nil {
					t.Error("the disk does not work again")
				}
			}
			first.kill()

			second := first.again()
			last := 5
			if c.recovers {
				last = 6
			}
			after := second.has(code, 1, last)
			if after.Epoch == before.Epoch || (len(after.Older) == 0) == c.recovers {
				t.Errorf("after a start that could be noted: %t, it is %+v", c.recovers, after.Saved)
			}
			if distance := int64(after.LastID) - int64(before.LastID); distance < 65_536 && distance > -1<<20 {
				t.Errorf("ids begin after %d, and after %d one start later", before.LastID, after.LastID)
			}
		})
	}
}

// TestUncleanStartsAreCounted kills relays before they have written anything of a
// room: what they may have told is not told again.
func TestUncleanStartsAreCounted(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.write()
	lost := uint32(0)
	for i := range uint32(5) {
		r.kill()
		r = r.again()
		s := r.room(code)
		if s.LastID != (i+1)*65_536 || len(s.Older) != int(i+1) {
			t.Fatalf("after %d unclean starts it is %+v", i+1, s.Saved)
		}
		lost = s.LastID
	}
	r.stop()
	for range 2 {
		r = r.again()
		if s := r.room(code); s.LastID != lost || len(s.Older) != 5 {
			t.Errorf("after a clean stop it is %+v", s.Saved)
		}
		r.stop()
	}
}

// TestAStartInADirectoryThatMayNotBeWritten is refused, however healthy the disk.
func TestAStartInADirectoryThatMayNotBeWritten(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	r.stop()
	for _, why := range []error{syscall.EACCES, syscall.EPERM, syscall.EROFS} {
		next := r.open()
		next.store.write = func(*os.File, []byte) (int, error) { return 0, &os.PathError{Op: "write", Err: why} }
		if err := next.store.Restore(next.hub); !errors.Is(err, why) || !strings.Contains(err.Error(), r.dir) {
			t.Errorf("%v: the start was answered %v", why, err)
		}
		next.kill()
	}
}

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
		files = append(files, name[:6])
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

// TestADamagedRelayFileForgetsTheCount has the power fail while a room is spoken
// into: nothing of that is on the disk, and DIR/relay is damaged. The room looks as
// after the clean stop before that, and still does after another one.
func TestADamagedRelayFileForgetsTheCount(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	r.stop()
	r = r.again()
	r.say(code, 4, 5)
	epoch := r.room(code).Epoch
	r.kill()
	if err := os.Truncate(filepath.Join(r.dir, "relay"), 10); err != nil {
		t.Fatal(err)
	}
	r = r.again()
	r.stop()
	r = r.again()
	if s := r.has(code, 1, 3); s.Epoch == epoch || s.LastID < maxStarts*65_536 {
		t.Errorf("what was lost is not noticed: %+v", s.Saved)
	}
}

// TestARoomThatCannotBeRead does not keep the others from being there, and is
// there when it can be read.
func TestARoomThatCannotBeRead(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	good, bad := r.create(), r.create()
	r.say(good, 1, 3)
	r.say(bad, 1, 3)
	r.stop()
	path := roomFile{bad, 1}.path(r.dir)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, path); err != nil { // ELOOP for everybody, root too
		t.Fatal(err)
	}
	r = r.again()
	r.has(good, 1, 3)
	for range 3 {
		if err := r.store.once(); !errors.Is(err, syscall.ELOOP) || r.store.Stats().Rooms != 2 {
			t.Fatalf("with a room that cannot be read: %v", err)
		}
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	r.write()
	if s := r.has(bad, 1, 3); len(s.Older) != 0 {
		t.Errorf("it is %+v", s.Saved)
	}
	// What is never read in a run is as it was, for the run after it.
	r.stop()
	r = r.open()
	if err := r.store.Restore(r.hub); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if s := r.again().has(bad, 1, 3); len(s.Older) != 0 {
		t.Errorf("after a run that did not read it, it is %+v", s.Saved)
	}
}

// TestDamageThatCannotBeMended has the record begin anew when the disk takes it.
func TestDamageThatCannotBeMended(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	r.write()
	r.say(code, 4, 6)
	r.write()
	r.kill()
	path := roomFile{code, 1}.path(r.dir)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-3] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	r = r.open()
	r.store.truncate = func(string, int64) error { return syscall.EIO }
	if err := r.store.Restore(r.hub); err != nil {
		t.Fatal(err)
	}
	r.store.loadAll(nil)
	r.has(code, 1, 3)
	disk := &sickDisk{}
	r.store.write = disk.write
	if err := r.store.once(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("with a full disk: %v", err)
	}
	disk.set(enough)
	r.write()
	if files := r.files(); len(files) != 1 || files[0] != filepath.Base(roomFile{code, 2}.path("")) {
		t.Errorf("there are %q", files)
	}
	epoch := r.room(code).Epoch
	r.stop()
	if s := r.again().has(code, 1, 3); s.Epoch != epoch {
		t.Errorf("the damage is found again after a clean stop: %+v", s.Saved)
	}
}

// TestAReadThatDoesNotEnd is a failure of the disk as long as it lasts.
func TestAReadThatDoesNotEnd(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	synctest.Test(t, func(t *testing.T) {
		d := &diskRoom{code: "A1B2C3"}
		r.store.queue.begin([]*diskRoom{d})
		if r.store.queue.next() != d {
			t.Fatal("there is no room to be read")
		}
		time.Sleep(stuckAfter)
		if err := r.store.once(); err != nil {
			t.Errorf("after %s: %v", stuckAfter, err)
		}
		time.Sleep(time.Second)
		if err := r.store.once(); err == nil || !strings.Contains(err.Error(), d.code) {
			t.Errorf("a read that takes longer: %v", err)
		}
		r.store.queue.read(d)
		if err := r.store.once(); err != nil {
			t.Errorf("when it has ended: %v", err)
		}
	})
}

// TestTotalsHoldAtARestore has rooms of very different sizes come back, all of
// which have more than there may be.
func TestTotalsHoldAtARestore(t *testing.T) {
	const total, rooms = 1 << 20, 40
	r := start(t, t.TempDir(), hub.Config{})
	var codes []string
	for i := range rooms {
		code := r.create()
		codes = append(codes, code)
		r.say(code, 1, 10)
		if i%2 == 0 {
			r.say(code, 11, 2500)
		}
	}
	r.write()
	if held := r.hub.Stats().LogBytes; held < 2*total {
		t.Fatalf("all rooms together have only %d bytes", held)
	}
	r.kill()
	config := *r.hub.Config()
	config.RetainTotal = total
	r = start(t, r.dir, config)
	held := r.hub.Stats().LogBytes
	if held > total || held < total/2 {
		t.Errorf("they hold %d bytes of %d", held, total)
	}
	for i, code := range codes {
		if i%2 == 0 {
			if s := r.has(code, 2450, 2500); s.Oldest.Seq() == 0 {
				t.Error("a large room has everything")
			}
		} else {
			r.has(code, 1, 10) // a small one is not cut for the large ones
		}
	}
}

// TestWaterline compares what rooms get with what there is.
func TestWaterline(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int64
		want  int64
	}{
		"nothing":           {nil, 0},
		"all fit":           {[]int64{100, 200, 400}, 0},
		"one is too large":  {[]int64{100, 100, 1000}, 500},
		"two are":           {[]int64{100, 500, 500}, 300},
		"none has anything": {[]int64{1 << 40, 1 << 40}, 350},
		"more than most":    {[]int64{300, 1 << 40}, 0},
	} {
		var rooms []*diskRoom
		for _, size := range c.sizes {
			rooms = append(rooms, &diskRoom{size: size})
		}
		most := int64(1 << 50)
		if name == "more than most" {
			most = 400
		}
		if got := waterline(rooms, most, 800); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestAWantedRoomComesFirst asks for the last of many.
func TestAWantedRoomComesFirst(t *testing.T) {
	var q queue
	var rooms []*diskRoom
	for i := range 100 {
		rooms = append(rooms, &diskRoom{code: fmt.Sprint(i)})
	}
	q.begin(rooms)
	var got []string
	for i := range 101 {
		if i == 3 {
			q.want("77")
			q.want("1") // it has been read
			q.want("none")
		}
		if r := q.next(); r != nil {
			got = append(got, r.code)
		}
	}
	if len(got) != 100 || got[3] != "77" || slices.Compact(slices.Sorted(slices.Values(got)))[0] != "0" {
		t.Errorf("they came as %q", got)
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

// TestAStoreReadsWhileItRuns has Run read the rooms, tell so, and stop in the
// middle when it must.
func TestAStoreReadsWhileItRuns(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	for range 50 {
		r.say(r.create(), 1, 20)
	}
	r.stop()
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		s, err := Open(Config{Dir: r.dir, Log: slog.New(slog.NewTextHandler(io.MultiWriter(&log), nil))})
		if err != nil {
			t.Fatal(err)
		}
		h := hub.New(hub.Config{}, []hub.Worker{idleWorker{}})
		if err := s.Restore(h); err != nil {
			t.Fatal(err)
		}
		if n := h.Stats().Rooms; n != 50 {
			t.Errorf("before they are read there are %d rooms", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		page, next := h.Rooms("", 100)
		if len(page) != 50 || next != "" {
			t.Errorf("a list of %d rooms, then %q", len(page), next)
		}
		time.Sleep(time.Second)
		if !strings.Contains(log.String(), "rooms restored") || !strings.Contains(log.String(), "rooms=50") {
			t.Errorf("the log is %s", log.String())
		}
		for _, room := range page {
			h.DeleteRoom(room.Code) // their timers would keep the bubble waiting
		}
		cancel()
		running.Wait()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCodesWithADash reads names of files.
func TestCodesWithADash(t *testing.T) {
	for name, want := range map[string]roomFile{
		"A1B2C3-00000001":      {"A1B2C3", 1},
		"K7QM-2XHD-00000012":   {"K7QM-2XHD", 12},
		"K7QM-2XHD-4294967295": {"K7QM-2XHD", 4294967295},
		"K7QM-2XHD":            {},
		"-00000001":            {},
		"K7QM-2XHD-1":          {},
		"K7QM-2XHD-00000000":   {},
		"relay":                {},
	} {
		got, ok := parseRoomFile(name)
		if got != want || ok != (want != roomFile{}) {
			t.Errorf("%s is %+v, %t", name, got, ok)
		}
		if ok && filepath.Base(got.path("")) != name {
			t.Errorf("%s is written %s", name, got.path(""))
		}
	}
}
