package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/certificates/acmetest"
)

// full adds what takes more than a minute.
var full = flag.Bool("full", false, "wait for the library's repetitions too")

// A relay of these tests serves TLS and plain HTTP where the CA looks for it.
type testRelay struct {
	*Certificates
	log  safeLog
	stop func()
}

// serve starts a relay. A challenge is used if there is an address for it.
func serve(t testing.TB, p *acmetest.CA, storage, httpAddr, tlsAddr string, names ...string) *testRelay {
	t.Helper()
	r := new(testRelay)
	c, err := Open(t.Context(), Config{
		Domains: names, CA: p.Directory, CARoots: p.Roots, Storage: storage, HTTPAddr: httpAddr, TLSAddr: tlsAddr,
		Log: r.log.logger(), renewEvery: time.Second, firstRetry: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Certificates = c
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var listeners []net.Listener
	listen := func(address string, serve func(net.Listener)) {
		if address == "" {
			return
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		running.Go(func() { serve(l) })
	}
	listen(httpAddr, func(l net.Listener) {
		server := &http.Server{Handler: c.Redirect(tlsAddr)}
		server.SetKeepAlivesEnabled(false)
		_ = server.Serve(l)
	})
	listen(tlsAddr, func(l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if err := tls.Server(conn, c.TLS()).Handshake(); err == nil {
					_, _ = conn.Read(make([]byte, 1))
				}
			})
		}
	})
	running.Go(func() { c.Run(ctx) })
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			for _, l := range listeners {
				_ = l.Close()
			}
			running.Wait()
			c.Close()
			if t.Failed() {
				text := r.log.String()
				t.Logf("the relay's last words:\n%s", text[max(0, len(text)-4000):])
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

// has reports whether the relay has a certificate that is not the one before.
func (r *testRelay) has(name string, before time.Time) bool {
	return r.acme.expiry(name).After(before)
}

// TestBothChallenges: a CA gives certificates by HTTP-01 alone, by TLS-ALPN-01 alone,
// and for two domains with both.
func TestBothChallenges(t *testing.T) {
	t.Parallel()
	p := acmetest.New(t, time.Hour)
	p.Run(t)
	for name, c := range map[string]struct{ httpAddr, tlsAddr string }{
		"http-01":     {p.HTTPAddr, ""},
		"tls-alpn-01": {"", p.TLSAddr},
		"both":        {p.HTTPAddr, p.TLSAddr},
	} {
		t.Run(name, func(t *testing.T) {
			storage := filepath.Join(t.TempDir(), "acme")
			domains := []string{name + ".lectern.test", "www." + name + ".lectern.test"}
			r := serve(t, p, storage, c.httpAddr, c.tlsAddr, domains...)
			for _, domain := range domains {
				waitFor(t, 60*time.Second, "a certificate for "+domain, func() bool { return r.has(domain, time.Time{}) })
				if _, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.Pool(t), ServerName: domain}); err != nil {
					t.Error(err)
				}
			}
			challenge := name
			if name == "both" {
				challenge = "1" // either
			}
			if log := r.log.String(); !strings.Contains(log, "msg=\"the CA gave a certificate\" name="+domains[0]) || !strings.Contains(log, "served key authentication") || !strings.Contains(log, challenge) {
				t.Error("the log does not tell of the challenge")
			}
			r.stop()
			err := filepath.WalkDir(storage, func(path string, entry os.DirEntry, err error) error {
				info, statErr := os.Stat(path)
				if err != nil || statErr != nil {
					return errors.Join(err, statErr)
				}
				if info.Mode().Perm()&0o077 != 0 && filepath.Base(filepath.Dir(path)) != "locks" { // locks hold times
					t.Errorf("%s has mode %v", path, info.Mode())
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRenewal with certificates that live for a short time, while the relay runs and
// the CA's renewals are served without a restart.
func TestRenewal(t *testing.T) {
	t.Parallel()
	p := acmetest.New(t, 10*time.Second)
	stop := p.Run(t)
	storage := filepath.Join(t.TempDir(), "acme")
	const domain = "renewal.lectern.test"
	r := serve(t, p, storage, p.HTTPAddr, p.TLSAddr, domain)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	for range 2 {
		before := r.acme.expiry(domain)
		waitFor(t, 60*time.Second, "a renewal", func() bool { return r.has(domain, before) })
		state, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.Pool(t), ServerName: domain})
		if err != nil || !state.PeerCertificates[0].NotAfter.After(before) {
			t.Errorf("the old certificate is served: %v", err)
		}
	}
	if n := len(r.acme.find(domain)); n != 1 {
		t.Errorf("%d certificates are in memory", n)
	}
	r.stop()
	stop()
	again := serve(t, p, storage, p.HTTPAddr, p.TLSAddr, domain) // while the CA is down
	if !again.has(domain, time.Time{}) {
		t.Error("a restart without the CA has no certificate")
	}
}

// TestTheCAIsDownAtStart and comes back: the relay serves at once, says what is wrong,
// and has a certificate soon after.
func TestTheCAIsDownAtStart(t *testing.T) {
	t.Parallel()
	p := acmetest.New(t, time.Hour)
	const domain = "late.lectern.test"
	r := serve(t, p, t.TempDir(), p.HTTPAddr, p.TLSAddr, domain)
	waitFor(t, 10*time.Second, "a second attempt", func() bool {
		return strings.Contains(r.log.String(), "attempt=2 ")
	})
	conn, err := net.Dial("tcp", p.TLSAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{ServerName: domain}).Handshake(); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("without a certificate: %v", err)
	}
	p.Run(t)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	if log := r.log.String(); strings.Count(log, "the CA gave no certificate") > 8 || !strings.Contains(log, "there is no certificate yet") {
		t.Error("the log has too many lines, or not the right ones")
	}
}

// TestTheDiskIsFullAtRenewal: the old certificate is served, the log says why there
// is no new one, and with -full that it comes when there is room again.
func TestTheDiskIsFullAtRenewal(t *testing.T) {
	t.Parallel()
	p := acmetest.New(t, 20*time.Second)
	p.Run(t)
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("SKIPPED, no small disk can be had: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	const domain = "full.lectern.test"
	r := serve(t, p, filepath.Join(folder, "acme"), p.HTTPAddr, p.TLSAddr, domain)
	t.Cleanup(r.stop)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk is not full: ", err)
	}
	waitFor(t, 60*time.Second, "a failure", func() bool { return strings.Contains(r.log.String(), "no space left on device") })
	before := r.acme.expiry(domain)
	state, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.Pool(t), ServerName: domain, InsecureSkipVerify: true})
	if err != nil || !state.PeerCertificates[0].NotAfter.Equal(before) {
		t.Errorf("the old certificate is not served: %v", err)
	}
	if !*full {
		return
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	waitFor(t, 150*time.Second, "a renewal", func() bool { return r.has(domain, before) })
}
