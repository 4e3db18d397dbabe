package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"lectern/bench/workload"
)

func TestThresholds(t *testing.T) {
	some := func(n uint64) *uint64 { return &n }
	for name, test := range map[string]struct {
		thresholds workload.Thresholds
		change     func(*Result)
		says       string // empty: nothing is crossed
	}{
		"none":           {workload.Thresholds{}, func(r *Result) { r.Phases[0].Missing = 5 }, ""},
		"in time":        {workload.Thresholds{MaxP99: 2 * time.Millisecond}, func(*Result) {}, ""},
		"late":           {workload.Thresholds{MaxP99: 500 * time.Microsecond}, func(*Result) {}, "fanout: p99 1 ms"},
		"few missing":    {workload.Thresholds{MaxMissing: some(5)}, func(r *Result) { r.Phases[0].Missing = 5 }, ""},
		"too many":       {workload.Thresholds{MaxMissing: some(5)}, func(r *Result) { r.Phases[0].Missing = 6 }, "fanout: 6 messages missing, the threshold is 5"},
		"one missing":    {workload.Thresholds{MaxMissing: some(0)}, func(r *Result) { r.Phases[0].Missing = 1 }, "fanout: 1 message missing, the threshold is 0"},
		"storm in time":  {workload.Thresholds{MaxP99: 2 * time.Millisecond}, func(r *Result) { r.Phases = nil }, ""},
		"storm too late": {workload.Thresholds{MaxP99: 500 * time.Microsecond}, func(r *Result) { r.Phases = nil }, "connect: p99 1 ms"},
	} {
		t.Run(name, func(t *testing.T) {
			res := sample(10, 1000)
			test.change(res)
			res.Options.Thresholds = test.thresholds
			got := strings.Join(res.CrossedThresholds(), "; ")
			if (got == "") != (test.says == "") || !strings.HasPrefix(got, test.says) {
				t.Errorf("crossed: %q", got)
			}
		})
	}
}

func TestRatios(t *testing.T) {
	slow := sample(10, 1300)
	idle := func() *Result { // both figures are 0
		r := sample(10, 0)
		r.Phases[0].CPUEach = 0
		r.Phases[0].Latency.P99 = 0
		return r
	}
	failed := sample(10, 1000)
	failed.Problems = []string{"something is missing"}
	blind := sample(10, 1000)
	blind.Phases[0].Server = nil
	for name, test := range map[string]struct {
		ratios  Ratios
		results []*Result
		says    string // empty: it passes
	}{
		"anything":       {Ratios{}, []*Result{sample(10, 1000), failed}, ""},
		"equal":          {Ratios{1, 1}, []*Result{sample(10, 1000), sample(10, 1000)}, ""},
		"below":          {Ratios{P99: 1.4}, []*Result{sample(10, 1000), slow}, ""},
		"above":          {Ratios{P99: 1.2}, []*Result{sample(10, 1000), slow}, "B: latency p99 1.3 ms is 1.30 times A's 1 ms"},
		"third":          {Ratios{P99: 1.2}, []*Result{sample(10, 1000), sample(10, 900), slow}, "C: latency p99"},
		"zero and zero":  {Ratios{1, 1}, []*Result{idle(), idle()}, ""},
		"zero and some":  {Ratios{CPU: 2}, []*Result{idle(), sample(10, 1000)}, "B: server CPU a delivery"},
		"a failed run":   {Ratios{P99: 9}, []*Result{sample(10, 1000), failed}, "something is missing"},
		"one is unknown": {Ratios{CPU: 9}, []*Result{sample(10, 1000), blind}, "B: it has no server CPU a delivery"},
		"both unknown":   {Ratios{CPU: 9}, []*Result{blind, blind}, "A: it has no server CPU a delivery"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.ratios.Check(test.results...)
			if (err == nil) != (test.says == "") {
				t.Fatalf("the error is %v", err)
			}
			if err != nil && (!errors.Is(err, ErrThreshold) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%q does not say %q", err, test.says)
			}
		})
	}
}

// TestNothingAndNothingAreEqual has two results compared in which all is 0.
func TestNothingAndNothingAreEqual(t *testing.T) {
	a := sample(10, 1000)
	a.Phases[0].CPUEach, a.Phases[0].Server.Cores = 0, 0
	var out bytes.Buffer
	if err := WriteComparison(&out, a, a); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, " 0 ") && !strings.Contains(line, "1.00") {
			t.Errorf("%s", line)
		}
	}
}
