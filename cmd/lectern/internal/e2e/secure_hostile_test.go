package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTheNameThatIsAskedFor may be wrong or missing: the client gets the certificate, and
// can say what is wrong with it.
func TestTheNameThatIsAskedFor(t *testing.T) {
	t.Parallel()
	b := startBinary(t, secure...)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, name := range []string{"other.example", "xn--nxasmq6b.example", strings.Repeat("a.", 120) + "example"} {
			config := onlyVersion(version)
			config.ServerName = name
			_, err := tls.Dial("tcp", b.addr, config)
			if wrong := (x509.HostnameError{}); !errors.As(err, &wrong) {
				t.Errorf("asked for %.30s: %v", name, err)
			}
		}
		config := onlyVersion(version)
		config.ServerName = "127.0.0.1" // no name goes over the wire
		c, err := tls.Dial("tcp", b.addr, config)
		if err != nil {
			t.Errorf("asked for no name: %v", err)
			continue
		}
		_ = c.Close()
	}
}

// TestAnExpiredCertificate on disk keeps a relay from starting, and one that replaces
// another under a running relay is not used.
func TestAnExpiredCertificate(t *testing.T) {
	t.Parallel()
	expired, expiredKey := writePair(t, -time.Hour)
	_, problems, exit := lectern(t, nil, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "", "--tls-cert", expired, "--tls-key", expiredKey)
	if exit == 0 || !strings.Contains(problems, "the certificate expired at ") {
		t.Errorf("a start with an expired certificate: exit code %d and %q", exit, problems)
	}

	good, key := writePair(t, 100*24*time.Hour)
	b := startBinary(t, "--tls-cert", good, "--tls-key", key)
	serial := func() string {
		c, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	before := serial()
	for from, to := range map[string]string{expired: good, expiredKey: key} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.signal(syscall.SIGHUP)
	eventually(t, "the log says why", func() bool { return strings.Contains(b.logged(), "the certificate expired at ") })
	if serial() != before {
		t.Errorf("the relay uses an expired certificate from %s", filepath.Base(good))
	}
}

// TestALargeClientHello is refused by its length, before the rest has come.
func TestALargeClientHello(t *testing.T) {
	t.Parallel()
	b := startBinary(t, secure...)
	protocols := make([]string, 90)
	for i := range protocols {
		protocols[i] = strings.Repeat(string(rune('a'+i%26)), 200)
	}
	if _, err := tls.Dial("tcp", b.addr, &tls.Config{NextProtos: protocols, InsecureSkipVerify: true}); err == nil {
		t.Error("a ClientHello of 18 KB is accepted")
	}
	if n := b.metric(`lectern_refusals_total{cause="tls_hello"}`); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// TestADrainDoesNotWaitForHandshakes that have begun, in any phase. A client with half a
// request is told, and gets close_notify.
func TestADrainDoesNotWaitForHandshakes(t *testing.T) {
	t.Parallel()
	b := startBinary(t, secure...)
	hello := make(chan []byte, 1)
	go func() {
		a, c := net.Pipe()
		go func() { _ = tls.Client(a, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
		buf := make([]byte, 16<<10)
		n, _ := c.Read(buf)
		_, _ = a.Close(), c.Close()
		hello <- buf[:n]
	}()
	whole := <-hello
	for i := range 900 {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = c.Write(whole[:len(whole)*(i%3)/2]) // nothing, a half, all
	}
	established, err := tls.Dial("tcp", b.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer established.Close()
	_, _ = io.WriteString(established, "GET / HTTP/1.1\r\n") // half a request
	eventually(t, "handshakes run", func() bool { return b.metric(`lectern_tls_handshakes{state="running"}`) > 0 })
	told := make(chan string, 1)
	go func() {
		answer, err := io.ReadAll(established)
		_ = established.Close()
		told <- fmt.Sprintf("%.12s %v", answer, err)
	}()
	began := time.Now()
	b.signal(syscall.SIGTERM)
	if exit := b.wait(20 * time.Second); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the drain took %s", took)
	}
	if got, want := <-told, "HTTP/1.1 503 <nil>"; got != want {
		t.Errorf("a client with half a request is told %q, want %q", got, want)
	}
	if !strings.Contains(b.logged(), `"cut_off":0`) {
		t.Errorf("connections had to be cut off:\n%s", b.logged())
	}
}
