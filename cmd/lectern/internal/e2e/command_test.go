package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lectern runs the binary to its end.
func lectern(t *testing.T, env []string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command(binaryPath, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer hang.Stop()
	_ = cmd.Wait() // told by the exit code
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

func TestNonsenseIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	cases := map[string]struct {
		env  []string
		args []string
		want string // on standard error
	}{
		"no command":         {nil, nil, `"serve"`},
		"unknown command":    {nil, []string{"preach"}, "preach"},
		"unknown flag":       {nil, []string{"serve", "--nonsense"}, "unknown flag --nonsense"},
		"stray argument":     {nil, []string{"serve", "8765"}, "unexpected argument 8765"},
		"not a number":       {nil, []string{"serve", "--max-rooms=many"}, "--max-rooms"},
		"negative":           {nil, []string{"serve", "--workers=-3"}, "--workers must be 0 or between 1 and 256, not -3"},
		"too large":          {nil, []string{"serve", "--lag-limit=2000000000"}, "--lag-limit must be between 1024 and 1073741824, not 2000000000"},
		"negative time":      {nil, []string{"serve", "--idle-timeout=-1s"}, "--idle-timeout must be between 200ms and 2h, not -1s"},
		"time without unit":  {nil, []string{"serve", "--ping-after=25"}, "--ping-after"},
		"endless time":       {nil, []string{"serve", "--drain-timeout=25h"}, "--drain-timeout must be 0 or between 1ms and 24h, not 25h0m0s"},
		"echo path":          {nil, []string{"serve", "--echo=echo"}, "--echo must be a path that begins with a slash"},
		"log format":         {nil, []string{"serve", "--log-format=xml"}, "--log-format must be one of"},
		"log level":          {nil, []string{"serve", "--log-level=loud"}, "--log-level"},
		"variable":           {[]string{"LECTERN_MAX_ROOMS=many"}, []string{"serve"}, "LECTERN_MAX_ROOMS: "},
		"address":            {nil, []string{"serve", "--addr=127.0.0.1:99999"}, "--addr: "},
		"address in use":     {nil, []string{"serve", "--addr=" + b.addr, "--admin-addr="}, b.addr + ": bind: address already in use"},
		"admin address used": {nil, []string{"serve", "--addr=127.0.0.1:0", "--admin-addr=" + b.admin}, "--admin-addr (may be empty): listen tcp " + b.admin},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, stderr, exit := lectern(t, c.env, c.args...)
			if exit <= 0 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d and %q, want a failure that says %q", exit, stderr, c.want)
			}
		})
	}
}

func TestVariablesSetFlags(t *testing.T) {
	t.Setenv("LECTERN_MAX_ROOMS", "1")
	t.Setenv("LECTERN_LOG_FORMAT", "text") // startBinary's flag must win
	b := startBinary(t)
	openRoom(t, b)
	second := dial(t, b.url("/"))
	say(t, second, `{"type":"create"}`)
	if text := hear(t, second); !strings.Contains(text, `"too_many_rooms"`) {
		t.Errorf("with LECTERN_MAX_ROOMS=1 a second room was answered %s", text)
	}

	// The address of another relay shows that the variable is read.
	_, stderr, exit := lectern(t, []string{"LECTERN_ADDR=" + b.addr, "LECTERN_ADMIN_ADDR="}, "serve")
	if exit != 1 || !strings.Contains(stderr, b.addr) {
		t.Errorf("LECTERN_ADDR=%s: exit code %d and %q", b.addr, exit, stderr)
	}
}

func TestWithoutAdminAddress(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--admin-addr", "")
	if b.admin != "" {
		t.Errorf("there is an admin listener at %s", b.admin)
	}
	response, err := http.Get("http://" + b.addr + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the relay is not ready: %s", response.Status)
	}
}

func TestPprof(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--pprof")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		response, err := http.Get("http://" + b.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}

// TestLogLines: in both formats every line can be parsed, and the first one has the
// addresses and limits.
func TestLogLines(t *testing.T) {
	t.Parallel()
	t.Run("json", func(t *testing.T) {
		b := startBinary(t, "--max-connections", "7")
		b.signal(syscall.SIGTERM)
		if exit := b.wait(20 * time.Second); exit != 0 {
			t.Errorf("exit code %d", exit)
		}
		lines := strings.Split(strings.TrimSpace(b.logged()), "\n")
		for i, line := range lines {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["time"] == nil || fields["level"] == nil || fields["msg"] == nil {
				t.Errorf("a line of the log is %s, %v", line, err)
			}
			if i == 0 && (fields["addr"] != b.addr || fields["viewers"] != 7.0 || fields["descriptors"] == nil) {
				t.Errorf("the first line is %s", line)
			}
		}
		if len(lines) < 3 {
			t.Errorf("only %d lines", len(lines))
		}
	})
	t.Run("text", func(t *testing.T) {
		started := regexp.MustCompile(`level=INFO msg="relay listens" addr=127\.0\.0\.1:[0-9]+ .*viewers=[0-9]+`)
		cmd := exec.Command(binaryPath, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "")
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first, err := bufio.NewReader(log).ReadString('\n')
		if err != nil || !started.MatchString(first) {
			t.Errorf("%v, the first line is %s", err, first)
		}
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
}
