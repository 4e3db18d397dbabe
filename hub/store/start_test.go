package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
	next := &relay{t: r.t, dir: r.dir, hub: newHub(*r.hub.Config()), store: s}
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
