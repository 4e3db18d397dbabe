package e2e

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lectern/bench/report"
)

// TestBenchFindsNothing has the bench check the relay's numbers, with viewers that drop
// and come back and with viewers that join late.
func TestBenchFindsNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args  []string
		right func(*report.Result) bool
	}{
		"resume": {[]string{"resume", "--share", "0.5", "--every", "300ms"}, func(r *report.Result) bool {
			return r.Resumed.Resumes >= 20 && r.Resumed.Recovered == r.Resumed.Resumes
		}},
		"late, the relay tells": {[]string{"late", "--over", "300ms"}, func(r *report.Result) bool { return r.Arrived.Histories == 40 }},
		"resume over TLS": {[]string{"resume", "--tls", "--share", "0.5", "--every", "300ms"}, func(r *report.Result) bool {
			return r.Resumed.Resumes >= 20 && r.Resumed.Recovered == r.Resumed.Resumes
		}},
		"late, the host tells": {[]string{"late", "--over", "300ms", "--history", "host"}, func(r *report.Result) bool {
			return r.Arrived.Histories == 40 && r.Arrived.Asked > 0 && r.Arrived.Asked <= 3
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "r.json")
			args := append([]string{"bench"}, test.args...)
			args = append(args, "--serve", "--viewers", "40", "--duration", "1200ms", "--warmup=-1s", "--json", file)
			if out, err := exec.Command(binaryPath, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			res, err := report.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !test.right(res) {
				t.Errorf("%+v, %+v", res.Resumed, res.Arrived)
			}
		})
	}
}

// TestBenchTellsTheLimitOfAnAddress: all clients of a load test have the same address,
// so the refusal names the option that lets them in.
func TestBenchTellsTheLimitOfAnAddress(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--max-connections-per-address", "5", "--max-rooms-per-address", "2")
	for option, args := range map[string][]string{
		"--max-connections-per-address": {"--viewers", "20"},
		"--max-rooms-per-address":       {"--viewers", "3", "--rooms", "3"},
	} {
		args = append([]string{"bench", "fanout", "--url", "ws://" + b.addr + "/", "--duration", "100ms", "--warmup=-1s"}, args...)
		out, err := exec.Command(binaryPath, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "("+option+")") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestBenchHasTheCreateKey load-tests relays that let nobody open a room
// without their key.
func TestBenchHasTheCreateKey(t *testing.T) {
	t.Parallel()
	const key = "a key of this test only"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBinary(t, "--create-key-file", file)
	url := []string{"--url", "ws://" + b.addr + "/"}
	for name, test := range map[string]struct {
		args []string
		env  string
		ok   bool
	}{
		"file":               {append(url, "--create-key-file", file), "", true},
		"variable":           {url, "LECTERN_CREATE_KEY=" + key, true},
		"variable of a file": {url, "LECTERN_CREATE_KEY_FILE=" + file, true},
		"own relay":          {[]string{"--serve", "--create-key-file", file}, "", true},
		"no key":             {url, "", false},
		"wrong key":          {url, "LECTERN_CREATE_KEY=x" + key, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"bench", "fanout", "--viewers", "5", "--duration", "200ms", "--warmup=-1s"}, test.args...)
			cmd := exec.Command(binaryPath, args...)
			cmd.Env = append(os.Environ(), test.env)
			out, err := cmd.CombinedOutput()
			if (err == nil) != test.ok || strings.Contains(string(out), key) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestBenchThresholds has the exit status tell a crossed threshold from a run
// that passed, and from one that failed otherwise.
func TestBenchThresholds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "r.json")
	status := func(args ...string) int {
		out, err := exec.Command(binaryPath, append([]string{"bench"}, args...)...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%v\n%s", err, out)
		}
		if exit == nil {
			return 0
		}
		return exit.ExitCode()
	}
	run := []string{"fanout", "--serve", "--viewers", "5", "--duration", "300ms", "--warmup=-1s", "--json", file}
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"crossed", append(run, "--max-p99", "1us"), 99},
		{"kept", append(run, "--max-p99", "1m", "--max-missing", "0"), 0},
		{"compared", []string{"compare", file, file, "--max-p99-ratio", "1", "--max-cpu-ratio", "1"}, 0},
		{"worse", []string{"compare", file, file, "--max-p99-ratio", "0.5"}, 99},
		{"no server", []string{"fanout", "--url", "ws://127.0.0.1:1/", "--max-p99", "1m"}, 1},
		{"no threshold", []string{"saturate", "--max-p99", "1s"}, 1},
	} {
		if got := status(test.args...); got != test.want {
			t.Errorf("%s: the exit status is %d, not %d", test.name, got, test.want)
		}
	}
}

// TestBenchHasAgents shares the viewers of a bench with another process.
func TestBenchHasAgents(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(strings.Repeat("0123456789abcdef", 2)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := exec.Command(binaryPath, "bench", "agent", "--listen", "127.0.0.1:0", "--token-file", token)
	stderr, err := agent.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(strings.TrimPrefix(line, "agent listens at "))
	file := filepath.Join(t.TempDir(), "r.json")
	out, err := exec.Command(binaryPath, "bench", "fanout", "--serve", "--viewers", "20", "--duration", "300ms", "--agents", addr, "--token-file", token, "--json", file).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if res, err := report.ReadFile(file); err != nil || res.Merged != 2 || res.Phases[0].Viewers != 20 {
		t.Errorf("%v: %+v", err, res)
	}
	_ = agent.Process.Signal(os.Interrupt)
	if err := agent.Wait(); err != nil {
		t.Errorf("the agent ended: %v", err)
	}
}

// TestBenchServesItselfManyRooms has more rooms than one address may have.
func TestBenchServesItselfManyRooms(t *testing.T) {
	t.Parallel()
	args := []string{"bench", "fanout", "--serve", "--viewers", "300", "--rooms", "300", "--duration", "300ms", "--warmup=-1s"}
	if out, err := exec.Command(binaryPath, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
