// Package scenario has the kinds of load that `lectern bench` can make. Each says
// which phases there are, what viewers do in them, and what is judged. Package
// engine carries them out.
package scenario

import (
	"context"

	"lectern/bench/engine"
)

// measure measures a phase, and ends the scenario if the run was interrupted.
func measure(ctx context.Context, r *engine.Runner, p engine.Plan) error {
	if _, err := r.Measure(ctx, p); err != nil {
		return err
	}
	return ctx.Err()
}
