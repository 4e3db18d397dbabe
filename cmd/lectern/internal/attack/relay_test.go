//go:build linux

package attack

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	memoryBudget = 256 << 20
	memoryCgroup = 384 << 20
)

// A setting is how a relay is started.
type setting struct {
	flags   []string
	files   int  // its limit of descriptors; 0 for the one of this process
	noFiles bool // it cannot write a byte into any file
	free    bool // it has neither a budget nor a cgroup
}

// A relay is the real binary, as a process of its own.
type relay struct {
	addr  string // host:port of the relay
	admin string // host:port of the admin listener
	ready time.Duration

	t     testing.TB
	cmd   *exec.Cmd
	group *cgroup       // nil if none could be made
	ended chan struct{} // closed when the process has ended

	mu  sync.Mutex
	log strings.Builder // guarded by mu; what it wrote to standard error
}

var toldNoCgroup sync.Once

// startRelay starts a relay and waits until it is ready. It ends with the test.
func startRelay(t testing.TB, s setting) (*relay, error) {
	r := &relay{t: t, ended: make(chan struct{})}
	script := ""
	if s.files > 0 {
		script += fmt.Sprintf("ulimit -n %d; ", s.files)
	}
	if s.noFiles {
		script += "ulimit -f 0; "
	}
	flags := []string{"serve", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--log-format", "json"}
	if !s.free {
		var err error
		if r.group, err = newCgroup(t, memoryCgroup); err != nil {
			toldNoCgroup.Do(func() { t.Log("no cgroup, memory is what is resident:", err) })
		} else {
			script += "echo $$ > " + filepath.Join(r.group.dir, "cgroup.procs") + "; "
		}
		if knows("memory") {
			flags = append(flags, "--memory", "256MB")
		}
	}
	r.cmd = exec.Command("sh", append([]string{"-c", script + `exec "$@"`, "sh", binaryPath}, append(flags, s.flags...)...)...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan struct{})
	go func() {
		r.read(stderr, listens)
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	t.Cleanup(r.kill)
	select {
	case <-listens:
	case <-r.ended:
		if r.group != nil && r.group.killed() {
			return nil, errors.New("the relay was killed for memory before it listened")
		}
		return nil, fmt.Errorf("the relay ended at once: %s", strings.TrimSpace(r.logged()))
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("the relay does not listen after a minute")
	}
	for status := 0; status != http.StatusOK; time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			return nil, fmt.Errorf("the relay is not ready after a minute")
		}
		status, _ = r.get("/health/ready", "", 5*time.Second)
	}
	r.ready = time.Since(began)
	return r, nil
}

// read takes the log, of which it keeps the first 64 KiB, and the addresses out
// of it.
func (r *relay) read(stderr io.Reader, listens chan<- struct{}) {
	lines := bufio.NewReader(stderr)
	for {
		text, err := lines.ReadString('\n')
		r.mu.Lock()
		if r.log.Len() < 64<<10 {
			r.log.WriteString(text)
		}
		r.mu.Unlock()
		var line struct{ Msg, Addr, Admin string }
		if json.Unmarshal([]byte(text), &line) == nil && line.Msg == "relay listens" && r.addr == "" {
			r.addr, r.admin = line.Addr, line.Admin
			close(listens)
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

func (r *relay) lives() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// kill ends the relay like a failure of power.
func (r *relay) kill() {
	_ = r.cmd.Process.Kill()
	select {
	case <-r.ended:
	case <-time.After(20 * time.Second):
		r.t.Error("the relay does not end")
	}
}

// used returns the bytes of memory that count against the budget.
func (r *relay) used() int64 {
	if r.group != nil {
		if n, err := r.group.used(); err == nil {
			return n
		}
	}
	return figureIn(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid), "VmRSS:") << 10
}

// most returns the most bytes that were ever resident.
func (r *relay) most() int64 {
	return figureIn(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid), "VmHWM:") << 10
}

// processor returns the processor time that the relay has used, to 10 ms.
func (r *relay) processor() time.Duration {
	all, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(all[bytes.LastIndexByte(all, ')')+1:])) // after the name
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks of 100 Hz
}

// get asks the admin address, under another name than its own if host is not
// empty.
func (r *relay) get(path, host string, timeout time.Duration) (status int, body string) {
	request, err := http.NewRequest(http.MethodGet, "http://"+r.admin+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	request.Host = host
	request.Close = true
	client := http.Client{Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	all, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(all)
}

// metric returns a figure of /metrics, and whether it is there.
func (r *relay) metric(name string) (float64, bool) {
	_, body := r.get("/metrics", "", 10*time.Second)
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return v, err == nil
		}
	}
	return 0, false
}
