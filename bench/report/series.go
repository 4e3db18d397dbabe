package report

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of the histograms, in microseconds: what takes longer counts as
// an hour. Three digits are right to a thousandth.
const (
	histMin    = 1
	HistMax    = 3600 * 1e6
	histDigits = 3
)

// NewHistogram returns an empty histogram of microseconds.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(histMin, HistMax, histDigits) }

// A Series is a histogram for each interval of time.
type Series struct {
	Start    int64 // nanoseconds of the run's clock
	interval int64 // nanoseconds; 0 for one interval that never ends
	until    int64 // when the current interval ends
	current  *hdrhistogram.Histogram
	Parts    []*hdrhistogram.Histogram // by interval; nil where nothing was recorded
}

// NewSeries returns a series that begins at start. Both times are nanoseconds; an
// interval of 0 never ends.
func NewSeries(start, interval int64) Series {
	return Series{Start: start, interval: interval, until: math.MinInt64}
}

// Record notes a value that came at now, in nanoseconds of the run's clock.
func (s *Series) Record(now, micros int64) {
	if now >= s.until {
		s.turn(now)
	}
	_ = s.current.RecordValue(min(max(micros, 0), HistMax))
}

// turn makes the interval of now the current one.
func (s *Series) turn(now int64) {
	at := 0
	s.until = math.MaxInt64
	if s.interval > 0 {
		at = int(max(now-s.Start, 0) / s.interval)
		s.until = s.Start + int64(at+1)*s.interval
	}
	for len(s.Parts) <= at {
		s.Parts = append(s.Parts, nil)
	}
	if s.Parts[at] == nil {
		s.Parts[at] = NewHistogram()
	}
	s.current = s.Parts[at]
}

// Add takes a histogram over, as of the first interval.
func (s *Series) Add(h *hdrhistogram.Histogram) {
	s.turn(s.Start)
	s.current.Merge(h)
}

// Merged returns one histogram of all intervals.
func (s *Series) Merged() *hdrhistogram.Histogram {
	all := NewHistogram()
	for _, h := range s.Parts {
		if h != nil {
			all.Merge(h)
		}
	}
	return all
}
