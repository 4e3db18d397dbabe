package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/usage"
	"lectern/bench/workload"
)

// ErrNobody says that no viewer joined.
var ErrNobody = errors.New("bench: no viewer joined")

// Connect has n more viewers connect and join, and notes how that went.
func (r *Runner) Connect(ctx context.Context, name string, n int) (report.Connect, error) {
	lanes := r.crowd.lanes
	before, failed := lanes.count(countJoined), lanes.count(countFailed)
	closeBar := r.show.bar(name, int64(n), func() (int64, string) {
		return int64(lanes.count(countJoined) - before), fmt.Sprintf("%d failed", lanes.count(countFailed)-failed)
	})
	out, err := r.connect(ctx, name, n, r.Options.ConnectRate)
	closeBar(fmt.Sprintf("%s in %.2f s, %.0f a second", report.Count(out.Joined, "viewer"), out.Seconds, out.PerSecond))
	return out, err
}

// connect is Connect at a rate, while something else is shown.
func (r *Runner) connect(ctx context.Context, name string, n int, rate float64) (report.Connect, error) {
	lanes := r.crowd.lanes
	start := time.Now()
	sampler := usage.Start(r.Options.PID, start, time.Second, func() uint64 { return uint64(lanes.count(countJoined)) })
	joined, failed, lost := lanes.count(countJoined), lanes.count(countFailed), lanes.count(countLost)
	lanes.do(func(l *lane) { l.joins = report.Distribution{} })
	err := r.crowd.connect(ctx, n, rate)
	out := report.Connect{Name: name, Wanted: n, Seconds: time.Since(start).Seconds()}
	out.Server, out.Bench, _, _ = sampler.Finish()
	out.Joined = lanes.count(countJoined) - joined
	out.Failed = lanes.count(countFailed) - failed
	lanes.do(func(l *lane) { out.Join = report.Summarize(out.Join.Histogram, l.joins.Histogram) })
	out.SetEach()
	r.Result.Connects = append(r.Result.Connects, out)
	if out.Failed > 0 {
		r.Problem("%d of %s did not join", out.Failed, report.Count(n, "viewer"))
	}
	if lost := lanes.count(countLost) - lost; lost > 0 {
		r.Problem("%s lost the connection while others joined", report.Count(lost, "viewer"))
	}
	if err == nil && out.Joined == 0 {
		err = ErrNobody
	}
	return out, err
}

// Bring connects n more viewers, and makes sure that messages reach them.
func (r *Runner) Bring(ctx context.Context, name string, n int) error {
	if _, err := r.Connect(ctx, name, n); err != nil {
		return err
	}
	return r.Probe(ctx)
}

// Gather brings n viewers, waits for those of the other machines, and warms up.
func (r *Runner) Gather(ctx context.Context, name string, n int) error {
	if _, err := r.Connect(ctx, name, n); err != nil {
		return err
	}
	if _, err := r.meet(ctx, "joined", func(*Order) {}); err != nil {
		return err
	}
	if r.follows() {
		return r.awaitFirst(ctx)
	}
	if err := r.Probe(ctx); err != nil {
		return err
	}
	return r.warmUp(ctx)
}

// warmUp publishes what is not measured.
func (r *Runner) warmUp(ctx context.Context) error {
	if r.Options.Warmup <= 0 || len(r.hosts) == 0 {
		return ctx.Err()
	}
	p := Plan{Name: "warm-up", Rate: max(r.Options.Rate, 2/r.Options.Warmup.Seconds()), Duration: r.Options.Warmup, Drain: r.Options.Drain, warm: true}
	_, err := r.Phase(ctx, p)
	return err
}

// Drop closes all viewers' connections at once, and forgets them.
func (r *Runner) Drop() { r.crowd.drop() }

// Renew begins again with new rooms and n viewers: the server may have a backlog.
func (r *Runner) Renew(ctx context.Context, n int) error {
	r.crowd.drop()
	r.closeHosts()
	if err := r.openRooms(ctx); err != nil {
		return err
	}
	return r.Gather(ctx, "connect again", n)
}

