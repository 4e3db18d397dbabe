package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lectern/netpoll/selfsigned"
)

// writePair writes a certificate that signs itself and lives for so long, and its key.
func writePair(t testing.TB, life time.Duration) (certFile, keyFile string) {
	t.Helper()
	pair, err := selfsigned.New(life, "relay.test")
	if err == nil {
		certFile, keyFile, err = pair.Write(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// TestCheckLooksAtCertificates: the check says what would keep a relay with TLS from
// starting, and leaves nothing behind.
func TestCheckLooksAtCertificates(t *testing.T) {
	t.Parallel()
	good, key := writePair(t, 100*24*time.Hour)
	soon, soonKey := writePair(t, 24*time.Hour)
	expired, expiredKey := writePair(t, -time.Hour)
	open, openKey := writePair(t, 100*24*time.Hour)
	if err := os.Chmod(openKey, 0o644); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"XDG_STATE_HOME=" + state, "HOME=" + state}
	for name, c := range map[string]struct {
		args    []string
		environ []string
		exit    int
		want    string // empty if nothing is wrong
	}{
		"good":            {[]string{"--tls-cert", good, "--tls-key", key}, nil, 0, ""},
		"redirect":        {[]string{"--tls-cert", good, "--tls-key", key, "--redirect-addr", "127.0.0.1:0"}, nil, 0, ""},
		"ends soon":       {[]string{"--tls-cert", soon, "--tls-key", soonKey}, nil, 0, "warning: --tls-cert: the certificate expires at "},
		"readable key":    {[]string{"--tls-cert", open, "--tls-key", openKey}, nil, 0, "warning: --tls-cert: every user of this machine may read " + openKey},
		"expired":         {[]string{"--tls-cert", expired, "--tls-key", expiredKey}, nil, 1, "--tls-cert: " + expired + ": the certificate expired at "},
		"other key":       {[]string{"--tls-cert", good, "--tls-key", soonKey}, nil, 1, "--tls-cert: " + soonKey + ": the private key does not belong to the certificate in " + good},
		"no file":         {[]string{"--tls-cert", "/nonexistent/a", "--tls-key", key}, nil, 1, "--tls-cert: open /nonexistent/a: no such file"},
		"no key":          {[]string{"--tls-cert", good}, nil, 1, "--tls-cert needs --tls-key"},
		"redirect taken":  {[]string{"--tls-cert", good, "--tls-key", key, "--redirect-addr", "192.0.2.1:80"}, nil, 1, "--redirect-addr: listen tcp 192.0.2.1:80"},
		"domain":          {[]string{"--domain", "relay.test", "--redirect-addr", ""}, nil, 0, ""},
		"storage in data": {[]string{"--domain", "relay.test", "--redirect-addr", "", "--data", filepath.Join(state, "data")}, nil, 0, ""},
		"bad storage":     {[]string{"--domain", "relay.test", "--redirect-addr", ""}, []string{"STATE_DIRECTORY=" + file}, 1, "--domain: stat " + file + "/tls: not a directory"},
		"no storage":      {[]string{"--domain", "relay.test", "--redirect-addr", ""}, []string{"XDG_STATE_HOME=", "HOME="}, 1, "--domain: there is no place for certificates: set --data, or $HOME"},
		"bad roots":       {[]string{"--domain", "relay.test", "--redirect-addr", "", "--acme-ca-root", file}, nil, 1, "--domain: " + file + " is not PEM"},
		"two ways":        {[]string{"--domain", "relay.test", "--tls-cert", good, "--tls-key", key}, nil, 1, "only one of them may be set"},
		"wildcard":        {[]string{"--domain", "*.test"}, nil, 1, "is no host's name"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"check", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, c.args...)
			_, problems, exit := lectern(t, append(environ, c.environ...), args...)
			if exit != c.exit || !strings.Contains(problems, c.want) || c.want == "" && problems != "" {
				t.Errorf("exit code %d and %q, want %d with %q", exit, problems, c.exit, c.want)
			}
		})
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("the check leaves %v, %v", left, err)
	}
}
