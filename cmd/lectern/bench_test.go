package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"lectern/bench"
)

// TestBenchFindsNothing has the bench look at the relay's numbers: viewers who
// drop and come back, and viewers who come late.
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
