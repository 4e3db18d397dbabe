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

// formatVersion is of the whole directory. Another one is refused.
const formatVersion = 1

// relayMagic begins DIR/relay, whatever the version. One record follows.
const relayMagic = "lecternr"

// relayState is what DIR/relay says.
type relayState struct {
	Version int    `json:"version"`
	Key     []byte `json:"key"`   // what viewers' tokens are made with
	Clean   bool   `json:"clean"` // the relay was stopped, and all of every room was on disk

	// Starts counts the unclean starts. Each room has the count of when it was
	// saved: the ids that viewers may have got since follow from the difference.
	// So a start writes this file and no other before anybody is told anything.
	Starts uint64 `json:"starts,omitempty"`
}

// lockDir makes the directory if it is not there, and takes it for this
// process, until the file is closed.
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
	// For whoever is refused. That there is no room for it is told elsewhere.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// readRelay reads DIR/relay. A new directory has none: the zero state. Without a
// key what viewers hold is worth nothing any more, so a damaged one is as good as
// none, and errDamaged says so.
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
	one, rest, err := nextRecord([]byte(body))
	if err != nil || len(rest) > 0 || one.kind != begin || json.Unmarshal(one.state, &s) != nil {
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
	content := beginRecord([]byte(relayMagic), begin)
	content = appendState(content, 0, 0, text)
	content = endRecord(append(content, 1), len(relayMagic))
	path := filepath.Join(s.config.Dir, "relay")
	if err := s.writeSynced(path+".new", content); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFile(s.config.Dir, s.fsync)
}

// writeSynced writes a whole file.
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

// Check reports why a relay could not keep its rooms in the directory, as far as
// that can be seen without changing anything. That it is in use is no fault.
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

// A roomFile is the name of one file of a room's record.
type roomFile struct {
	code   string
	number uint32
}

func (f roomFile) path(dir string) string {
	return filepath.Join(dir, "rooms", fmt.Sprintf("%s-%08d", f.code, f.number))
}

// parseRoomFile reads a name; others are not the store's.
func parseRoomFile(name string) (f roomFile, ok bool) {
	at := strings.LastIndexByte(name, '-') // a code may have a dash, too
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
