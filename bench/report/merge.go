package report

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrMerge is wrapped by the error about results that cannot be added up.
var ErrMerge = errors.New("bench: cannot merge")

// Merge adds up the results of benches that ran at the same time, against the
// same server: their viewers are taken as one crowd. What the server itself
// used is taken from the result that saw most of it.
func Merge(results ...*Result) (*Result, error) {
	if len(results) < 2 {
		return nil, fmt.Errorf("%w: it takes two results or more", ErrMerge)
	}
	sum := *results[0]
	sum.Merged = max(sum.Merged, 1)
	sum.Problems, sum.Warnings = slices.Clone(sum.Problems), slices.Clone(sum.Warnings)
	sum.Connects, sum.Phases = slices.Clone(sum.Connects), slices.Clone(sum.Phases)
	var faults FaultLog
	faults.MergeAll(sum.Faults)
	for _, res := range results[1:] {
		if err := sum.add(res); err != nil {
			return nil, err
		}
		faults.MergeAll(res.Faults)
	}
	sum.Faults = faults.Sorted()
	sum.Crossed = sum.CrossedThresholds()
	return &sum, nil
}

func (sum *Result) add(res *Result) error {
	switch {
	case res.Scenario != sum.Scenario:
		return fmt.Errorf("%w: a result of %s and one of %s", ErrMerge, sum.Scenario, res.Scenario)
	case len(res.Phases) != len(sum.Phases):
		return fmt.Errorf("%w: results of %d and %d phases", ErrMerge, len(sum.Phases), len(res.Phases))
	}
	sum.Merged += max(res.Merged, 1)
	sum.Started, sum.Ended = earlier(sum.Started, res.Started), Later(sum.Ended, res.Ended)
	sum.Interrupted = sum.Interrupted || res.Interrupted
	sum.Problems = append(sum.Problems, res.Problems...)
	sum.Warnings = append(sum.Warnings, res.Warnings...)
	sum.Options.Viewers += res.Options.Viewers
	for i := range sum.Phases {
		if err := sum.Phases[i].addPhase(&res.Phases[i]); err != nil {
			return err
		}
	}
	if err := sum.addConnects(res.Connects); err != nil {
		return err
	}
	var errs [2]error
	sum.Resumed, errs[0] = sum.Resumed.plus(res.Resumed)
	sum.Arrived, errs[1] = sum.Arrived.plus(res.Arrived)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	sum.Held = nil // the best step of a sum is not the sum of the best
	if sum.Memory == nil {
		sum.Memory = res.Memory
	} else if m := res.Memory; m != nil {
		both := *sum.Memory
		both.Viewers += m.Viewers
		both.Before, both.With = min(both.Before, m.Before), max(both.With, m.With)
		both.PerViewer = float64(both.With-both.Before) / float64(max(both.Viewers, 1))
		sum.Memory = &both
	}
	return nil
}

func (p *Phase) addPhase(q *Phase) (err error) {
	if p.Name != q.Name {
		return fmt.Errorf("%w: the phases %q and %q", ErrMerge, p.Name, q.Name)
	}
	if p.Latency, err = p.Latency.plus(q.Latency); err != nil {
		return err
	}
	if p.SendLate, err = p.SendLate.plus(q.SendLate); err != nil {
		return err
	}
	p.addSeries(q)
	p.Viewers += q.Viewers
	p.Rooms = max(p.Rooms, q.Rooms)
	p.Seconds = max(p.Seconds, q.Seconds)
	p.Published += q.Published
	p.Planned += q.Planned
	p.Expected += q.Expected
	p.Delivered += q.Delivered
	p.Lost += q.Lost
	p.Gone += q.Gone
	p.Early += q.Early
	p.Ends += q.Ends
	p.Add(q.Trouble)
	p.Spread = p.Spread.plus(q.Spread)
	p.Server = more(p.Server, q.Server)
	p.SetEach()
	p.Bench = p.Bench.plus(q.Bench)
	p.Busy = max(p.Busy, q.Busy)
	return nil
}

// addSeries adds the points that lie at the same time, to the interval.
func (p *Phase) addSeries(q *Phase) {
	if p.Interval <= 0 {
		return
	}
	shift := int(q.Started.Sub(p.Started).Seconds()/p.Interval + 0.5)
	p.Series = slices.Clone(p.Series)
	for i, b := range q.Series {
		at := i + shift
		if at < 0 || at >= len(p.Series) {
			continue
		}
		a := &p.Series[at]
		a.Delivered += b.Delivered
		// The percentiles of two sets lie between theirs; a viewer saw the
		// larger.
		a.P50, a.P99, a.Max = max(a.P50, b.P50), max(a.P99, b.P99), max(a.Max, b.Max)
		a.ServerCPU, a.ServerRSS = max(a.ServerCPU, b.ServerCPU), max(a.ServerRSS, b.ServerRSS)
		a.BenchCPU += b.BenchCPU
	}
}

// addConnects adds what has the same name, the first to the first and so on. A
// machine may have had no viewer to connect in a stage.
func (sum *Result) addConnects(connects []Connect) error {
	from := 0
	for i := range connects {
		same := func(c Connect) bool { return c.Name == connects[i].Name }
		at := slices.IndexFunc(sum.Connects[from:], same)
		if at < 0 {
			sum.Connects = append(sum.Connects, connects[i])
			continue
		}
		if err := sum.Connects[from+at].addConnect(&connects[i]); err != nil {
			return err
		}
		from += at + 1
	}
	return nil
}

func (c *Connect) addConnect(d *Connect) (err error) {
	if c.Join, err = c.Join.plus(d.Join); err != nil {
		return err
	}
	c.Wanted += d.Wanted
	c.Joined += d.Joined
	c.Failed += d.Failed
	c.Seconds = max(c.Seconds, d.Seconds)
	c.Server = more(c.Server, d.Server)
	c.SetEach()
	c.Bench = c.Bench.plus(d.Bench)
	return nil
}

// plus adds up two distributions.
func (d Distribution) plus(e Distribution) (Distribution, error) {
	a, err := d.Decode()
	if err != nil {
		return d, err
	}
	b, err := e.Decode()
	if err != nil {
		return d, err
	}
	all := NewHistogram()
	all.Merge(a)
	all.Merge(b)
	return Summarize(all), nil
}

// add adds another distribution to d.
func (d *Distribution) add(e Distribution) (err error) {
	*d, err = d.plus(e)
	return err
}

func (s Spread) plus(t Spread) Spread {
	return NewSpread(slices.Concat(s.Means, t.Means), slices.Concat(s.Worsts, t.Worsts))
}

func (u Usage) plus(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.Cores + v.Cores, u.RSSBefore + v.RSSBefore, u.RSSAfter + v.RSSAfter, u.RSSPeak + v.RSSPeak}
}

// more returns the usage of one process that was seen more of.
func more(a, b *Usage) *Usage {
	if a == nil || b != nil && b.CPU > a.CPU {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
