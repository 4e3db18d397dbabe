package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

// binaryPath is the relay that Main built.
var binaryPath string

// Main builds the relay once, runs the tests of a package and returns the exit
// code. A TestMain calls it. If the tests have the race detector, the relay has it,
// too.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lectern-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := makeCertificate(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binaryPath = filepath.Join(dir, "lectern")
	build := []string{"build", "-buildvcs=false", "-o", binaryPath}
	if raced {
		build = append(build, "-race")
	}
	if out, err := exec.Command("go", append(build, "lectern/cmd/lectern")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Start starts the relay for a test of another package. It ends with the test.
// The addresses are those of the relay and of its admin listener, as host:port.
func Start(t testing.TB, flags ...string) (addr, admin string) {
	t.Helper()
	b := startBinary(t, flags...)
	return b.addr, b.admin
}

// StartAPI is Start for a relay whose HTTP API has the key apitest.Key.
func StartAPI(t testing.TB, flags ...string) (addr, admin string) {
	t.Helper()
	b := startBinaryUnder(t, withKey, flags...)
	return b.addr, b.admin
}

// withKey is the command for startBinaryUnder that gives a relay an API key.
var withKey = []string{"env", "LECTERN_API_KEY=" + apitest.Key}

// A binary is the real relay, running as a process of its own.
type binary struct {
	addr  string // host:port of the relay
	admin string // host:port of the admin listener

	t      testing.TB
	cmd    *exec.Cmd
	exited chan error

	mu  sync.Mutex
	log strings.Builder // guarded by mu; what it wrote to standard error
}

// startBinary starts the relay on free ports of the loopback interface, and
// ends it with the test.
func startBinary(t testing.TB, flags ...string) *binary {
	t.Helper()
	return startBinaryUnder(t, nil, flags...)
}

// startBinaryUnder starts the relay as the last arguments of another command.
func startBinaryUnder(t testing.TB, command []string, flags ...string) *binary {
	t.Helper()
	args := append(slices.Clone(command), binaryPath, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--log-format", "json")
	args = append(args, flags...)
	return startCommand(t, exec.Command(args[0], args[1:]...))
}

// startCommand starts a command that becomes a relay with a log in JSON.
func startCommand(t testing.TB, command *exec.Cmd) *binary {
	t.Helper()
	b := &binary{t: t, cmd: command, exited: make(chan error, 1)}
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := make(chan bool, 1)
	go func() {
		b.read(stderr, started)
		b.exited <- b.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		select {
		case <-b.exited:
		case <-time.After(10 * time.Second):
			t.Error("the relay does not end")
		}
		if t.Failed() {
			t.Logf("log of the relay:\n%s", b.logged())
		}
	})
	select {
	case ok := <-started:
		if !ok {
			t.Fatalf("the relay ended at once:\n%s", b.logged())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the relay does not start")
	}
	return b
}

// read keeps the log, and takes the addresses from its first line.
func (b *binary) read(stderr io.Reader, started chan<- bool) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		b.mu.Lock()
		b.log.WriteString(lines.Text() + "\n")
		b.mu.Unlock()
		var line struct{ Msg, Addr, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "relay listens" {
			b.addr, b.admin = line.Addr, line.Admin
			started <- true
		}
	}
	select {
	case started <- false:
	default:
	}
}

func (b *binary) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// url returns the relay's WebSocket URL with a path.
func (b *binary) url(path string) string { return b.urlAt(b.addr, path) }

// urlAt is url for something that carries connections to the relay.
func (b *binary) urlAt(addr, path string) string {
	if slices.Contains(b.cmd.Args, "--tls-cert") {
		return "wss://" + addr + path
	}
	return "ws://" + addr + path
}

// signal sends the process a signal.
func (b *binary) signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

// wait returns the exit code of the process.
func (b *binary) wait(timeout time.Duration) int {
	b.t.Helper()
	select {
	case err := <-b.exited:
		b.exited <- err
		return b.cmd.ProcessState.ExitCode()
	case <-time.After(timeout):
		b.t.Fatalf("the relay has not ended after %s", timeout)
		return -1
	}
}

// metric reads a sample from /metrics by its name and labels. The sample must
// exist. While the admin address has no connection free it waits.
func (b *binary) metric(name string) float64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.admin+"/metrics", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	for err == nil && response.StatusCode == http.StatusServiceUnavailable {
		_ = response.Body.Close()
		time.Sleep(20 * time.Millisecond)
		response, err = http.DefaultClient.Do(request)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.t.Fatal(err)
			}
			return v
		}
	}
	b.t.Fatalf("no metric %s", name)
	return 0
}

// eventually waits until check returns true, and fails the test after 20 s. The pauses
// grow, because most checks fetch /metrics.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	pause := 5 * time.Millisecond
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(pause) {
		if check() {
			return
		}
		pause = min(pause*3/2, 100*time.Millisecond)
	}
	t.Fatalf("it never came about that %s", what)
}
