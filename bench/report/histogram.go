package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// HistMax is the longest time that a [Histogram] tells apart, in microseconds. What
// takes longer counts as this hour.
const HistMax = 3600 * 1e6

// A Histogram counts times in microseconds, right to a thousandth.
type Histogram struct{ *hdrhistogram.Histogram }

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram { return &Histogram{hdrhistogram.New(1, HistMax, 3)} }

// Record counts a time.
func (h *Histogram) Record(micros int64) { _ = h.RecordValue(min(max(micros, 0), HistMax)) }

// Merge adds the times of another histogram.
func (h *Histogram) Merge(from *Histogram) { h.Histogram.Merge(from.Histogram) }

// MarshalText encodes the histogram as HdrHistogram V2, compressed, base 64.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText decodes what MarshalText wrote.
func (h *Histogram) UnmarshalText(text []byte) (err error) {
	if h.Histogram, err = hdrhistogram.Decode(text); err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	return nil
}

// A Distribution is a histogram of times in microseconds, with its figures.
type Distribution struct {
	Count     int64      `json:"count"`
	Mean      float64    `json:"mean_us"`
	P50       int64      `json:"p50_us"`
	P90       int64      `json:"p90_us"`
	P99       int64      `json:"p99_us"`
	P999      int64      `json:"p99_9_us"`
	Max       int64      `json:"max_us"`
	Histogram *Histogram `json:"histogram,omitempty"` // nil if the count is 0
}

// Record counts a time. The figures are read later, by [Summarize] or [Add].
func (d *Distribution) Record(micros int64) {
	if d.Histogram == nil {
		d.Histogram = NewHistogram()
	}
	d.Histogram.Record(micros)
}

// Summarize reads the figures of some histograms together. Any of them may be nil.
func Summarize(parts ...*Histogram) (d Distribution) {
	all := NewHistogram()
	for _, h := range parts {
		if h != nil {
			all.Merge(h)
		}
	}
	if all.TotalCount() == 0 {
		return d
	}
	return Distribution{
		Count: all.TotalCount(), Mean: all.Mean(), P50: all.ValueAtPercentile(50), P90: all.ValueAtPercentile(90),
		P99: all.ValueAtPercentile(99), P999: all.ValueAtPercentile(99.9), Max: all.Max(), Histogram: all,
	}
}

// A Series is a histogram for each interval of time.
type Series struct {
	Start    int64        // nanoseconds of the run's clock
	Parts    []*Histogram // by interval; nil where nothing was recorded
	interval int64        // nanoseconds
	until    int64        // when the current interval ends
	current  *Histogram
}

// NewSeries returns a series that begins at start. Both times are nanoseconds.
func NewSeries(start, interval int64) Series {
	return Series{Start: start, interval: interval, until: math.MinInt64}
}

// Record counts a time in microseconds that was measured at now, in nanoseconds of
// the run's clock.
func (s *Series) Record(now, micros int64) {
	if now >= s.until {
		s.turn(now)
	}
	s.current.Record(micros)
}

// turn makes the interval of now the current one.
func (s *Series) turn(now int64) {
	at := int(max(now-s.Start, 0) / s.interval)
	s.until = s.Start + int64(at+1)*s.interval
	if more := at + 1 - len(s.Parts); more > 0 {
		s.Parts = append(s.Parts, make([]*Histogram, more)...)
	}
	if s.Parts[at] == nil {
		s.Parts[at] = NewHistogram()
	}
	s.current = s.Parts[at]
}

// Spread is how equal the viewers were served; all in microseconds.
type Spread struct {
	Fastest int64   `json:"fastest_mean_us"` // mean latency of the best served viewer
	Slowest int64   `json:"slowest_mean_us"` // and of the worst
	Means   []int64 `json:"means_us"`        // means of viewers, ascending, at most spreadPoints of them
	Worsts  []int64 `json:"maxima_us"`       // largest latencies of viewers, ascending
}

// spreadPoints is how many viewers stand for all in a Spread.
const spreadPoints = 200

// NewSpread returns the spread of viewers' mean and largest latencies, in
// microseconds and in any order. It sorts both.
func NewSpread(means, worsts []int64) Spread {
	if len(means) == 0 {
		return Spread{}
	}
	slices.Sort(means)
	slices.Sort(worsts)
	return Spread{means[0], means[len(means)-1], thin(means), thin(worsts)}
}

// thin picks spreadPoints of the values at equal distances, first and last
// included.
func thin(values []int64) []int64 {
	if len(values) <= spreadPoints {
		return values
	}
	out := make([]int64, spreadPoints)
	for i := range out {
		out[i] = values[i*(len(values)-1)/(spreadPoints-1)]
	}
	return out
}
