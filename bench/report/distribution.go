package report

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Summarize reads a histogram's figures, and encodes it.
func Summarize(h *hdrhistogram.Histogram) Distribution {
	d := Distribution{Count: h.TotalCount()}
	if d.Count == 0 {
		return d
	}
	d.Mean = h.Mean()
	d.P50 = h.ValueAtPercentile(50)
	d.P90 = h.ValueAtPercentile(90)
	d.P99 = h.ValueAtPercentile(99)
	d.P999 = h.ValueAtPercentile(99.9)
	d.Max = h.Max()
	if encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		d.Histogram = string(encoded)
	}
	return d
}

// Decode returns the histogram that the figures were read from.
func (d Distribution) Decode() (*hdrhistogram.Histogram, error) {
	if d.Histogram == "" {
		if d.Count > 0 {
			return nil, fmt.Errorf("a distribution of %d values without its histogram", d.Count)
		}
		return NewHistogram(), nil
	}
	h, err := hdrhistogram.Decode([]byte(d.Histogram))
	if err != nil {
		return nil, fmt.Errorf("decode histogram: %w", err)
	}
	return h, nil
}

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
