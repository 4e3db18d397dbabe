package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/workload"
)

// Stall has a share of the viewers stop reading for Options.Duration, and
// compares what the others see with what they saw before, when they were
// alone.
type Stall struct {
	Share float64 // of the viewers; default 0.5
}

// Name returns the scenario's name.
func (Stall) Name() string { return "stall" }

// Defaults returns the scenario's own defaults.
func (Stall) Defaults() workload.Options {
	return workload.Options{Viewers: 2000, Rate: 50, Size: 4096, Duration: 8 * time.Second}
}

// stalled returns how many viewers stop.
func (s *Stall) stalled(o workload.Options) int {
	workload.SetDefault(&s.Share, 0.5)
	return int(float64(o.Viewers) * s.Share)
}

// Prepare checks the options.
func (s Stall) Prepare(o *workload.Options) (setup engine.Setup, err error) {
	switch n := s.stalled(*o); {
	case !(s.Share > 0 && s.Share < 1):
		err = workload.Refuse("a share of %v that stalls: it takes more than 0 and less than 1", s.Share)
	case n < 1 || n == o.Viewers:
		err = workload.Refuse("a share of %v of %d viewers: some must stall and some must read", s.Share, o.Viewers)
	case len(o.RoomNames) > 0:
		err = workload.Refuse("stall needs its own hosts: it cannot join a room")
	}
	return setup, err
}

// Run measures the readers alone, beside viewers that have stopped, and when those
// read again. What the server does with them is its policy, and no problem.
func (s Stall) Run(ctx context.Context, r *engine.Runner) error {
	stalled := s.stalled(r.Options)
	p := r.Plan("readers alone")
	if err := r.Gather(ctx, "readers", r.Options.Viewers-stalled); err != nil {
		return err
	}
	if err := measure(ctx, r, p); err != nil {
		return err
	}
	if err := r.Bring(ctx, "stalling", stalled); err != nil {
		return err
	}
	r.StopReading(stalled)
	p.Name = "others stalled"
	if err := measure(ctx, r, p); err != nil {
		return err
	}
	r.ReadAgain()
	p.Name, p.Duration = "after", max(r.Options.Duration/4, time.Second)
	if err := measure(ctx, r, p); err != nil {
		return err
	}
	r.Result.Stalled = r.Stalled(stalled)
	return nil
}
