package bench

import (
	"context"
	"time"

	"lectern/bench/workload"
)

// Storm has all viewers connect and join as fast as the server takes them.
type Storm struct {
	Again int // how often all drop and come back at once; default 0
}

func (Storm) name() string { return "storm" }

func (Storm) defaults() workload.Options {
	return workload.Options{Viewers: 10000, Rate: 10, Size: 256, Duration: time.Second}
}

func (s Storm) check(workload.Options) error {
	if s.Again < 0 || s.Again > 100 {
		return workload.Refuse("%d times again: it takes 0 to 100", s.Again)
	}
	return nil
}

func (s Storm) run(ctx context.Context, r *runner) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.bring(ctx, "storm", r.options.Viewers); err != nil {
		return err
	}
	for range s.Again {
		if err := r.crowd.drop(); err != nil {
			return err
		}
		if err := r.bring(ctx, "all again", r.options.Viewers); err != nil {
			return err
		}
	}
	return nil
}
