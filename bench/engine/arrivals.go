package engine

import (
	"context"

	"lectern/bench/report"
)

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

// Arrived returns what came of [Runner.Arrive].
func (r *Runner) Arrived() (*report.Arrived, error) {
	out := &report.Arrived{History: r.crowd.classroom.History, Viewers: r.Joined()}
	err := r.crowd.lanes.do(func(l *lane) {
		report.Add(out, &l.arrived)
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
	for _, h := range r.hosts {
		out.Asked += h.requests()
	}
	return out, err
}
