package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lectern/netpoll/selfsigned"
)

func addrOf(t *testing.T, text string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// writePair writes a certificate that signs itself, and its key.
func writePair(t testing.TB, name string) (certFile, keyFile string) {
	t.Helper()
	pair, err := selfsigned.New(100*24*time.Hour, name)
	if err == nil {
		certFile, keyFile, err = pair.Write(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// TestCertificateKeeper runs one from options to the end: it has a configuration, it
// redirects, it tells when the certificate ends, and --data keeps the ticket keys.
func TestCertificateKeeper(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writePair(t, "relay.test")
	data := t.TempDir()
	s, err := read(t, "", nil, "--tls-cert", certFile, "--tls-key", keyFile, "--redirect-addr=127.0.0.1:0", "--data", data)
	if err != nil {
		t.Fatal(err)
	}
	k, err := openCertificates(context.Background(), &s.Options, "127.0.0.1:8443", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.run(func(err error) { t.Error(err) })
	if c := k.tlsConfig(); c == nil || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("the configuration is %v", c)
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+k.listener.Addr().String()+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "relay.test"
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if to := response.Header.Get("Location"); response.StatusCode != http.StatusPermanentRedirect || to != "https://relay.test:8443/x" {
		t.Errorf("%d to %s", response.StatusCode, to)
	}
	told := false
	k.expiries(func(name string, notAfter time.Time) { told = name == "relay.test" && time.Until(notAfter) > 0 })
	if !told {
		t.Error("the end of the certificate is not told")
	}
	k.reload()
	if info, err := os.Stat(filepath.Join(data, "tls", "ticket-keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ticket keys: %v, %v", info, err)
	}
	if err := k.stop(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificates(context.Background(), &s.Options, "127.0.0.1:8443", slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "--tls-cert: open "+keyFile) {
		t.Errorf("without the key: %v", err)
	}
}
