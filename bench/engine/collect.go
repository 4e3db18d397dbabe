package engine

import (
	"cmp"
	"math"

	"lectern/bench/report"
)

// collect reads from the lanes what the phase was.
func (r *Runner) collect(out *report.Phase, finished int64) {
	var means, worsts []int64
	var all []*report.Histogram
	intervals := make([][]*report.Histogram, len(out.Series))
	r.crowd.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			if v.phase != l.phase {
				continue
			}
			collectViewer(out, v)
			if v.count > 0 && (v.membership == nil || !v.membership.returns) {
				means = append(means, int64(v.sum/uint64(v.count)))
				worsts = append(worsts, int64(v.worst))
			}
		}
		out.Early += l.early
		out.Ends += l.ends
		if l.first > 0 {
			out.Seconds = min(out.Seconds, float64(finished-l.first)/1e9)
		}
		all = append(all, l.latency.Parts...)
		for i, h := range l.latency.Parts[:min(len(l.latency.Parts), len(intervals))] {
			intervals[i] = append(intervals[i], h)
		}
	})
	out.Latency = report.Summarize(all...)
	out.Spread = report.NewSpread(means, worsts)
	for i, parts := range intervals {
		d := report.Summarize(parts...)
		out.Series[i].P50, out.Series[i].P99, out.Series[i].Max = d.P50, d.P99, d.Max
	}
	out.SetEach()
}

// collectViewer adds what one viewer saw.
func collectViewer(out *report.Phase, v *viewer) {
	expected := v.room.expected(span{v.from, cmp.Or(v.until, math.MaxUint32)})
	if v.membership != nil {
		expected -= min(expected, uint64(v.membership.announced))
	}
	if v.room.remote {
		expected = max(expected, uint64(v.count)) // unless it is known, what came is all there was
	}
	out.Expected += expected
	out.Delivered += uint64(v.count)
	t := v.stream.trouble(expected, uint64(v.count))
	if v.state == ended && !v.left {
		out.Gone++
		out.Lost += t.Missing
	}
	out.Add(t)
}
