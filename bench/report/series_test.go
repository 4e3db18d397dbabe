package report

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHistogramAgreesWithSorting compares every figure with the exact one.
func TestHistogramAgreesWithSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() int64{
		"even":      func() int64 { return rng.Int64N(1_000_000) },
		"long tail": func() int64 { return int64(rng.ExpFloat64() * rng.ExpFloat64() * 20_000) },
		"tiny":      func() int64 { return rng.Int64N(5) },
		"one stall": func() int64 { return 1000 + rng.Int64N(2)*rng.Int64N(2)*1_000_000 },
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSeries(0, 1e9)
			values := make([]int64, 50_000)
			for i := range values {
				values[i] = draw()
				s.Record(int64(i)*1e6, values[i]) // over 50 intervals
			}
			slices.Sort(values)
			d := Summarize(s.Merged())
			if d.Count != int64(len(values)) || len(s.Parts) != 50 {
				t.Fatalf("%d values in %d intervals", d.Count, len(s.Parts))
			}
			exact := func(p float64) int64 { return values[int(p/100*float64(len(values)))-1] }
			for _, f := range []struct {
				name      string
				got, want int64
			}{
				{"p50", d.P50, exact(50)}, {"p90", d.P90, exact(90)}, {"p99", d.P99, exact(99)}, {"p99.9", d.P999, exact(99.9)}, {"max", d.Max, exact(100)},
			} {
				if tolerance := max(f.want/1000, 1); f.got < f.want-tolerance || f.got > f.want+tolerance {
					t.Errorf("%s is %d, exactly %d", f.name, f.got, f.want)
				}
			}
			back, err := d.Decode()
			if err != nil || !back.Equals(s.Merged()) {
				t.Errorf("the encoded histogram is another: %v", err)
			}
		})
	}
}

func TestSeriesBounds(t *testing.T) {
	s := NewSeries(1000, 100)
	s.Record(900, -5) // before its start
	s.Record(1000, HistMax+1)
	s.Record(1399, 1)
	if len(s.Parts) != 4 || s.Parts[0].TotalCount() != 2 || s.Parts[1] != nil || s.Parts[3].TotalCount() != 1 {
		t.Errorf("%d parts", len(s.Parts))
	}
	if m := s.Merged(); m.Min() != 0 || m.Max() < HistMax {
		t.Errorf("from %d to %d", m.Min(), m.Max())
	}
}

func TestThin(t *testing.T) {
	values := make([]int64, 12345)
	for i := range values {
		values[i] = int64(i)
	}
	out := thin(values)
	if len(out) != spreadPoints || out[0] != 0 || out[len(out)-1] != 12344 || !slices.IsSorted(out) {
		t.Errorf("%d points from %d to %d", len(out), out[0], out[len(out)-1])
	}
}
