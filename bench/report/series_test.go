package report

import (
	"errors"
	"slices"
	"testing"
)

// TestHistogramsSurviveTheFile has a series over many intervals summed up, written
// and read again.
func TestHistogramsSurviveTheFile(t *testing.T) {
	s := NewSeries(0, 1e9)
	for i := range int64(50_000) {
		s.Record(i*1e6, 1+i%1000)
	}
	d := Summarize(s.Parts...)
	if d.Count != 50_000 || len(s.Parts) != 50 || d.P50 != 500 || d.P99 != 990 || d.Max != 1000 {
		t.Errorf("%d intervals, %+v", len(s.Parts), d)
	}
	text, err := d.Histogram.MarshalText()
	back := new(Histogram)
	if err := errors.Join(err, back.UnmarshalText(text)); err != nil || !back.Equals(d.Histogram.Histogram) {
		t.Errorf("the encoded histogram is another: %v", err)
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
	if m := Summarize(s.Parts...).Histogram; m.Min() != 0 || m.Max() < HistMax {
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
