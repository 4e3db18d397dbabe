package e2e

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/certificates/acmetest"
)

// TestARelayGetsItsCertificate from a CA that comes late, renews it, and has it at once
// after a restart without the CA.
func TestARelayGetsItsCertificate(t *testing.T) {
	t.Parallel()
	ca := acmetest.New(t, time.Hour)
	const domain = "relay.lectern.test"
	data := t.TempDir()
	flags := []string{
		"--domain", domain, "--acme-ca", ca.Directory, "--acme-ca-root", ca.Roots, "--addr", ca.TLSAddr, "--redirect-addr", ca.HTTPAddr, "--data", data,
	}
	stop := ca.Run(t)
	b := startBinary(t, flags...)
	const expiry = `lectern_certificate_expiry_seconds{name="` + domain + `"}`
	eventually(t, "the relay has a certificate", func() bool { return b.metric(expiry) > 3000 })
	eventually(t, "handshakes get it", func() bool { return handshakeGets(t, b.addr, domain, ca) == nil })
	if err := handshakeGets(t, b.addr, "other.test", ca); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a handshake for another name: %v", err)
	}
	for path, mode := range map[string]os.FileMode{"tls": 0o700, "tls/ticket-keys": 0o600} {
		if info, err := os.Stat(filepath.Join(data, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	stop()
	b.signal(syscall.SIGTERM)
	if exit := b.wait(20 * time.Second); exit != 0 {
		t.Fatalf("the relay exits with %d", exit)
	}
	again := startBinary(t, flags...)
	if left := again.metric(expiry); left < 3000 {
		t.Errorf("after a restart the certificate has %g s left", left)
	}
	again.signal(syscall.SIGHUP)
	eventually(t, "the configuration is read again", func() bool { return strings.Contains(again.logged(), "was read again") })
	if strings.Contains(again.logged(), `"level":"ERROR"`) {
		t.Error("the log has errors")
	}
}

// handshakeGets connects with TLS and verifies the certificate.
func handshakeGets(t *testing.T, addr, name string, ca *acmetest.CA) error {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: ca.Pool(t)})
	if err != nil {
		return err
	}
	return conn.Close()
}
