package certificates

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// said returns a logger and what it logged.
func said() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// TestTicketKeysRotate day by day: the newest three are kept, also over a restart.
func TestTicketKeysRotate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tls", "ticket-keys")
	now := time.Now()
	log, told := said()
	k := openTicketKeys(path, now, log)
	first := k.keys[0]
	if k.rotate(now.Add(ticketKeyLife - time.Second)) {
		t.Error("a key is replaced before its time")
	}
	for day := 1; day <= 5; day++ {
		now = now.Add(ticketKeyLife)
		if !k.rotate(now) || len(k.keys) != min(day+1, maxTicketKeys) {
			t.Fatalf("day %d: %d keys", day, len(k.keys))
		}
		again := openTicketKeys(path, now, log)
		if fmt.Sprintf("%x", keysOf(again)) != fmt.Sprintf("%x", keysOf(k)) {
			t.Fatalf("day %d: a restart has other keys", day)
		}
	}
	for _, kept := range k.keys {
		if kept.key == first.key {
			t.Error("the first key is still there")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v beside the file", left, err)
	}
	later := openTicketKeys(path, now.Add(3*maxTicketKeys*ticketKeyLife), log)
	if len(later.keys) != 1 {
		t.Errorf("after a long rest there are %d keys, want a new one", len(later.keys))
	}
	if told.Len() > 0 {
		t.Error(told)
	}
}

func keysOf(t *ticketKeys) (all [][32]byte) {
	for _, k := range t.keys {
		all = append(all, k.key)
	}
	return all
}

// TestBadTicketFiles are replaced, and the log says so.
func TestBadTicketFiles(t *testing.T) {
	t.Parallel()
	now := time.Now()
	line := func(at time.Time) string {
		return at.UTC().Format(time.RFC3339) + " " + strings.Repeat("ab", 32) + "\n"
	}
	good := line(now)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"empty":           {"", 0o600, "incomplete"},
		"cut":             {good[:40], 0o600, "incomplete"},
		"cut at the end":  {good[:len(good)-1], 0o600, "incomplete"},
		"short key":       {good[:60] + "\n", 0o600, "line 1 has no key"},
		"long key":        {good[:len(good)-1] + "ab\n", 0o600, "line 1 has no key"},
		"not hexadecimal": {strings.Replace(good, "ab", "xy", 1), 0o600, "line 1 has no key"},
		"no time":         {"yesterday " + strings.Repeat("ab", 32) + "\n", 0o600, "line 1 has no time"},
		"garbage":         {"\x00\xff\n", 0o600, "line 1 has no time"},
		"the future":      {line(now.Add(48 * time.Hour)), 0o600, "line 1 is from the future"},
		"wrong order":     {line(now.Add(-2*time.Hour)) + good, 0o600, "line 2 is one too many, or out of order"},
		"too many":        {strings.Repeat(good, maxTicketKeys+1), 0o600, "line 4 is one too many"},
		"endless":         {strings.Repeat(good, 100), 0o600, "more than 4096 bytes"},
		"for all to see":  {good, 0o644, "other users may read it (mode 0644)"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ticket-keys")
			writeFile(t, path, []byte(c.text))
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			log, told := said()
			k := openTicketKeys(path, now, log)
			if len(k.keys) != 1 || strings.HasPrefix(fmt.Sprintf("%x", k.keys[0].key), "abab") {
				t.Errorf("the keys are %x", keysOf(k))
			}
			if !strings.Contains(told.String(), c.want) {
				t.Errorf("the log has %q, want %q", told, c.want)
			}
			told.Reset()
			if again := openTicketKeys(path, now, log); again.keys[0].key != k.keys[0].key || told.Len() > 0 {
				t.Errorf("the file was not replaced: %s", told)
			}
		})
	}
	if k := openTicketKeys("/proc/nothing/ticket-keys", now, slog.New(slog.DiscardHandler)); len(k.keys) != 1 {
		t.Error("there is no key if there is no place for it")
	}
}

// TestSessionsAreResumed after a rotation, after a restart, and not after all keys
// are gone.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	folder := t.TempDir()
	certFile, keyFile := ca.writePair(t, folder, time.Hour, "relay.test")
	path := filepath.Join(folder, "ticket-keys")
	open := func() *Certificates {
		c, err := Open(t.Context(), Config{CertFile: certFile, KeyFile: keyFile, TicketFile: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &tls.Config{
			RootCAs: ca.pool(), ServerName: "relay.test", ClientSessionCache: tls.NewLRUClientSessionCache(1), MinVersion: version, MaxVersion: version,
		}
		resumes := func(c *Certificates, when string, want bool) {
			t.Helper()
			state, serverErr, clientErr := handshake(t, c.TLS(), client)
			if serverErr != nil || clientErr != nil || state.DidResume != want {
				t.Errorf("%s, %s: resumed is %t, want %t: %v, %v", tls.VersionName(version), when, state.DidResume, want, serverErr, clientErr)
			}
		}
		c := open()
		resumes(c, "the first time", false)
		resumes(c, "the second time", true)
		c.tickets.rotate(time.Now().Add(ticketKeyLife + time.Minute))
		c.tickets.apply(c.config)
		resumes(c, "after a rotation", true)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		c = open()
		resumes(c, "after the keys are lost", false)
		resumes(open(), "after a restart", true)
	}
}
