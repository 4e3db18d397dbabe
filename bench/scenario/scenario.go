// Package scenario has the kinds of load that `lectern bench` can make. Each says
// which phases there are, what viewers do in them, and what is judged. Package
// engine carries them out.
package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/usage"
	"lectern/bench/workload"
)

// measure measures a phase, and ends the scenario if the run was interrupted.
func measure(ctx context.Context, r *engine.Runner, p engine.Plan) error {
	if _, err := r.Measure(ctx, p); err != nil {
		return err
	}
	return ctx.Err()
}

// Storm has all viewers connect and join as fast as the server takes them.
type Storm struct {
	Again int // how often all drop and come back at once; default 0
}

// Name returns the scenario's name.
func (Storm) Name() string { return "storm" }

// Defaults returns the scenario's own defaults.
func (Storm) Defaults() workload.Options {
	return workload.Options{Viewers: 10000, Rate: 10, Size: 256, Duration: time.Second}
}

// Prepare checks the options.
func (s Storm) Prepare(o *workload.Options) (engine.Setup, error) {
	if s.Again < 0 || s.Again > 100 {
		return engine.Setup{}, workload.Refuse("%d times again: it takes 0 to 100", s.Again)
	}
	return engine.Setup{Connections: o.Viewers * (1 + s.Again)}, nil
}

// Run has all come, and come again.
func (s Storm) Run(ctx context.Context, r *engine.Runner) error {
	if err := r.Bring(ctx, "storm", r.Options.Viewers); err != nil {
		return err
	}
	for range s.Again {
		r.Drop()
		if err := r.Bring(ctx, "all again", r.Options.Viewers); err != nil {
			return err
		}
	}
	return nil
}

// Idle has viewers sit there, and reads the server's memory.
type Idle struct{}

// settleTime is how long a server may take to tidy up before its memory is
// read.
const settleTime = time.Second

// Name returns the scenario's name.
func (Idle) Name() string { return "idle" }

// Defaults returns the scenario's own defaults.
func (Idle) Defaults() workload.Options {
	return workload.Options{Viewers: 10000, Rate: 10, Size: 256, Duration: 15 * time.Second}
}

// Prepare checks the options.
func (Idle) Prepare(o *workload.Options) (setup engine.Setup, err error) {
	if o.PID == 0 && !o.Serve {
		err = workload.Refuse("idle reads the server's memory: give --pid, or have the bench --serve")
	}
	return setup, err
}

// Run reads the memory without viewers and with them.
func (Idle) Run(ctx context.Context, r *engine.Runner) error {
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	before, err := usage.ReadProcess(r.Options.PID)
	if err != nil {
		return err
	}
	machine := usage.ReadMachine()
	c, err := r.Connect(ctx, "connect", r.Options.Viewers)
	if err != nil {
		return err
	}
	p, rested := r.Rest(ctx, "idle")
	if p.Server == nil {
		return rested
	}
	after := usage.ReadMachine()
	viewers := float64(c.Joined)
	r.Result.Memory = &report.Memory{
		Viewers: c.Joined, Before: before.RSS, With: p.Server.RSSAfter, Seconds: p.Seconds, IdleCPU: p.Server.Cores,
		PerViewer:       float64(p.Server.RSSAfter-before.RSS) / viewers,
		KernelPerViewer: float64(after.Slab-machine.Slab+after.Buffers-machine.Buffers) / viewers,
		BuffersWith:     after.Buffers,
	}
	if rested != nil {
		return rested
	}
	if lost := r.Lost(); lost > 0 {
		r.Problem("%s lost the connection while idle", report.Count(lost, "viewer"))
	}
	return r.Probe(ctx) // the server must still serve them
}

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
