package main

import (
	"os/exec"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/config/configtest"
)

// TestShownConfiguration checks the file that the page on configuration shows.
func TestShownConfiguration(t *testing.T) {
	t.Parallel()
	_, example, _ := strings.Cut(page(t, configurationPage), "```toml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("the page shows no configuration file")
	}
	keyFile := configtest.WriteFile(t, "create.key", "create-0123456789abcdef")
	s, err := read(t, strings.ReplaceAll(example, "/etc/lectern/create.key", keyFile), nil)
	if err != nil || s.MaxRooms != 50 || len(s.AllowOrigin) != 2 {
		t.Errorf("%v: %v", err, s)
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		made, err := exec.Command("openssl", "rand", "-hex", "16").Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, "", []string{"LECTERN_API_KEY=" + strings.TrimSpace(string(made))}); err != nil {
			t.Errorf("openssl's key %q: %v", made, err)
		}
	}
}

// TestShownProxyConfiguration checks the file that the page on proxies shows, and the
// example that packages have.
func TestShownProxyConfiguration(t *testing.T) {
	t.Parallel()
	_, example, _ := strings.Cut(page(t, "docs/proxies.md"), "```toml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("the page shows no configuration file")
	}
	s, err := read(t, example, nil)
	if err != nil || s.Addr != "unix:/run/lectern/lectern.sock" || len(s.TrustedProxy) != 1 || !s.TrustedProxy[0].IsUnix() {
		t.Errorf("%v: %v", err, s)
	}
	packaged := page(t, "cmd/lectern/packaging/files/lectern.toml")
	if _, err := read(t, packaged, nil); err != nil {
		t.Error(err)
	}
	if _, err := read(t, strings.NewReplacer("# allow", "allow", "# trusted-proxy = [\"unix\"]", "trusted-proxy = [\"unix\"]").Replace(packaged), nil); err != nil {
		t.Error(err)
	}
}

// read reads the configuration of lectern serve.
func read(t testing.TB, file string, environ []string, flags ...string) (*config.Settings, error) {
	t.Helper()
	args := append([]string{"serve"}, flags...)
	if file != "" {
		args = append(args, "--config", configtest.WriteFile(t, "lectern.toml", file))
	}
	var c cli
	ctx, err := newParser(&c).Parse(args)
	if err != nil {
		return nil, err
	}
	return config.NewCommandLine(ctx).Read(&c.Serve.Options, environ)
}
