package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestEveryNumberHasBounds sets each to its bounds, and to one past them.
func TestEveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	standard, err := read(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	numbers := 0
	for _, set := range standard.all {
		limits, ok := set.limits()
		if !ok {
			continue
		}
		numbers++
		if set.bounds == (bounds{}) || limits.low <= 0 || limits.low > limits.high {
			t.Errorf("--%s lacks the tag bounds, or has a strange one", set.name)
			continue
		}
		text := func(n int64) string {
			if _, isTime := set.target.Interface().(time.Duration); isTime {
				return time.Duration(n).String()
			}
			return strconv.FormatInt(n, 10)
		}
		for n, good := range map[int64]bool{limits.low: true, limits.high: true, limits.low - 1: limits.low == 1, limits.high + 1: false, -1: false} {
			_, err := read(t, "", nil, "--"+set.name+"="+text(n))
			want := fmt.Sprintf("--%s must be %s, not %s", set.name, set.allowed(), text(n))
			if told := err != nil && strings.Contains(err.Error(), want); told == good {
				t.Errorf("--%s=%s: %v, want %q: %t", set.name, text(n), err, want, !good)
			}
		}
	}
	if numbers < 30 {
		t.Errorf("only %d numbers and times were found", numbers)
	}
}

// TestTheMostWorkersStart: what the bound allows does not exhaust the threads.
func TestTheMostWorkersStart(t *testing.T) {
	b := startBinary(t, "--workers", "256")
	c := dial(t, b.url("/"))
	say(t, c, `{"type":"ping"}`)
	expect(t, c, `{"type":"pong"}`)
	if _, problems, exit := lectern(t, nil, "serve", "--workers", "257"); exit != 1 || !strings.Contains(problems, "--workers must be 0 or between 1 and 256, not 257") {
		t.Errorf("257 workers: exit code %d and %q", exit, problems)
	}
}

// TestAddressesMustDiffer although port 0 stands for any.
func TestAddressesMustDiffer(t *testing.T) {
	t.Parallel()
	for addresses, good := range map[[2]string]bool{
		{"127.0.0.1:8765", "127.0.0.1:8765"}: false,
		{":8765", "127.0.0.1:8765"}:          false,
		{"127.0.0.1:8765", "0.0.0.0:8765"}:   false,
		{"[::]:8765", "10.0.0.1:8765"}:       false,
		{"127.0.0.1:0", "127.0.0.1:0"}:       true,
		{"127.0.0.1:8765", "127.0.0.2:8765"}: true,
		{"127.0.0.1:8765", "127.0.0.1:8766"}: true,
		{"127.0.0.1:8765", ""}:               true,
	} {
		_, err := read(t, "", nil, "--addr="+addresses[0], "--admin-addr="+addresses[1])
		if (err == nil) != good {
			t.Errorf("%q: %v", addresses, err)
		}
	}
	for echo, good := range map[string]bool{"/": false, "/v1/websocket": false, "/echo": true} {
		if _, err := read(t, "", nil, "--echo="+echo); (err == nil) != good {
			t.Errorf("--echo=%s: %v", echo, err)
		}
	}
}

// TestCheckTriesWhatServeDoes on this machine.
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
	file := writeFile(t, "file", "")
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

// TestCheckWithFewDescriptors: fewer than the relay keeps for itself are a
// mistake.
func TestCheckWithFewDescriptors(t *testing.T) {
	t.Parallel()
	kept := reservedDescriptors + processors*workerDescriptors
	out := runUnderLimit(t, kept)
	if want := fmt.Sprintf("--max-connections: the process may have %d descriptors open, of which the relay keeps %d for itself", kept, kept); !strings.Contains(out, want) {
		t.Errorf("with %d descriptors the check says %s", kept, out)
	}
	if out := runUnderLimit(t, kept+1); !strings.Contains(out, "The configuration is good.") {
		t.Errorf("with %d descriptors the check says %s", kept+1, out)
	}
}

// runUnderLimit returns what lectern check says with so many descriptors.
func runUnderLimit(t *testing.T, descriptors int) string {
	t.Helper()
	script := fmt.Sprintf(`ulimit -n %d; exec "$@"`, descriptors)
	said, _ := exec.Command("sh", "-c", script, "sh", binaryPath, "check", "--addr", "127.0.0.1:0", "--admin-addr", "").CombinedOutput()
	return string(said)
}
