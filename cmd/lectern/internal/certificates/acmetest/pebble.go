// Package acmetest runs pebble, the CA with which Let's Encrypt tests clients, for
// the tests of certificates.
package acmetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lectern/netpoll/selfsigned"
)

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

// A CA gives certificates to one relay.
type CA struct {
	Directory string // URL, for --acme-ca
	Roots     string // file with the CA of the CA's own certificate, for --acme-ca-root
	HTTPAddr  string // where it looks for the relay, as port 80
	TLSAddr   string // where it looks for the relay, as port 443

	program, config, dns string
	management           string // URL
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

// New prepares a CA whose certificates live for so long. It does not run yet. The
// test is skipped if pebble cannot be had.
func New(t testing.TB, life time.Duration) *CA {
	t.Helper()
	program, err := findPebble()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("SKIPPED, the CA for tests is missing: ", err)
	}
	folder := t.TempDir()
	p := &CA{program: program, config: filepath.Join(folder, "pebble.json"), dns: serveNames(t)}
	own, err := selfsigned.New(24*time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	var key string
	if p.Roots, key, err = own.Write(folder); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 4)
	address := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	p.Directory, p.management = "https://"+address(0)+"/dir", "https://"+address(1)
	p.HTTPAddr, p.TLSAddr = address(2), address(3)
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own.Pool()}, DisableKeepAlives: true}}
	seconds := int(life.Seconds())
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address(0), "managementListenAddress": address(1), "httpPort": ports[2], "tlsPort": ports[3],
		"certificate": p.Roots, "privateKey": key,
		"retryAfter":                map[string]int{"authz": 1, "order": 1},
		"profiles":                  map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": seconds}},
		"certificateValidityPeriod": seconds, // as older versions have it
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// Run runs the CA until the returned function is called, or the test ends.
func (p *CA) Run(t testing.TB) (stop func()) {
	t.Helper()
	var said bytes.Buffer // owned by the command until it has ended
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
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := p.get("/roots/0"); err == nil {
			return stop
		}
		if time.Now().After(end) {
			t.Fatal("pebble does not serve")
		}
	}
}

func (p *CA) get(path string) ([]byte, error) {
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

// Pool returns the root of the certificates that the CA gives. It must run.
func (p *CA) Pool(t testing.TB) *x509.CertPool {
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
