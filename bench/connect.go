package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/usage"
)

// ErrNobody says that no viewer joined.
var ErrNobody = errors.New("bench: no viewer joined")

// connect has n more viewers connect and join, and notes how that went.
func (r *runner) connect(ctx context.Context, name string, n int) (report.Connect, error) {
	bar := r.show.bar(name, int64(n))
	before, failed := r.crowd.lanes.joined(), r.crowd.lanes.failed()
	watch := repeat(100*time.Millisecond, func() {
		bar.set(int64(r.crowd.lanes.joined()-before), fmt.Sprintf("%d failed", r.crowd.lanes.failed()-failed))
	})
	out, err := r.connectQuietly(ctx, name, n)
	watch()
	bar.close(fmt.Sprintf("%s in %.2f s, %.0f a second", report.Count(out.Joined, "viewer"), out.Seconds, out.PerSecond))
	return out, err
}

// connectQuietly is connect, while something else is shown.
func (r *runner) connectQuietly(ctx context.Context, name string, n int) (report.Connect, error) {
	c := r.crowd
	start := time.Now()
	sampler := usage.Start(r.options.PID, start, time.Second, func() uint64 { return uint64(c.lanes.joined()) })
	joinedBefore, failedBefore, lostBefore, unmadeBefore := c.lanes.joined(), c.lanes.failed(), c.lanes.lost(), c.unmade
	begin := r.clock.now()
	if err := c.lanes.do(func(l *lane) { l.joins = report.NewSeries(begin, 0) }); err != nil {
		return report.Connect{}, err
	}
	err := c.connect(ctx, n, r.options.ConnectRate)
	out := report.Connect{Name: name, Wanted: n, Seconds: time.Since(start).Seconds()}
	out.Server, out.Bench, _, _ = sampler.Finish()
	out.Joined = c.lanes.joined() - joinedBefore
	out.Failed = c.lanes.failed() - failedBefore + c.unmade - unmadeBefore
	joins := report.NewHistogram()
	err = errors.Join(err, c.lanes.do(func(l *lane) { joins.Merge(l.joins.Merged()) }))
	out.Join = report.Summarize(joins)
	out.PerSecond = float64(out.Joined) / out.Seconds
	if out.Server != nil && out.Joined > 0 {
		out.CPUEach = out.Server.CPU * 1e6 / float64(out.Joined)
	}
	r.result.Connects = append(r.result.Connects, out)
	if out.Failed > 0 {
		r.problem("%d of %s did not join", out.Failed, report.Count(n, "viewer"))
	}
	if lost := c.lanes.lost() - lostBefore; lost > 0 {
		r.problem("%s lost the connection while others joined", report.Count(lost, "viewer"))
	}
	if err == nil && out.Joined == 0 {
		err = ErrNobody
	}
	return out, err
}

// probeEvery is the time between two messages that only show that the way is
// open.
const probeEvery = 100 * time.Millisecond

// probe publishes until every viewer has seen something, so that each stream
// has a beginning before anything is counted. Viewers that see nothing within
// the timeout are a problem.
func (r *runner) probe(ctx context.Context) error {
	c := r.crowd
	if len(r.hosts) == 0 {
		return nil
	}
	for _, h := range r.hosts {
		h.begin(stamp.Warm)
	}
	deadline := time.Now().Add(r.options.Timeout)
	for {
		for _, h := range r.hosts {
			h.publish(ctx, load{kind: stamp.Warm, start: r.clock.now(), rate: 1, count: 1})
			if err := h.err(); err != nil {
				return stageError{report.StagePublish, err}
			}
		}
		if err := sleep(ctx, probeEvery); err != nil {
			return err
		}
		if r.silent() <= 0 {
			return nil
		}
		if time.Now().After(deadline) {
			break
		}
	}
	r.reportSilent()
	if c.lanes.anchored() == 0 {
		return fmt.Errorf("%w: nothing that was published reached any viewer", report.ErrFailed)
	}
	return nil
}

// silent returns how many viewers are there and have not got a message yet.
func (r *runner) silent() int { return r.crowd.lanes.present() - r.crowd.lanes.anchored() }

func (r *runner) reportSilent() {
	if n := r.silent(); n > 0 {
		r.problem("%s got nothing within %v of joining", report.Count(n, "viewer"), r.options.Timeout)
		r.hostly.Merge(report.Fault{Who: report.WhoViewer, Stage: report.StageFirst, Reason: "no message in time", Count: n, Example: ""})
	}
}

// repeat calls f at an interval until the function that it returns is called.
func repeat(interval time.Duration, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
