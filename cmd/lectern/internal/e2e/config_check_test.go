package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/config/configtest"
)

// TestTheMostWorkersStart: the most workers that --workers allows do not exhaust the
// threads.
func TestTheMostWorkersStart(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--workers", "256")
	c := dial(t, b.url("/"))
	say(t, c, `{"type":"ping"}`)
	expect(t, c, `{"type":"pong"}`)
	if _, problems, exit := lectern(t, nil, "serve", "--workers", "257"); exit != 1 || !strings.Contains(problems, "--workers must be 0 or between 1 and 256, not 257") {
		t.Errorf("257 workers: exit code %d and %q", exit, problems)
	}
}

// TestCheckTriesWhatServeDoes: check finds what would keep serve from starting here.
func TestCheckTriesWhatServeDoes(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	dir := t.TempDir()
	file := configtest.WriteFile(t, "file", "")
	cases := map[string]struct {
		args []string
		exit int
		want string // on standard error
	}{
		"a relay's addresses":  {[]string{"--addr", b.addr, "--admin-addr", b.admin}, 0, "warning: --addr: a relay runs at " + b.addr + " already"},
		"its admin address":    {[]string{"--admin-addr", b.admin}, 0, "warning: --admin-addr: a relay runs at " + b.admin + " already"},
		"another program's":    {[]string{"--addr", other.Addr().String()}, 1, "--addr: listen tcp " + other.Addr().String() + ": bind: address already in use"},
		"no address of this":   {[]string{"--addr", "203.0.113.8:0"}, 1, "--addr: listen tcp 203.0.113.8:0: bind: cannot assign requested address"},
		"no such host":         {[]string{"--addr", "nowhere.invalid:0"}, 1, "--addr: "},
		"two mistakes":         {[]string{"--addr", "203.0.113.8:0", "--admin-addr", "203.0.113.9:0"}, 1, "--admin-addr: listen tcp 203.0.113.9:0"},
		"proc":                 {[]string{"--data", "/proc/foo"}, 1, "--data: mkdir /proc/foo: "},
		"a file":               {[]string{"--data", file}, 1, "--data: " + file + " is not a directory"},
		"directory":            {[]string{"--data", dir}, 0, ""},
		"directory to be made": {[]string{"--data", filepath.Join(dir, "a", "b")}, 0, ""},
		"too many connections": {[]string{"--max-connections", "10000000"}, 0, "warning: --max-connections: of 10000000 connections only "},
		"too many workers":     {[]string{"--workers", "99999"}, 1, "--workers must be 0 or between 1 and 256, not 99999"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"check", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, c.args...)
			_, problems, exit := lectern(t, nil, args...)
			if exit != c.exit || !strings.Contains(problems, c.want) || c.want == "" && problems != "" {
				t.Errorf("exit code %d and %q, want %d with %q", exit, problems, c.exit, c.want)
			}
		})
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the check leaves %v, %v", left, err)
	}
}

// TestCheckWithFewDescriptors: check refuses a limit that leaves no descriptor for
// connections.
func TestCheckWithFewDescriptors(t *testing.T) {
	t.Parallel()
	kept := reservedDescriptors + runtime.GOMAXPROCS(0)*workerDescriptors
	out := runUnderLimit(t, kept)
	if want := fmt.Sprintf("--max-connections: the process may have %d descriptors open, of which the relay keeps %d for itself", kept, kept); !strings.Contains(out, want) {
		t.Errorf("with %d descriptors the check says %s", kept, out)
	}
	if out := runUnderLimit(t, kept+1); !strings.Contains(out, "The configuration is good.") {
		t.Errorf("with %d descriptors the check says %s", kept+1, out)
	}
}

// runUnderLimit returns the output of lectern check under a limit of descriptors.
func runUnderLimit(t *testing.T, descriptors int) string {
	t.Helper()
	script := fmt.Sprintf(`ulimit -n %d; exec "$@"`, descriptors)
	said, _ := exec.Command("sh", "-c", script, "sh", binaryPath, "check", "--addr", "127.0.0.1:0", "--admin-addr", "").CombinedOutput()
	return string(said)
}
