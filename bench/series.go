package bench

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of the histograms, in microseconds: what takes longer counts as
// an hour. Three digits are right to a thousandth.
const (
	histMin    = 1
	histMax    = 3600 * 1e6
	histDigits = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(histMin, histMax, histDigits) }

// A series is a histogram for each interval of time.
type series struct {
	start    int64 // nanoseconds of the run's clock
	interval int64 // nanoseconds; 0 for one interval that never ends
	until    int64 // when the current interval ends
	current  *hdrhistogram.Histogram
	parts    []*hdrhistogram.Histogram // by interval; nil where nothing was recorded
}

func newSeries(start, interval int64) series {
	return series{start: start, interval: interval, until: math.MinInt64}
}

// record notes a value that came at now, in nanoseconds of the run's clock.
func (s *series) record(now, micros int64) {
	if now >= s.until {
		s.turn(now)
	}
	_ = s.current.RecordValue(min(max(micros, 0), histMax))
}

// turn makes the interval of now the current one.
func (s *series) turn(now int64) {
	at := 0
	s.until = math.MaxInt64
	if s.interval > 0 {
		at = int(max(now-s.start, 0) / s.interval)
		s.until = s.start + int64(at+1)*s.interval
	}
	for len(s.parts) <= at {
		s.parts = append(s.parts, nil)
	}
	if s.parts[at] == nil {
		s.parts[at] = newHistogram()
	}
	s.current = s.parts[at]
}

// add takes a histogram over, as of the first interval.
func (s *series) add(h *hdrhistogram.Histogram) {
	s.turn(s.start)
	s.current.Merge(h)
}

// merged returns one histogram of all intervals.
func (s *series) merged() *hdrhistogram.Histogram {
	all := newHistogram()
	for _, h := range s.parts {
		if h != nil {
			all.Merge(h)
		}
	}
	return all
}
