package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFailed is wrapped by the error of a run in which something was missing,
// repeated, reordered, damaged or broken. The result is there all the same.
var ErrFailed = errors.New("bench: the run failed")

// ErrInterrupted says that the run was ended from outside; its result is what
// was found so far.
var ErrInterrupted = errors.New("bench: " + interruption)

// interruption is the problem of a result that was interrupted.
const interruption = "interrupted"

// ErrThreshold is wrapped by the error of a run that crossed a threshold, and of
// a comparison that did.
var ErrThreshold = errors.New("bench: a threshold was crossed")

// Failed returns the error of a run that failed, as [Run] does.
func (res *Result) Failed() error {
	switch {
	case len(res.Crossed) > 0:
		return fmt.Errorf("%w: %s", ErrThreshold, res.Crossed[0])
	case len(res.Problems) > 0:
		return fmt.Errorf("%w: %s", ErrFailed, res.Problems[0])
	case res.Interrupted:
		return ErrInterrupted
	default:
		return nil
	}
}

// verdict returns the lines that a report opens with: whether the run passed, or
// all that is wrong, and what the run was made to find out.
func (res *Result) verdict() (lines []string) {
	answer := res.answer()
	if res.Failed() == nil {
		return []string{"PASSED: " + answer}
	}
	if res.Interrupted {
		lines = append(lines, "INTERRUPTED: these are the results so far")
	}
	for _, p := range slices.Concat(res.Crossed, res.Problems) {
		if !res.Interrupted || p != interruption {
			lines = append(lines, "FAILED: "+p)
		}
	}
	if answer != "" {
		lines = append(lines, "found: "+answer)
	}
	return lines
}

// answer says in a line what the run found out, as far as it did.
func (res *Result) answer() string {
	var expected, delivered uint64
	var worst int64
	for i := range res.Phases {
		p := &res.Phases[i]
		expected, delivered, worst = expected+p.Expected, delivered+p.Delivered, max(worst, p.Latency.P99)
	}
	switch h := res.Held; {
	case res.Scenario == "saturate" && h == nil:
		return "no step held"
	case res.Scenario == "saturate":
		return fmt.Sprintf("the server holds %s messages a second of %d bytes to %s: %s deliveries a second, p99 %s",
			Trim(h.Rate), h.Size, Count(h.Viewers, "viewer"), Grouped(int64(h.PerSecond)), Micros(h.Latency.P99))
	case res.Memory != nil:
		return fmt.Sprintf("%s take %.0f B of the server's memory each", Count(res.Memory.Viewers, "viewer"), res.Memory.PerViewer)
	case delivered > 0:
		return fmt.Sprintf("%s of %s arrived, p99 %s", Grouped(int64(delivered)), Count(expected, "message"), Micros(worst))
	case expected == 0 && len(res.Connects) > 0:
		c := &res.Connects[len(res.Connects)-1]
		return fmt.Sprintf("%s of %s joined, %s a second, p99 %s", Grouped(int64(c.Joined)), Count(c.Wanted, "viewer"), Grouped(int64(c.PerSecond)), Micros(c.Join.P99))
	default:
		return ""
	}
}

// CrossedThresholds returns the thresholds of its options that the result crosses, in words.
func (res *Result) CrossedThresholds() (out []string) {
	t := res.Options.Thresholds
	late := func(name string, d Distribution) {
		if limit := t.MaxP99.Microseconds(); t.MaxP99 > 0 && d.Count > 0 && d.P99 > limit {
			out = append(out, fmt.Sprintf("%s: p99 %s, the threshold is %s", name, Micros(d.P99), Micros(limit)))
		}
	}
	published := false
	for i := range res.Phases {
		p := &res.Phases[i]
		published = published || p.Planned > 0
		if t.MaxMissing != nil && p.Missing > *t.MaxMissing {
			out = append(out, fmt.Sprintf("%s: %s missing, the threshold is %s", p.Name, Count(p.Missing, "message"), Grouped(int64(*t.MaxMissing))))
		}
		late(p.Name, p.Latency)
	}
	for _, c := range res.Connects {
		if !published {
			late(c.Name, c.Join)
		}
	}
	return out
}

// Ratios are how many times as much as the first of some results the others may
// show. 0 means that anything will do.
type Ratios struct {
	P99 float64 // of the 99th percentile of the latency or, if nothing was published, of the time to join
	CPU float64 // of the server's CPU for each delivery or, if nothing was published, for each join
}

// Check compares each result with the first. Its error wraps [ErrThreshold], and
// says which ratio was crossed, could not be computed, or belongs to a run that
// failed. 0 and 0 are equal.
func (r Ratios) Check(results ...*Result) error {
	if r == (Ratios{}) {
		return nil
	}
	crossed := above(r.P99, results, "latency p99", "join p99")
	crossed = append(crossed, above(r.CPU, results, "server CPU a delivery", "server CPU for each")...)
	for i, res := range results {
		if res.Failed() != nil {
			crossed = append(crossed, letter(i)+": "+res.verdict()[0])
		}
	}
	if len(crossed) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrThreshold, strings.Join(crossed, "; "))
}

// above returns what is more than most times the first result's. Of the names it
// takes the first that the first result has a figure for.
func above(most float64, results []*Result, names ...string) (out []string) {
	if most <= 0 {
		return nil
	}
	first := results[0].compared()
	for _, name := range names {
		if !slices.ContainsFunc(first, func(p part) bool { return p.figure(name).known }) {
			continue
		}
		for i, res := range results[1:] {
			compared := false
			for _, p := range first {
				base, f := p.figure(name), like(res.compared(), p).figure(name)
				if !base.known || !f.known {
					continue
				}
				compared = true
				if f.value > most*base.value {
					out = append(out, fmt.Sprintf("%s: %s %s is %s times A's %s, the threshold is %s", letter(i+1), name, f.cell(), ratio(f, base), base.cell(), Trim(most)))
				}
			}
			if !compared {
				out = append(out, fmt.Sprintf("%s: it has no %s to compare", letter(i+1), name))
			}
		}
		return out
	}
	return []string{"A: it has no " + names[0] + " to compare with"}
}
