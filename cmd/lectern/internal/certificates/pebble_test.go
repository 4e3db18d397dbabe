package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// full adds what takes more than a minute.
var full = flag.Bool("full", false, "wait for the library's repetitions too")

// pebbleModule is the CA of these tests: Let's Encrypt's own for tests.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// findPebble returns the program, and builds it if the system has none. It says
// why a test is skipped.
var findPebble = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("pebble"); err == nil {
		return path, nil
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder = filepath.Join(folder, "lectern-tests")
	build := exec.Command("go", "install", pebbleModule)
	build.Dir = os.TempDir() // not this module's dependency
	build.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("there is no pebble (Debian: apt-get install pebble), and go install %s says %s", pebbleModule, bytes.TrimSpace(said))
	}
	return filepath.Join(folder, "pebble"), nil
})

// A pebble is a CA for one relay.
type pebble struct {
	program, config, dns string
	directory            string // URL
	management           string // URL
	roots                string // file with the CA of the CA's own certificate
	httpAddr, tlsAddr    string // where it looks for the relay
	client               *http.Client
}

// freePorts returns ports of 127.0.0.1 that were free a moment ago.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// newPebble prepares a CA whose certificates live for so long. It does not run yet.
func newPebble(t testing.TB, life time.Duration) *pebble {
	t.Helper()
	program, err := findPebble()
	if err != nil {
		t.Skip("SKIPPED, the CA for tests is missing: ", err)
	}
	folder := t.TempDir()
	own := newAuthority(t, "the CA's CA", nil)
	key := newKey(t)
	p := &pebble{program: program, config: filepath.Join(folder, "pebble.json"), roots: filepath.Join(folder, "roots.pem"), dns: serveNames(t)}
	writeFile(t, p.roots, certPEM(own.cert))
	writeFile(t, filepath.Join(folder, "cert.pem"), certPEM(own.leaf(t, key, time.Hour, "localhost")))
	writeFile(t, filepath.Join(folder, "key.pem"), keyPEM(t, key))
	ports := freePorts(t, 4)
	address := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	p.directory, p.management = "https://"+address(0)+"/dir", "https://"+address(1)
	p.httpAddr, p.tlsAddr = address(2), address(3)
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own.pool()}, DisableKeepAlives: true}}
	seconds := int(life.Seconds())
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address(0), "managementListenAddress": address(1), "httpPort": ports[2], "tlsPort": ports[3],
		"certificate": filepath.Join(folder, "cert.pem"), "privateKey": filepath.Join(folder, "key.pem"),
		"retryAfter":                map[string]int{"authz": 1, "order": 1},
		"profiles":                  map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": seconds}},
		"certificateValidityPeriod": seconds, // as older versions have it
	}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, p.config, config)
	return p
}

// run runs the CA until the returned function is called.
func (p *pebble) run(t testing.TB) (stop func()) {
	t.Helper()
	var said safeLog
	cmd := exec.Command(p.program, "-config", p.config, "-dnsserver", p.dns)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if text := said.String(); t.Failed() {
				t.Logf("pebble's last words:\n%s", text[max(0, len(text)-2000):])
			}
		})
	}
	t.Cleanup(stop)
	waitFor(t, 20*time.Second, "pebble serves", func() bool {
		_, err := p.get("/roots/0")
		return err == nil
	})
	return stop
}

