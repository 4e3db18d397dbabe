package bench

import (
	"context"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// Stall has a share of the viewers stop reading for Options.Duration, and
// compares what the others see with what they saw before, when they were
// alone.
type Stall struct {
	Share float64 // of the viewers; default 0.5
}

func (Stall) name() string { return "stall" }

func (Stall) defaults() workload.Options {
	return workload.Options{Viewers: 2000, Rate: 50, Size: 4096, Duration: 8 * time.Second}
}

func (s Stall) check(o workload.Options) error {
	workload.SetDefault(&s.Share, 0.5)
	n := int(float64(o.Viewers) * s.Share)
	switch {
	case !(s.Share > 0 && s.Share < 1):
		return workload.Refuse("a share of %v that stalls: it takes more than 0 and less than 1", s.Share)
	case n < 1 || n == o.Viewers:
		return workload.Refuse("a share of %v of %d viewers: some must stall and some must read", s.Share, o.Viewers)
	case len(o.RoomNames) > 0:
		return workload.Refuse("stall needs its own hosts: it cannot join a room")
	}
	return nil
}

func (s Stall) run(ctx context.Context, r *runner) error {
	workload.SetDefault(&s.Share, 0.5)
	stalled := int(float64(r.options.Viewers) * s.Share)
	readers := func(v *viewer) bool { return !v.stalls }
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.gather(ctx, "readers", r.options.Viewers-stalled); err != nil {
		return err
	}
	p := r.plan("readers alone")
	p.watch = readers
	if _, err := r.measure(ctx, p); err != nil || ctx.Err() != nil {
		return err
	}
	seen := r.crowd.started
	if err := r.bring(ctx, "stalling", stalled); err != nil {
		return err
	}
	err := r.each(func(v *viewer) {
		if int(v.index) >= seen {
			v.stalls, v.reads = true, false
		}
	})
	if err != nil {
		return err
	}
	p.name = "others stalled"
	if _, err := r.measure(ctx, p); err != nil || ctx.Err() != nil {
		return err
	}
	err = r.each(func(v *viewer) {
		if v.stalls && v.state == live {
			v.reads = true
			v.conn.Flush()
		}
	})
	if err != nil {
		return err
	}
	p.name, p.duration = "after", max(r.options.Duration/4, time.Second)
	if _, err := r.measure(ctx, p); err != nil {
		return err
	}
	return r.aftermath(stalled)
}

// each runs f for every viewer, on its lane.
func (r *runner) each(f func(*viewer)) error {
	return r.crowd.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			f(v)
		}
	})
}

// aftermath notes what became of the stalled viewers. What the server did
// with them is its policy, and no problem.
func (r *runner) aftermath(stalled int) error {
	fate := report.Stalled{Viewers: stalled, Closed: stalled}
	err := r.each(func(v *viewer) {
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
	r.result.Stalled = &fate
	return err
}
