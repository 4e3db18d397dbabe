package bench

import (
	"context"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// Fanout publishes at a fixed rate to viewers who all read.
type Fanout struct {
	Stages []Ramp // how the number of viewers changes over time; default: all are there from the beginning
}

func (Fanout) name() string { return "fanout" }

func (f Fanout) defaults() workload.Options {
	o := workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 10 * time.Second}
	if len(f.Stages) > 0 {
		o.Viewers = peak(f.Stages)
		_, o.Duration = total(f.Stages)
	}
	return o
}

func (f Fanout) check(o workload.Options) error {
	if d := f.defaults(); len(f.Stages) > 0 && (o.Viewers != d.Viewers || o.Duration != d.Duration) {
		return workload.Refuse("stages say how many viewers there are and for how long: nothing else may")
	}
	return checkStages(f.Stages)
}

func (f Fanout) run(ctx context.Context, r *runner) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if r.team != nil {
		if err := r.team.start(r); err != nil {
			return err
		}
	}
	if len(f.Stages) > 0 {
		return f.ramp(ctx, r)
	}
	if err := r.gather(ctx, "connect", r.options.Viewers); err != nil {
		return err
	}
	_, err := r.measure(ctx, r.plan("fanout"))
	return err
}

// awaitFirst waits until every viewer has got a message of another machine's, or
// has waited for too long.
func (r *runner) awaitFirst(ctx context.Context) error {
	deadline := time.Now().Add(r.options.Timeout)
	for r.silent() > 0 && time.Now().Before(deadline) {
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	r.reportSilent()
	return nil
}

// bring connects n more viewers, and makes sure that messages reach them.
func (r *runner) bring(ctx context.Context, name string, n int) error {
	if _, err := r.connect(ctx, name, n); err != nil {
		return err
	}
	return r.probe(ctx)
}

// gather brings n viewers, here and on the other machines of the run, and warms up.
func (r *runner) gather(ctx context.Context, name string, n int) error {
	if _, err := r.connect(ctx, name, n); err != nil {
		return err
	}
	if _, err := r.together(ctx, "joined", func(*order) {}); err != nil {
		return err
	}
	if r.member != nil {
		return r.awaitFirst(ctx)
	}
	if err := r.probe(ctx); err != nil {
		return err
	}
	return r.warmUp(ctx)
}

// plan returns the phase that the options ask for.
func (r *runner) plan(name string) plan {
	return plan{name: name, rate: r.options.Rate, duration: r.options.Duration, drain: r.options.Drain}
}

// warmUp publishes what is not measured.
func (r *runner) warmUp(ctx context.Context) error {
	if r.options.Warmup <= 0 || len(r.hosts) == 0 {
		return ctx.Err()
	}
	rate := max(r.options.Rate, 2/r.options.Warmup.Seconds())
	_, err := r.phase(ctx, plan{name: "warm-up", rate: rate, duration: r.options.Warmup, warm: true, drain: r.options.Drain})
	return err
}

// measure runs a phase, keeps it in the result and judges it.
func (r *runner) measure(ctx context.Context, p plan) (report.Phase, error) {
	out, err := r.phase(ctx, p)
	r.result.Phases = append(r.result.Phases, out)
	if ctx.Err() != nil {
		r.result.Interrupted = true // so it is no fault that less was published
	}
	r.judgePhase(out)
	if r.options.PID != 0 && out.Server == nil {
		r.problem("%s: the server's process %d has ended, or cannot be read any more", p.name, r.options.PID)
	}
	r.suspect(out)
	return out, err
}
