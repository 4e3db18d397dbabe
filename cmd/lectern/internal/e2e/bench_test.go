package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lectern/bench"
)

// TestBenchFindsNothing has the bench check the relay's numbers, with viewers that drop
// and come back and with viewers that join late.
func TestBenchFindsNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args  []string
		right func(*bench.Result) bool
	}{
		"resume": {[]string{"resume", "--share", "0.5", "--every", "300ms"}, func(r *bench.Result) bool {
			return r.Resumed.Resumes >= 20 && r.Resumed.Recovered == r.Resumed.Resumes
		}},
		"late, the relay tells": {[]string{"late", "--over", "300ms"}, func(r *bench.Result) bool { return r.Arrived.Histories == 40 }},
		"late, the host tells": {[]string{"late", "--over", "300ms", "--history", "host"}, func(r *bench.Result) bool {
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
			res, err := bench.ReadFile(file)
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

// TestBenchServesItselfManyRooms has more rooms than one address may have.
func TestBenchServesItselfManyRooms(t *testing.T) {
	t.Parallel()
	args := []string{"bench", "fanout", "--serve", "--viewers", "300", "--rooms", "300", "--duration", "300ms", "--warmup=-1s"}
	if out, err := exec.Command(binaryPath, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
