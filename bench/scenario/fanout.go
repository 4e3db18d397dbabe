package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"lectern/bench/engine"
	"lectern/bench/workload"
)

// Fanout publishes at a fixed rate to viewers that all read.
type Fanout struct {
	Stages []Stage // how the number of viewers changes over time; default: all are there from the beginning
}

// Name returns the scenario's name.
func (Fanout) Name() string { return "fanout" }

// Defaults returns the scenario's own defaults.
func (f Fanout) Defaults() workload.Options {
	o := workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 10 * time.Second}
	if len(f.Stages) > 0 {
		o.Viewers, _, o.Duration = total(f.Stages)
	}
	return o
}

// Prepare checks the options.
func (f Fanout) Prepare(o *workload.Options) (engine.Setup, error) {
	if len(f.Stages) == 0 {
		return engine.Setup{}, nil
	}
	if d := f.Defaults(); o.Viewers != d.Viewers || o.Duration != d.Duration {
		return engine.Setup{}, workload.Refuse("stages say how many viewers there are and for how long: nothing else may")
	}
	_, connections, _ := total(f.Stages)
	return engine.Setup{Connections: connections}, checkStages(f.Stages)
}

// Run measures one phase, or one for each stage.
func (f Fanout) Run(ctx context.Context, r *engine.Runner) error {
	if len(f.Stages) == 0 {
		if err := r.Gather(ctx, "connect", r.Options.Viewers); err != nil {
			return err
		}
		return measure(ctx, r, r.Plan("fanout"))
	}
	for i, s := range f.Stages {
		p := r.Plan(fmt.Sprintf("stage %d", i+1))
		p.Duration, p.Meanwhile = s.Over, r.Ramp(s.Viewers)
		if err := measure(ctx, r, p); err != nil {
			return err
		}
		if err := r.Broken(); err != nil {
			return err
		}
	}
	return nil
}

// A Stage changes the number of viewers evenly, from what it was to Viewers. The
// first begins with none.
type Stage struct {
	Over    time.Duration `json:"over_ns"`
	Viewers int           `json:"viewers"`
}

// ParseStages reads stages as k6 writes them on its command line, such as
// 1m:1000 and 5m:5000.
func ParseStages(texts []string) (stages []Stage, err error) {
	for _, text := range texts {
		over, viewers, ok := strings.Cut(strings.TrimSpace(text), ":")
		var s Stage
		if s.Over, err = time.ParseDuration(over); err == nil {
			s.Viewers, err = strconv.Atoi(viewers)
		}
		if err != nil || !ok {
			return nil, workload.Refuse("the stage %q is not of the form 1m:1000", text)
		}
		stages = append(stages, s)
	}
	return stages, nil
}

// checkStages refuses stages that cannot be carried out.
func checkStages(stages []Stage) error {
	for i, s := range stages {
		switch {
		case s.Over < 100*time.Millisecond || s.Over > workload.MaxDuration:
			return workload.Refuse("a stage of %v: it takes 100ms to %v", s.Over, workload.MaxDuration)
		case s.Viewers < 0 || i == 0 && s.Viewers == 0:
			return workload.Refuse("stage %d leads to %d viewers", i+1, s.Viewers)
		}
	}
	return nil
}

// total returns how many viewers are there at a time at most, how many connect in
// all, and how long the stages take.
func total(stages []Stage) (peak, connections int, over time.Duration) {
	before := 0
	for _, s := range stages {
		peak = max(peak, s.Viewers)
		connections += max(s.Viewers-before, 0)
		over += s.Over
		before = s.Viewers
	}
	return peak, connections, over
}
