package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lectern/hub"
)

func TestTwoRelaysOnOneDirectory(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	r.write()
	_, err := tryStart(t, r.dir, hub.Config{})
	if err == nil || !strings.Contains(err.Error(), r.dir) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("the second was told %v", err)
	}
	r.say(code, 4, 5)
	r.stop()
	r.again().has(code, 1, 5)
}

func TestDirectoriesThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "in a file": filepath.Join(file, "data"), "in /proc": "/proc/lectern", "rooms is a file": roomsIsAFile(t)} {
		t.Run(name, func(t *testing.T) {
			if _, err := tryStart(t, dir, hub.Config{}); err == nil || !strings.Contains(err.Error(), dir) {
				t.Errorf("a start: %v", err)
			}
			if err := Check(dir); err == nil && (name == "a file" || name == "in a file") {
				t.Error("it passes the check")
			}
		})
	}
}

func roomsIsAFile(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rooms"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestADirectoryThatMayNotBeWritten makes it so by a mount, since root may write
// everywhere else, or by its permissions. A root that may not mount, as in some
// containers, has no such directory.
func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	r.stop()
	if os.Getuid() == 0 {
		if err := syscall.Mount(r.dir, r.dir, "", syscall.MS_BIND, ""); err != nil {
			t.Logf("nothing can be mounted here: %v", err)
			return
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(r.dir, 0); err != nil {
				t.Error(err)
			}
		})
		if err := syscall.Mount("", r.dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.Chmod(r.dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(r.dir, 0o700) })
		if err := os.Chmod(filepath.Join(r.dir, "lock"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tryStart(t, r.dir, hub.Config{}); !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a start: %v", err)
	}
	if err := Check(r.dir); err == nil {
		t.Error("it passes the check")
	}
}

func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	if err := Check(dir); err != nil {
		t.Errorf("a directory that can be made: %v", err)
	}
	r := start(t, dir, hub.Config{})
	if err := Check(dir); err != nil {
		t.Errorf("a directory in use: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has the mode %v", info.Mode())
	}
	r.stop()
}

// TestWhatTheRelayKeepsOfItself flips every bit of it, and changes the version.
func TestWhatTheRelayKeepsOfItself(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	code := r.create()
	r.say(code, 1, 3)
	r.stop()
	path := filepath.Join(r.dir, "relay")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for at := range content {
		for bit := range 8 {
			damaged := bytes.Clone(content)
			damaged[at] ^= 1 << bit
			put(damaged)
			if _, err := readRelay(r.dir); !errors.Is(err, errDamaged) {
				t.Fatalf("bit %d of byte %d: %v", bit, at, err)
			}
		}
		put(content[:at])
		if _, err := readRelay(r.dir); !errors.Is(err, errDamaged) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
	r = r.again() // with it cut
	if s := r.has(code, 1, 3); len(s.Older) != 1 {
		t.Errorf("no new epoch was begun: %+v", s.Saved)
	}
	r.stop()

	was := r.store.relay
	was.Version++
	if err := r.store.writeRelay(was); err != nil {
		t.Fatal(err)
	}
	if _, err := tryStart(t, r.dir, hub.Config{}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("a start on another format: %v", err)
	}
	if err := Check(r.dir); err == nil || !strings.Contains(err.Error(), r.dir) {
		t.Error("another format passes the check")
	}
	was.Version--
	if err := r.store.writeRelay(was); err != nil {
		t.Fatal(err)
	}
	if s := r.again().has(code, 1, 3); len(s.Older) != 1 {
		t.Errorf("it is %+v", s.Saved)
	}
}

// TestNoTokenIsOnDisk looks for what a host was told.
func TestNoTokenIsOnDisk(t *testing.T) {
	r := start(t, t.TempDir(), hub.Config{})
	info, token, err := r.hub.CreateRoom(hub.RoomOptions{Secret: "the room's secret"})
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	content, err := os.ReadFile(roomFile{info.Code, 1}.path(r.dir))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(token)) || bytes.Contains(content, []byte("the room's secret")) {
		t.Error("a token or a secret is on disk")
	}
	s := hub.Saved{}
	if one, _, err := nextEntry(content[len(fileMagic):]); err != nil || json.Unmarshal(one.state, &s) != nil || s.Code != info.Code {
		t.Errorf("read %+v, %v", s, err)
	}
}
