package report

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
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
	for i := range sum.Phases {
		p, q := &sum.Phases[i], &res.Phases[i]
		if p.Name != q.Name {
			return fmt.Errorf("%w: the phases %q and %q", ErrMerge, p.Name, q.Name)
		}
		p.addSeries(q)
		Add(p, q)
		p.Add(q.Trouble)
		p.SetEach()
	}
	sum.addConnects(res.Connects)
	sum.Merged += max(res.Merged, 1)
	if res.Started.Before(sum.Started) {
		sum.Started = res.Started
	}
	sum.Ended = Later(sum.Ended, res.Ended)
	sum.Interrupted = sum.Interrupted || res.Interrupted
	sum.Problems = append(sum.Problems, res.Problems...)
	sum.Warnings = append(sum.Warnings, res.Warnings...)
	sum.Options.Viewers += res.Options.Viewers
	sum.Held = nil // the best step of a sum is not the sum of the best
	if sum.Resumed = added(sum.Resumed, res.Resumed); sum.Resumed != nil {
		sum.Resumed.SetEach()
		sum.Resumed.CPUEach = 0 // each has taken the server's CPU for its own
	}
	sum.Arrived = added(sum.Arrived, res.Arrived)
	if sum.Memory = added(sum.Memory, res.Memory); sum.Memory != nil {
		sum.Memory.PerViewer = float64(sum.Memory.With-sum.Memory.Before) / float64(max(sum.Memory.Viewers, 1))
	}
	return nil
}

// addSeries adds the points that lie at the same time, to the interval.
func (p *Phase) addSeries(q *Phase) {
	if p.Interval <= 0 {
		return
	}
	shift := int(q.Started.Sub(p.Started).Seconds()/p.Interval + 0.5)
	p.Series = slices.Clone(p.Series)
	for i := range q.Series {
		if at := i + shift; at >= 0 && at < len(p.Series) {
			Add(&p.Series[at], &q.Series[i])
		}
	}
}

// addConnects adds what has the same name, the first to the first and so on. A
// machine may have had no viewer to connect in a stage.
func (sum *Result) addConnects(connects []Connect) {
	from := 0
	for i := range connects {
		same := func(c Connect) bool { return c.Name == connects[i].Name }
		at := slices.IndexFunc(sum.Connects[from:], same)
		if at < 0 {
			sum.Connects = append(sum.Connects, connects[i])
			continue
		}
		c := &sum.Connects[from+at]
		Add(c, &connects[i])
		c.SetEach()
		from += at + 1
	}
}

// added returns a copy of a to which b was added, or of the one that there is.
func added[T any](a, b *T) *T {
	one := cmp.Or(a, b)
	if one == nil {
		return nil
	}
	both := *one
	if a != nil && b != nil {
		Add(&both, b)
	}
	return &both
}

// Add adds the fields of one struct to those of another, as their tags say: sum, max
// or min. Of two usages of the same process, most takes the one that saw most. Fields
// without a tag stay as they are.
func Add[T any](to, from *T) {
	a, b := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		switch how := a.Type().Field(i).Tag.Get("merge"); how {
		case "":
		case "most":
			if x.IsNil() || !y.IsNil() && y.Interface().(*Usage).CPU > x.Interface().(*Usage).CPU {
				x.Set(y)
			}
		case "sum":
			sum(x, y)
		default:
			less := x.CanInt() && x.Int() < y.Int() || x.CanUint() && x.Uint() < y.Uint() || x.CanFloat() && x.Float() < y.Float()
			if less == (how == "max") {
				x.Set(y)
			}
		}
	}
}

// sum adds y to x.
func sum(x, y reflect.Value) {
	switch v := x.Addr().Interface().(type) {
	case *Distribution:
		*v = Summarize(v.Histogram, y.Interface().(Distribution).Histogram)
	case *Spread:
		other := y.Interface().(Spread)
		*v = NewSpread(slices.Concat(v.Means, other.Means), slices.Concat(v.Worsts, other.Worsts))
	case *Usage:
		other := y.Interface().(Usage)
		Add(v, &other)
	case *int, *int64:
		x.SetInt(x.Int() + y.Int())
	case *uint64:
		*v += y.Uint()
	case *float64:
		*v += y.Float()
	default:
		panic("bench: cannot add up " + x.Type().String()) // a wrong tag
	}
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