func (p *pebble) get(path string) ([]byte, error) {
	response, err := p.client.Get(p.management + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// pool returns the root of the certificates that the CA gives.
func (p *pebble) pool(t testing.TB) *x509.CertPool {
	t.Helper()
	text, err := p.get("/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%q is no certificate", text)
	}
	return pool
}

// serveNames is a DNS server, over TCP as pebble asks, for which every name is this
// machine.
func serveNames(t testing.TB) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		if q := question.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// A relay of these tests serves TLS and plain HTTP where the CA looks for it.
type testRelay struct {
	*Certificates
	log  safeLog
	stop func()
}

// serve starts a relay. A challenge is used if there is an address for it.
func (p *pebble) serve(t testing.TB, storage, httpAddr, tlsAddr string, names ...string) *testRelay {
	t.Helper()
	r := new(testRelay)
	c, err := Open(t.Context(), Config{
		Domains: names, CA: p.directory, CARoots: p.roots, Storage: storage, HTTPAddr: httpAddr, TLSAddr: tlsAddr,
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
	p := newPebble(t, time.Hour)
	p.run(t)
	for name, c := range map[string]struct{ httpAddr, tlsAddr string }{
		"http-01":     {p.httpAddr, ""},
		"tls-alpn-01": {"", p.tlsAddr},
		"both":        {p.httpAddr, p.tlsAddr},
	} {
		t.Run(name, func(t *testing.T) {
			storage := filepath.Join(t.TempDir(), "acme")
			domains := []string{name + ".lectern.test", "www." + name + ".lectern.test"}
			r := p.serve(t, storage, c.httpAddr, c.tlsAddr, domains...)
			for _, domain := range domains {
				waitFor(t, 60*time.Second, "a certificate for "+domain, func() bool { return r.has(domain, time.Time{}) })
				if _, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.pool(t), ServerName: domain}); err != nil {
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
	p := newPebble(t, 20*time.Second)
	stop := p.run(t)
	storage := filepath.Join(t.TempDir(), "acme")
	const domain = "renewal.lectern.test"
	r := p.serve(t, storage, p.httpAddr, p.tlsAddr, domain)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	for range 2 {
		before := r.acme.expiry(domain)
		waitFor(t, 60*time.Second, "a renewal", func() bool { return r.has(domain, before) })
		state, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.pool(t), ServerName: domain})
		if err != nil || !state.PeerCertificates[0].NotAfter.After(before) {
			t.Errorf("the old certificate is served: %v", err)
		}
	}
	if n := len(r.acme.find(domain)); n != 1 {
		t.Errorf("%d certificates are in memory", n)
	}
	r.stop()
	stop()
	again := p.serve(t, storage, p.httpAddr, p.tlsAddr, domain) // while the CA is down
	if !again.has(domain, time.Time{}) {
		t.Error("a restart without the CA has no certificate")
	}
}

// TestTheCAIsDownAtStart and comes back: the relay serves at once, says what is wrong,
// and has a certificate soon after.
func TestTheCAIsDownAtStart(t *testing.T) {
	t.Parallel()
	p := newPebble(t, time.Hour)
	const domain = "late.lectern.test"
	r := p.serve(t, t.TempDir(), p.httpAddr, p.tlsAddr, domain)
	waitFor(t, 10*time.Second, "a second attempt", func() bool {
		return strings.Contains(r.log.String(), "attempt=2 ")
	})
	conn, err := net.Dial("tcp", p.tlsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{ServerName: domain}).Handshake(); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("without a certificate: %v", err)
	}
	p.run(t)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	if log := r.log.String(); strings.Count(log, "the CA gave no certificate") > 8 || !strings.Contains(log, "there is no certificate yet") {
		t.Error("the log has too many lines, or not the right ones")
	}
}

// TestTheDiskIsFullAtRenewal: the old certificate is served, the log says why there
// is no new one, and with -full that it comes when there is room again.
func TestTheDiskIsFullAtRenewal(t *testing.T) {
	t.Parallel()
	p := newPebble(t, 20*time.Second)
	p.run(t)
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
	r := p.serve(t, filepath.Join(folder, "acme"), p.httpAddr, p.tlsAddr, domain)
	t.Cleanup(r.stop)
	waitFor(t, 60*time.Second, "a certificate", func() bool { return r.has(domain, time.Time{}) })
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("the disk is not full: ", err)
	}
	waitFor(t, 60*time.Second, "a failure", func() bool { return strings.Contains(r.log.String(), "no space left on device") })
	before := r.acme.expiry(domain)
	state, _, err := handshake(t, r.TLS(), &tls.Config{RootCAs: p.pool(t), ServerName: domain, InsecureSkipVerify: true})
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
