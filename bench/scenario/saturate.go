package scenario

import (
	"context"
	"fmt"
	"math"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// Saturate raises the load step by step until a limit breaks, and goes back to
// find where. Options.Rate and Options.Viewers are those of the first step,
// Options.Duration is the length of each.
type Saturate struct {
	P99        time.Duration // limit of the 99th percentile; default 250 ms
	Factor     float64       // from one step to the next; default 2
	Refine     int           // steps between the last that held and the first that broke; default 2, negative for none
	Viewers    bool          // raise the viewers, and not the rate
	MaxRate    float64       // where to stop; default 1,000,000 messages a second
	MaxViewers int           // where to stop; default: as many as there are descriptors for
}

const (
	// brokenDrain is how long a step waits for late messages: one that needs
	// longer has broken every limit.
	brokenDrain = 5 * time.Second

	// triesUp is how often a level is tried before it counts as broken: it may have
	// been something else on the machine.
	triesUp = 2

	// lowerings is how many steps below the first are tried when that one breaks.
	lowerings = 4
)

func (s Saturate) withDefaults() Saturate {
	workload.SetDefault(&s.P99, 250*time.Millisecond)
	workload.SetDefault(&s.Factor, 2)
	workload.SetDefault(&s.Refine, 2)
	workload.SetDefault(&s.MaxRate, 1e6)
	workload.SetDefault(&s.MaxViewers, engine.MaxViewers())
	s.Refine = max(s.Refine, 0)
	return s
}

// Name returns the scenario's name.
func (Saturate) Name() string { return "saturate" }

// Defaults returns the scenario's own defaults.
func (Saturate) Defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 250, Size: 128, Duration: 3 * time.Second}
}

// Prepare checks the options.
func (s Saturate) Prepare(o *workload.Options) (engine.Setup, error) {
	s = s.withDefaults()
	setup := engine.Setup{Viewers: o.Viewers, Breaks: true}
	switch {
	case o.Thresholds != (workload.Thresholds{}):
		return setup, workload.Refuse("saturate looks for the load at which p99 or a missing message breaks its limit: set that limit instead of a threshold")
	case len(o.RoomNames) > 0:
		return setup, workload.Refuse("saturate needs its own hosts: it cannot join a room")
	case s.P99 < time.Millisecond:
		return setup, workload.Refuse("a limit of %v for the 99th percentile: it takes at least 1ms", s.P99)
	case !(s.Factor > 1 && s.Factor <= 100):
		return setup, workload.Refuse("a factor of %v from step to step: it takes more than 1", s.Factor)
	case s.MaxRate < o.Rate:
		return setup, workload.Refuse("a highest rate of %v below the first, %v", s.MaxRate, o.Rate)
	case s.Viewers && s.MaxViewers < o.Viewers:
		return setup, workload.Refuse("at most %d viewers, but %d to begin with", s.MaxViewers, o.Viewers)
	case s.Viewers:
		setup.Viewers = s.MaxViewers
	}
	setup.Connections = setup.Viewers * (1 + lowerings)
	return setup, nil
}

// Run goes up until a step breaks or, if the first one does, down until one holds.
// Then it looks for the limit between the two.
func (s Saturate) Run(ctx context.Context, r *engine.Runner) error {
	s = s.withDefaults()
	if err := r.Gather(ctx, "connect", r.Options.Viewers); err != nil {
		return err
	}
	held, broke := 0.0, 0.0 // levels: messages a second, or viewers
	measure := func(level float64, tries int) error {
		for range tries {
			if holds, err := s.step(ctx, r, level); err != nil {
				return err
			} else if holds {
				held = level
				return nil
			}
		}
		broke = level
		return nil
	}
	first, most := r.Options.Rate, s.MaxRate
	if s.Viewers {
		first, most = float64(r.Options.Viewers), float64(s.MaxViewers)
	}
	for level := first; broke == 0; level = min(s.round(level*s.Factor), most) {
		if err := measure(level, triesUp); err != nil {
			return err
		}
		if held >= most {
			r.Say("the last step held, nothing higher was asked for")
			return nil
		}
	}
	for n := 0; held == 0 && n < lowerings && s.round(broke/s.Factor) >= 1; n++ {
		if err := measure(s.round(broke/s.Factor), 1); err != nil {
			return err
		}
	}
	if held == 0 {
		last := r.Result.Phases[len(r.Result.Phases)-1]
		r.Problem("no step held; the lowest, %s, broke: %s", last.Name, last.Broke)
		return nil
	}
	for range s.Refine {
		level := s.round(math.Sqrt(held * broke))
		if level <= held || level >= broke {
			break
		}
		if err := measure(level, triesUp); err != nil {
			return err
		}
	}
	return nil
}

// round keeps a level to three digits.
func (s Saturate) round(level float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(level))-2)
	if s.Viewers {
		unit = max(unit, 1)
	}
	return math.Round(level/unit) * unit
}

// step measures one level and judges it. It begins with new rooms and viewers if
// the step before broke, which may have left a backlog.
func (s Saturate) step(ctx context.Context, r *engine.Runner, level float64) (holds bool, err error) {
	p, viewers := r.Plan(report.Trim(level)+"/s"), r.Options.Viewers
	p.Drain = min(brokenDrain, p.Drain)
	if s.Viewers {
		p.Name, viewers = report.Count(int(level), "viewer"), int(level)
	} else {
		p.Rate = level
	}
	if n := len(r.Result.Phases); n > 0 && r.Result.Phases[n-1].Broke != "" {
		err = r.Renew(ctx, viewers)
	} else if more := viewers - r.Joined(); more > 0 && s.Viewers {
		err = r.Bring(ctx, "connect "+p.Name, more)
	}
	if err != nil {
		return false, err
	}
	out, err := r.Phase(ctx, p)
	if err == nil {
		err = ctx.Err()
	}
	if out.Broke = s.breaks(out); out.Broke != "" {
		r.Say("%s broke: %s", p.Name, out.Broke)
		r.Suspect(out)
	}
	if wrong := (report.Phase{Trouble: report.Trouble{Repeated: out.Repeated, Reordered: out.Reordered, Damaged: out.Damaged}, Expected: out.Expected}).Wrong(); len(wrong) > 0 {
		r.Problem("%s: %s", p.Name, wrong[0]) // at no rate may a server do that
	}
	r.Result.Phases = append(r.Result.Phases, out)
	holds = out.Broke == "" && err == nil
	if best := r.Result.Held; holds && (best == nil || level > s.level(best)) {
		r.Result.Held = &out
	}
	return holds, err
}

func (s Saturate) level(p *report.Phase) float64 {
	if s.Viewers {
		return float64(p.Viewers)
	}
	return p.Rate
}

// breaks says which limit a step broke.
func (s Saturate) breaks(p report.Phase) string {
	if wrong := p.Wrong(); len(wrong) > 0 {
		return wrong[0]
	}
	if p.Published < p.Planned {
		return fmt.Sprintf("the server took only %s of %s in time", report.Grouped(int64(p.Published)), report.Count(p.Planned, "message"))
	}
	if p.Latency.P99 > s.P99.Microseconds() {
		return fmt.Sprintf("p99 %s, the limit is %s", report.Micros(p.Latency.P99), report.Micros(s.P99.Microseconds()))
	}
	return ""
}
