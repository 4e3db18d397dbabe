package engine

import (
	"context"
	"fmt"

	"lectern/bench/report"
)

// Arrivals has viewers join in the phase, with the history of their room. It needs
// a [Classroom] that is Late.
type Arrivals struct {
	Viewers int
}

// arrivals is what came of coming late, on one lane.
type arrivals struct {
	history report.Series // microseconds from connecting to the history
	live    report.Series // microseconds from connecting to the first live message

	got, truncated int    // histories
	bytes, largest uint64 // of histories
}

func (Arrivals) prepare(r *Runner) error {
	begun := r.clock.Now()
	return r.crowd.lanes.do(func(l *lane) {
		l.arrivals = arrivals{history: report.NewSeries(begun, 0), live: report.NewSeries(begun, 0)}
	})
}

// run returns when every viewer has got a live message, or the time for that is
// over.
func (a Arrivals) run(ctx context.Context, r *Runner, _ Plan) error {
	lanes := r.crowd.lanes
	if _, err := r.connect(ctx, "join late", a.Viewers, r.Options.ConnectRate); err != nil {
		return err
	}
	_ = until(ctx, r.Options.Timeout, func() bool { return lanes.count(countAlive) >= lanes.count(countJoined)-lanes.count(countLost) }) // the phase looks at ctx
	return nil
}

func (a Arrivals) figures(r *Runner) string {
	lanes := r.crowd.lanes
	return fmt.Sprintf("%s of %s joined, %s live", report.Grouped(int64(lanes.count(countJoined))), report.Count(a.Viewers, "viewer"), report.Grouped(int64(lanes.count(countAlive))))
}

// Arrived returns what came of the [Arrivals].
func (r *Runner) Arrived() (*report.Arrived, error) {
	out := &report.Arrived{History: r.crowd.classroom.History, Viewers: r.Joined()}
	histories, live := report.NewHistogram(), report.NewHistogram()
	err := r.crowd.lanes.do(func(l *lane) {
		out.Histories += l.arrivals.got
		out.Truncated += l.arrivals.truncated
		out.Bytes += l.arrivals.bytes
		out.Largest = max(out.Largest, l.arrivals.largest)
		histories.Merge(l.arrivals.history.Merged())
		live.Merge(l.arrivals.live.Merged())
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
	out.Told, out.Live = report.Summarize(histories), report.Summarize(live)
	for _, h := range r.hosts {
		out.Asked += h.requests()
	}
	return out, err
}
