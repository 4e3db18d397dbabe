package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/workload"
)

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
