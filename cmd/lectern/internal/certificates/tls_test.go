package certificates

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOnlyTheIntermediateSet tries what Mozilla's recommendation has, and what is
// weaker.
func TestOnlyTheIntermediateSet(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	ecFolder, rsaFolder := t.TempDir(), t.TempDir()
	ca.writePair(t, ecFolder, time.Hour, "relay.test")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(rsaFolder, "cert.pem"), certPEM(ca.leaf(t, key, time.Hour, "relay.test")))
	writeFile(t, filepath.Join(rsaFolder, "key.pem"), keyPEM(t, key))

	good := map[uint16]bool{}
	for _, id := range newTLSConfig(nil).CipherSuites {
		good[id] = true
	}
	if len(good) != 6 {
		t.Errorf("%d cipher suites", len(good))
	}
	for _, folder := range []string{ecFolder, rsaFolder} {
		c, err := Open(t.Context(), Config{CertFile: filepath.Join(folder, "cert.pem"), KeyFile: filepath.Join(folder, "key.pem")})
		if err != nil {
			t.Fatal(err)
		}
		try := func(name string, client *tls.Config, want bool) {
			t.Helper()
			client.RootCAs, client.ServerName = ca.pool(), "relay.test"
			state, _, err := handshake(t, c.TLS(), client)
			if (err == nil) != want {
				t.Errorf("%s, %s: %v, want success %t", filepath.Base(folder), name, err, want)
			}
			if err == nil && client.NextProtos != nil && state.NegotiatedProtocol != "http/1.1" {
				t.Errorf("%s: the protocol is %q", name, state.NegotiatedProtocol)
			}
		}
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			try(tls.VersionName(version), &tls.Config{MinVersion: version, MaxVersion: version}, version >= tls.VersionTLS12)
		}
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if suite.SupportedVersions[0] == tls.VersionTLS13 {
				continue
			}
			isRSA := folder == rsaFolder
			fits := strings.Contains(suite.Name, "ECDHE_ECDSA") != isRSA
			try(suite.Name, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}}, good[suite.ID] && fits)
		}
		for _, curve := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
			try(curve.String(), &tls.Config{CurvePreferences: []tls.CurveID{curve}}, curve != tls.CurveP521)
		}
		try("http/1.1", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, true)
		try("h2 only", &tls.Config{NextProtos: []string{"h2"}}, false)
		c.Close()
		c.Close()
	}
}

// TestStrangersSeeTheNameInFiles: clients that ask for another name get the
// certificate, so that they can say what is wrong.
func TestStrangersSeeTheNameInFiles(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	certFile, keyFile := ca.writePair(t, t.TempDir(), time.Hour, "relay.test")
	c, err := Open(t.Context(), Config{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	_, _, clientErr := handshake(t, c.TLS(), &tls.Config{RootCAs: ca.pool(), ServerName: "other.test"})
	if clientErr == nil || !strings.Contains(clientErr.Error(), "valid for relay.test, not other.test") {
		t.Error(clientErr)
	}
	_, _, clientErr = handshake(t, c.TLS(), &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"}) // which is sent as no name
	if clientErr != nil {
		t.Error(clientErr)
	}
}

// TestAPairIsSwappedWhileClientsConnect, and a bad one after it is refused.
func TestAPairIsSwappedWhileClientsConnect(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	folder := t.TempDir()
	certFile, keyFile := ca.writePair(t, folder, time.Hour, "relay.test", "first.test")
	log, told := said()
	c, err := Open(t.Context(), Config{CertFile: certFile, KeyFile: keyFile, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := handshake(t, c.TLS(), &tls.Config{RootCAs: ca.pool(), ServerName: "relay.test"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		ca.writePair(t, folder, time.Hour, "relay.test", "second.test")
		if err := c.Reload(); err != nil {
			t.Error(err)
		}
	}
	writeFile(t, keyFile, keyPEM(t, newKey(t)))
	if err := c.Reload(); err == nil || !strings.Contains(told.String(), "the new one is refused") {
		t.Errorf("%v, the log has %s", err, told)
	}
	close(stop)
	clients.Wait()
	state, _, err := handshake(t, c.TLS(), &tls.Config{RootCAs: ca.pool(), ServerName: "second.test"})
	if err != nil || state.PeerCertificates[0].DNSNames[1] != "second.test" {
		t.Errorf("after a bad pair: %v", err)
	}
	var name string
	var until time.Time
	c.Expiries(func(n string, notAfter time.Time) { name, until = n, notAfter })
	if name != "relay.test" || time.Until(until) < 50*time.Minute {
		t.Errorf("%s expires at %s", name, until)
	}
}

// TestChangedFilesAreRead without a signal, also when a link is swapped as
// Kubernetes does, and bad ones are told once.
func TestChangedFilesAreRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, changedFilesAreRead)
}

func changedFilesAreRead(t *testing.T) {
	ca := newAuthority(t, "ca", nil)
	folder := t.TempDir()
	ca.writePair(t, filepath.Join(folder, "1"), time.Hour, "first.test")
	link := filepath.Join(folder, "now")
	if err := os.Symlink("1", link); err != nil {
		t.Fatal(err)
	}
	log, told := said()
	c, err := Open(t.Context(), Config{CertFile: filepath.Join(link, "cert.pem"), KeyFile: filepath.Join(link, "key.pem"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { c.Run(t.Context()) })
	name := func() string { return c.files.current.Load().Leaf.DNSNames[0] }
	wait := func(want string) {
		t.Helper()
		for end := time.Now().Add(10 * watchEvery); name() != want; time.Sleep(watchEvery / 10) {
			if time.Now().After(end) {
				t.Fatalf("the certificate is for %s, want %s", name(), want)
			}
		}
	}
	ca.writePair(t, filepath.Join(folder, "2"), time.Hour, "second.test")
	swap := func(to string) {
		t.Helper()
		if err := os.Symlink(to, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	swap("2")
	wait("second.test")
	ca.writePair(t, filepath.Join(folder, "3"), -time.Hour, "expired.test")
	swap("3")
	time.Sleep(4 * watchEvery)
	if name() != "second.test" {
		t.Errorf("the certificate is for %s", name())
	}
	ca.writePair(t, filepath.Join(folder, "3"), time.Hour, "third.test")
	wait("third.test")
	t.Cleanup(func() {
		running.Wait()
		if n := strings.Count(told.String(), "the new one is refused"); n != 1 || !strings.Contains(told.String(), "expires soon") {
			t.Errorf("the bad pair was told %d times, want 1:\n%s", n, told)
		}
	})
}
