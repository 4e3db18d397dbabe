package engine

import (
	"context"

	"lectern/bench/report"
)

// arrivals is what came of coming late, on one lane.
type arrivals struct {
	history *report.Histogram // from connecting to the history
	live    *report.Histogram // from connecting to the first live message

	got, truncated int    // histories
	bytes, largest uint64 // of histories
}

// Arrive has all viewers of the options join in the phase, with the history of their
// room. It returns when each has got a live message, or the time for that is over. It
// needs a [Classroom] that is Late.
func (r *Runner) Arrive(ctx context.Context, _ Plan) error {
	lanes := r.crowd.lanes
	if _, err := r.connect(ctx, "join late", r.Options.Viewers, r.Options.ConnectRate); err != nil {
		return err
	}
	_ = until(ctx, r.Options.Timeout, func() bool { return lanes.count(countAlive) >= lanes.count(countJoined)-lanes.count(countLost) }) // the phase looks at ctx
	return nil
}

// Arrived returns what came of the [Arrivals].
func (r *Runner) Arrived() (*report.Arrived, error) {
	out := &report.Arrived{History: r.crowd.classroom.History, Viewers: r.Joined()}
	var histories, live []*report.Histogram
	err := r.crowd.lanes.do(func(l *lane) {
		out.Histories += l.arrivals.got
		out.Truncated += l.arrivals.truncated
		out.Bytes += l.arrivals.bytes
		out.Largest = max(out.Largest, l.arrivals.largest)
		histories, live = append(histories, l.arrivals.history), append(live, l.arrivals.live)
		for _, v := range l.viewers {
			if v.numbered {
				out.Numbered++
			}
			if v.state != ended && v.membership.waits && !r.Result.Interrupted {
				l.faults.Note(v.who(), report.StageHistory, "no answer in time", "")
				v.membership.waits = false // once is enough
			}
		}
	})
	out.Told, out.Live = report.Summarize(histories...), report.Summarize(live...)
	for _, h := range r.hosts {
		out.Asked += h.requests()
	}
	return out, err
}
