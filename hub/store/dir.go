package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// formatVersion is the format of the whole directory. The relay refuses a
// directory with another version.
const formatVersion = 1

// relayMagic begins DIR/relay in every version. One entry follows.
const relayMagic = "lecternr"

// relayState is the content of DIR/relay.
type relayState struct {
	Version int    `json:"version"`
	Key     []byte `json:"key"`   // key of viewers' tokens
	Clean   bool   `json:"clean"` // the last stop was clean: every room was completely on disk

	// Starts counts the unclean starts. A room is saved with the count at that
	// time, and the difference says how many ids viewers may have received
	// since. So a start writes this file, and no other, before any client is
	// served.
	Starts uint64 `json:"starts,omitempty"`
}

// lockDir creates the directory if necessary, and locks it for this process
// until the returned file is closed.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(dir, "rooms"), 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		held := ""
		if pid, _ := io.ReadAll(io.LimitReader(f, 20)); len(pid) > 0 {
			held = ", process " + strings.TrimSpace(string(pid))
		}
		return nil, errors.Join(fmt.Errorf("another relay%s uses the directory", held), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	// Write the pid for the error message of another relay. If that fails, a
	// later write reports the full disk.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// readRelay reads DIR/relay. In a new directory it returns the zero state. It
// returns errDamaged if the file is damaged; without the key, viewers' tokens
// are void, so the caller may as well start with a new key.
func readRelay(dir string) (s relayState, err error) {
	content, err := os.ReadFile(filepath.Join(dir, "relay"))
	if errors.Is(err, fs.ErrNotExist) {
		return relayState{}, nil
	}
	if err != nil {
		return relayState{}, err
	}
	body, ok := strings.CutPrefix(string(content), relayMagic)
	if !ok {
		return relayState{}, errDamaged
	}
	e, rest, err := nextEntry([]byte(body))
	if err != nil || len(rest) > 0 || e.kind != begin || json.Unmarshal(e.state, &s) != nil {
		return relayState{}, errDamaged
	}
	if s.Version != formatVersion {
		return relayState{}, fmt.Errorf("it was written by another version of the relay (format %d, this one has %d)", s.Version, formatVersion)
	}
	if len(s.Key) != keySize {
		return relayState{}, errDamaged
	}
	return s, nil
}

const keySize = 32

func drawKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return key
}

// writeRelay replaces DIR/relay, and returns when it is on the disk.
func (s *Store) writeRelay(as relayState) error {
	text, err := json.Marshal(as)
	if err != nil {
		return err
	}
	content := beginEntry([]byte(relayMagic), begin)
	content = appendState(content, 0, 0, text)
	content = endEntry(append(content, 1), len(relayMagic))
	path := filepath.Join(s.config.Dir, "relay")
	if err := s.writeSynced(path+".new", content); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFile(s.config.Dir, s.fsync)
}

// writeSynced writes a file and waits until it is on the disk.
func (s *Store) writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = s.write(f, content)
	if err == nil {
		err = s.fsync(int(f.Fd()))
	}
	return errors.Join(err, f.Close())
}

// Check returns an error if a relay could not keep its rooms in the directory,
// as far as that can be seen without changing anything. A directory that is in
// use is not an error.
func Check(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(filepath.Clean(dir))
		if parent == dir {
			return err
		}
		return Check(parent)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s may not be written to: %w", dir, err)
	}
	if _, err := readRelay(dir); err != nil && !errors.Is(err, errDamaged) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// A roomFile is the name of a file of a room's record.
type roomFile struct {
	code   string
	number uint32
}

func (f roomFile) path(dir string) string {
	return filepath.Join(dir, "rooms", fmt.Sprintf("%s-%08d", f.code, f.number))
}

// parseRoomFile parses a file name. ok is false if the file is not the store's.
func parseRoomFile(name string) (f roomFile, ok bool) {
	at := strings.LastIndexByte(name, '-') // a code may contain a dash too
	if at <= 0 {
		return roomFile{}, false
	}
	code, digits := name[:at], name[at+1:]
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || fmt.Sprintf("%s-%08d", code, n) != name {
		return roomFile{}, false
	}
	return roomFile{code, uint32(n)}, true
}
