package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrThreshold is wrapped by the error of a run that crossed a threshold, and of
// a comparison that did.
var ErrThreshold = errors.New("bench: a threshold was crossed")

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
	var crossed []string
	for _, limit := range []struct {
		most  float64
		names []string
	}{
		{r.P99, []string{"latency p99", "join p99"}},
		{r.CPU, []string{"server CPU a delivery", "server CPU for each"}},
	} {
		if limit.most > 0 {
			crossed = append(crossed, above(limit.most, limit.names, results)...)
		}
	}
	for i, res := range results {
		if !res.passed() && r != (Ratios{}) {
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
func above(most float64, names []string, results []*Result) (out []string) {
	first := results[0].figures()
	for _, name := range names {
		if !slices.ContainsFunc(first, func(f figure) bool { return f.name == name }) {
			continue
		}
		for i, res := range results[1:] {
			compared := false
			for _, f := range first {
				v, ok := find(res.figures(), f, res, results[0])
				if f.name != name || !ok {
					continue
				}
				compared = true
				if v > most*f.value {
					out = append(out, fmt.Sprintf("%s: %s %s is %s times A's %s, the threshold is %s", letter(i+1), name, f.format(v), ratio(v, f.value, true), f.format(f.value), Trim(most)))
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