// Joined returns how many viewers have joined since the last [Runner.Drop].
func (r *Runner) Joined() int { return r.crowd.lanes.count(countJoined) }

// Lost returns how many of them have lost the connection.
func (r *Runner) Lost() int { return r.crowd.lanes.count(countLost) }

// Speak has each host say n messages that are not measured, as fast as the server
// takes them.
func (r *Runner) Speak(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, max(r.Options.Timeout, r.Options.Duration))
	defer cancel()
	for _, h := range r.hosts {
		h.begin(stamp.Warm)
		out := h.publish(ctx, load{kind: stamp.Warm, start: r.clock.Now(), rate: workload.MaxRate, count: uint32(n)})
		err := h.err()
		if err == nil && out.count < uint32(n) {
			err = fmt.Errorf("the server took only %d of %s in time", out.count, report.Count(n, "message"))
		}
		if err != nil {
			return stageError{report.StagePublish, err}
		}
	}
	return nil
}

// probeEvery is the time between two messages that only show that the way is
// open.
const probeEvery = 100 * time.Millisecond

// Probe publishes until every viewer has seen something, so that each stream
// has a beginning before anything is counted. Viewers that see nothing within
// the timeout are a problem.
func (r *Runner) Probe(ctx context.Context) error {
	if len(r.hosts) == 0 {
		return nil
	}
	for _, h := range r.hosts {
		h.begin(stamp.Warm)
	}
	deadline := time.Now().Add(r.Options.Timeout)
	for {
		for _, h := range r.hosts {
			h.publish(ctx, load{kind: stamp.Warm, start: r.clock.Now(), rate: 1, count: 1})
		}
		if err := errors.Join(r.Broken(), sleep(ctx, probeEvery)); err != nil {
			return err
		}
		if r.crowd.lanes.silent() <= 0 {
			return nil
		}
		if time.Now().After(deadline) {
			break
		}
	}
	r.reportSilent()
	if r.crowd.lanes.count(countAnchored) == 0 {
		return fmt.Errorf("%w: nothing that was published reached any viewer", report.ErrFailed)
	}
	return nil
}

// awaitFirst waits until every viewer has got a message that others publish, or
// has waited for too long.
func (r *Runner) awaitFirst(ctx context.Context) error {
	if err := until(ctx, r.Options.Timeout, func() bool { return r.crowd.lanes.silent() <= 0 }); err != nil {
		return err
	}
	r.reportSilent()
	return nil
}

func (r *Runner) reportSilent() {
	if n := r.crowd.lanes.silent(); n > 0 {
		r.Problem("%s got nothing within %v of joining", report.Count(n, "viewer"), r.Options.Timeout)
		r.hostly.Merge(report.Fault{Who: report.WhoViewer, Stage: report.StageFirst, Reason: "no message in time", Count: n, Example: ""})
	}
}

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

// StopReading has the last n viewers that came stop reading. Phases do not count
// them any more.
func (r *Runner) StopReading(n int) {
	r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if int(v.index) >= r.crowd.started-n {
			v.stalls, v.reads = true, false
		}
	})
}

// ReadAgain has them go on.
func (r *Runner) ReadAgain() {
	r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if v.stalls && v.state == live {
			v.reads = true
			v.conn.Flush()
		}
	})
}

// Stalled returns what became of the n viewers that had stopped reading.
func (r *Runner) Stalled(n int) *report.Stalled {
	fate := &report.Stalled{Viewers: n, Closed: n}
	r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if !v.stalls || v.state == ended {
			return
		}
		fate.Closed--
		switch {
		case v.stream != nil && len(v.stream.gaps) > 0:
			fate.Skipped++
		case v.past:
			fate.CaughtUp++
		default:
			fate.Behind++
		}
	})
	return fate
}
