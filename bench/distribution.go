package bench

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// distribution reads a histogram's figures, and encodes it.
func distribution(h *hdrhistogram.Histogram) Distribution {
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

// decode returns the histogram that the figures were read from.
func (d Distribution) decode() (*hdrhistogram.Histogram, error) {
	if d.Histogram == "" {
		if d.Count > 0 {
			return nil, fmt.Errorf("a distribution of %d values without its histogram", d.Count)
		}
		return newHistogram(), nil
	}
	h, err := hdrhistogram.Decode([]byte(d.Histogram))
	if err != nil {
		return nil, fmt.Errorf("decode histogram: %w", err)
	}
	return h, nil
}
