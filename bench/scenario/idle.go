package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/usage"
	"lectern/bench/workload"
)

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
