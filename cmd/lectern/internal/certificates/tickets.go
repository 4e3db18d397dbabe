package certificates

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// How long a key for session tickets lives. The newest key makes tickets, the
// older ones only accept them. crypto/tls accepts a ticket for seven days at most.
const (
	ticketKeyLife = 24 * time.Hour
	maxTicketKeys = 3
)

// clockSlack is how far in the future a key's time may be before the file counts as
// bad. With a wrong clock keys would never be replaced.
const clockSlack = time.Hour

// maxTicketFile bounds the file of the keys, in bytes. Three keys take 270.
const maxTicketFile = 4096

// A ticketKey encrypts session tickets.
type ticketKey struct {
	made time.Time
	key  [32]byte
}

// ticketKeys are the keys for session tickets, the newest first. They are owned by
// Open, and then by Run.
type ticketKeys struct {
	path string // empty to keep the keys in memory only
	log  *slog.Logger
	keys []ticketKey
}

// openTicketKeys reads the keys that an earlier relay left. It makes new ones if
// there are none or the file is bad: clients then do a full handshake.
func openTicketKeys(path string, now time.Time, log *slog.Logger) *ticketKeys {
	t := &ticketKeys{path: path, log: log}
	if path != "" {
		keys, err := readTicketKeys(path, now)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("new keys for session tickets: those on disk are not usable", "error", err)
		}
		t.keys = keys
	}
	t.rotate(now)
	return t
}

// apply gives the keys to a configuration, which may be in use.
func (t *ticketKeys) apply(config *tls.Config) {
	keys := make([][32]byte, len(t.keys))
	for i, k := range t.keys {
		keys[i] = k.key
	}
	config.SetSessionTicketKeys(keys)
}

// rotate makes a new key if the newest has had its time, and reports whether it
// did.
func (t *ticketKeys) rotate(now time.Time) bool {
	if len(t.keys) > 0 && now.Sub(t.keys[0].made) < ticketKeyLife {
		return false
	}
	fresh := ticketKey{made: now}
	_, _ = rand.Read(fresh.key[:]) // never fails
	all := append([]ticketKey{fresh}, t.keys...)
	t.keys = nil
	for _, k := range all {
		if len(t.keys) < maxTicketKeys && now.Sub(k.made) < maxTicketKeys*ticketKeyLife {
			t.keys = append(t.keys, k)
		}
	}
	if t.path == "" {
		return true
	}
	if err := t.save(); err != nil {
		t.log.Warn("the keys for session tickets are in memory only", "error", err)
	}
	return true
}

// readTicketKeys reads lines of a time and a key in hexadecimal digits.
func readTicketKeys(path string, now time.Time) ([]ticketKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: other users may read it (mode %04o)", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTicketFile+1))
	if err != nil {
		return nil, err
	}
	keys, err := parseTicketKeys(string(text), now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

func parseTicketKeys(text string, now time.Time) (keys []ticketKey, err error) {
	if len(text) > maxTicketFile {
		return nil, fmt.Errorf("more than %d bytes", maxTicketFile)
	}
	if !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the last line is incomplete")
	}
	for line := range strings.Lines(text) {
		made, digits, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var k ticketKey
		if k.made, err = time.Parse(time.RFC3339, made); err != nil {
			return nil, fmt.Errorf("line %d has no time", len(keys)+1)
		}
		if n, err := hex.Decode(k.key[:], []byte(digits[:min(len(digits), 2*len(k.key))])); err != nil || n != len(k.key) || len(digits) != 2*n {
			return nil, fmt.Errorf("line %d has no key", len(keys)+1)
		}
		if k.made.After(now.Add(clockSlack)) {
			return nil, fmt.Errorf("line %d is from the future: %s", len(keys)+1, made)
		}
		if len(keys) > 0 && k.made.After(keys[len(keys)-1].made) || len(keys) == maxTicketKeys {
			return nil, fmt.Errorf("line %d is one too many, or out of order", len(keys)+1)
		}
		keys = append(keys, k)
	}
	for len(keys) > 0 && now.Sub(keys[len(keys)-1].made) >= maxTicketKeys*ticketKeyLife {
		keys = keys[:len(keys)-1]
	}
	return keys, nil
}

// save replaces the file as a whole: a crash leaves the old one or the new one.
func (t *ticketKeys) save() (err error) {
	folder := filepath.Dir(t.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var text strings.Builder
	for _, k := range t.keys {
		fmt.Fprintf(&text, "%s %x\n", k.made.UTC().Format(time.RFC3339), k.key)
	}
	unfinished := t.path + ".new" // one name, so that crashes do not leave several
	f, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(unfinished, t.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(unfinished))
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
