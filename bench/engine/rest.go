package engine

import (
	"context"
	"time"

	"lectern/bench/report"
	"lectern/bench/usage"
)

// Rest watches the server for the duration that the options name, while nothing is
// published. The phase is in the result even if ctx ends.
func (r *Runner) Rest(ctx context.Context, name string) (p report.Phase, err error) {
	pid, duration := r.Options.PID, r.Options.Duration
	interval := max(minInterval, duration/phasePoints)
	p = report.Phase{Name: name, Started: time.Now(), Viewers: r.Joined(), Rooms: r.Options.Rooms, Interval: interval.Seconds()}
	sampler := usage.Start(pid, p.Started, interval, r.crowd.lanes.delivered)
	closeBar := r.show.bar(name, int64(duration), func() (int64, string) {
		now, _ := usage.ReadProcess(pid) // a process that has ended shows 0
		return int64(time.Since(p.Started)), report.Size(now.RSS)
	})
	err = sleep(ctx, duration)
	p.Server, p.Bench, p.Busy, p.Series = sampler.Finish()
	p.Seconds = time.Since(p.Started).Seconds()
	r.Result.Phases = append(r.Result.Phases, p)
	if p.Server == nil {
		closeBar("the server has ended")
		return p, usage.ErrNoProcess
	}
	closeBar(report.Size(p.Server.RSSAfter))
	return p, err
}
