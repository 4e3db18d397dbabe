package certificates

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// nobody is a CA that cannot be reached.
const nobody = "https://127.0.0.1:1/directory"

// storePair puts a certificate where the library keeps those of nobody.
func (a *testAuthority) storePair(t testing.TB, storage, name string, life time.Duration) {
	t.Helper()
	issuer := certmagic.NewACMEIssuer(&certmagic.Config{}, certmagic.ACMEIssuer{CA: nobody}).IssuerKey()
	key := newKey(t)
	for path, text := range map[string][]byte{
		certmagic.StorageKeys.SiteCert(issuer, name):       certPEM(a.leaf(t, key, life, name)),
		certmagic.StorageKeys.SitePrivateKey(issuer, name): keyPEM(t, key),
		certmagic.StorageKeys.SiteMeta(issuer, name):       []byte(`{"sans":["` + name + `"]}`),
	} {
		writeFile(t, filepath.Join(storage, path), text)
	}
}

// A safeLog can be read while it is written to.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *safeLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// waitFor waits until the condition holds, for at most limit.
func waitFor(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// TestCertificatesOnDiskNeedNoNetwork: they are served at once, also an expired one,
// beside domains that have none yet or a damaged one.
func TestCertificatesOnDiskNeedNoNetwork(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	storage := filepath.Join(t.TempDir(), "acme")
	ca.storePair(t, storage, "good.test", 24*time.Hour)
	ca.storePair(t, storage, "expired.test", -time.Hour)
	ca.storePair(t, storage, "damaged.test", 24*time.Hour)
	damaged, err := filepath.Glob(filepath.Join(storage, "certificates", "*", "damaged.test", "*.crt"))
	if err != nil || len(damaged) != 1 {
		t.Fatalf("%q, %v", damaged, err)
	}
	writeFile(t, damaged[0], []byte("-----BEGIN"))
	if err := os.Chmod(storage, 0o755); err != nil {
		t.Fatal(err)
	}
	var log safeLog
	began := time.Now()
	c, err := Open(t.Context(), Config{
		Domains: []string{"good.test", "expired.test", "damaged.test", "missing.test"}, CA: nobody, Storage: storage, TLSAddr: "127.0.0.1:443", Log: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the start took %s", took)
	}
	if info, err := os.Stat(storage); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
	for name, want := range map[string]string{
		"good.test": "", "": "", "GOOD.test": "",
		"expired.test": "certificate has expired",
		"missing.test": "remote error: tls: internal error",
		"damaged.test": "remote error: tls: internal error",
		"other.test":   "remote error: tls: unrecognized name",
	} {
		client := &tls.Config{RootCAs: ca.pool(), ServerName: name, NextProtos: []string{"http/1.1"}}
		if name == "" {
			client.ServerName = "127.0.0.1"
		}
		_, serverErr, err := handshake(t, c.TLS(), client)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %v, want %q", name, err, serverErr, want)
		}
	}
	_, _, err = handshake(t, c.TLS(), &tls.Config{ServerName: "good.test", NextProtos: []string{acmeTLSProtocol}, InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a challenge that nobody began: %v", err)
	}
	expiries := make(map[string]time.Time)
	c.Expiries(func(name string, notAfter time.Time) { expiries[name] = notAfter })
	if len(expiries) != 4 || !expiries["missing.test"].IsZero() || !expiries["damaged.test"].IsZero() || time.Until(expiries["expired.test"]) > 0 || time.Until(expiries["good.test"]) < 23*time.Hour {
		t.Errorf("the expiries are %v", expiries)
	}
	waitFor(t, 10*time.Second, "the CA is asked", func() bool {
		return strings.Contains(log.String(), "the CA gave no certificate")
	})
	for _, want := range []string{
		`level=ERROR msg="the certificate on disk has expired" name=expired.test`,
		`level=ERROR msg="the certificate on disk is damaged`,
		`level=WARN msg="handshakes failed: there is no certificate yet" name=`,
		`msg="handshakes for names that are not the relay's" count=1 last_name=other.test`,
		"connection refused",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
	if err := c.Reload(); err != nil {
		t.Error(err)
	}
}

// TestFailuresAreToldNowAndThen although each of 1,000 handshakes fails.
func TestFailuresAreToldNowAndThen(t *testing.T) {
	t.Parallel()
	var r refusals
	now := time.Now()
	told, sum := 0, 0
	for i := range 1000 {
		if n := r.add(now.Add(time.Duration(i) * 50 * time.Millisecond)); n > 0 {
			told++
			sum += n
		}
	}
	if told != 5 || sum < 700 || sum > 1000 {
		t.Errorf("%d lines tell of %d handshakes", told, sum)
	}
}

// TestStrangersCannotMakeTheDiskWork: requests and handshakes for challenges that do
// not exist are answered from memory.
func TestStrangersCannotMakeTheDiskWork(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	c, err := Open(t.Context(), Config{Domains: []string{"relay.test"}, CA: nobody, Storage: storage, HTTPAddr: "127.0.0.1:80", TLSAddr: "127.0.0.1:443"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.RemoveAll(storage); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "abc", "../../x", "a/b", strings.Repeat("x", 5000)} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.URL.Path = "relay.test", challengePath+path
		w := httptest.NewRecorder()
		c.Redirect(":443").ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%q is answered %d", path, w.Code)
		}
	}
	if _, err := os.Stat(storage); err == nil {
		t.Error("the folder is there again")
	}
}

// TestBadStorage is refused with its path.
func TestBadStorage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, []byte("not PEM"))
	for name, c := range map[string]Config{
		"a file":    {Storage: file},
		"read-only": {Storage: "/proc/lectern"},
		"roots":     {Storage: t.TempDir(), CARoots: file},
		"no roots":  {Storage: t.TempDir(), CARoots: "/nonexistent"},
	} {
		c.Domains, c.CA = []string{"relay.test"}, nobody
		path := c.CARoots
		if path == "" {
			path = c.Storage
		}
		if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error with %s", name, err, path)
		}
	}
}

func goroutines() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

// TestNothingRunsWithoutDomains counts what certmagic would start.
func TestNothingRunsWithoutDomains(t *testing.T) {
	ca := newAuthority(t, "ca", nil)
	certFile, keyFile := ca.writePair(t, t.TempDir(), 100*24*time.Hour, "relay.test")
	before := goroutines()
	c, err := Open(t.Context(), Config{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(goroutines(), "certmagic") - strings.Count(before, "certmagic"); n != 0 {
		t.Errorf("%d goroutines of the library run", n)
	}
	c.Close()
}
