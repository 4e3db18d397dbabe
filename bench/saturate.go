package bench

import (
	"context"
	"fmt"
	"math"
	"time"

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

// brokenDrain is how long a step waits for late messages: one that needs
// longer has broken every limit.
const brokenDrain = 5 * time.Second

func (s Saturate) withDefaults() Saturate {
	workload.SetDefault(&s.P99, 250*time.Millisecond)
	workload.SetDefault(&s.Factor, 2)
	workload.SetDefault(&s.Refine, 2)
	workload.SetDefault(&s.MaxRate, 1e6)
	s.Refine = max(s.Refine, 0)
	if s.MaxViewers == 0 {
		s.MaxViewers = maxDescriptors() - 1 - spareFDs
	}
	return s
}

func (Saturate) name() string { return "saturate" }

func (Saturate) defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 250, Size: 128, Duration: 3 * time.Second}
}

func (s Saturate) check(o workload.Options) error {
	s = s.withDefaults()
	switch {
	case o.Thresholds != (workload.Thresholds{}):
		return workload.Refuse("saturate looks for the load at which p99 or a missing message breaks its limit: set that limit instead of a threshold")
	case len(o.RoomNames) > 0:
		return workload.Refuse("saturate needs its own hosts: it cannot join a room")
	case s.P99 < time.Millisecond:
		return workload.Refuse("a limit of %v for the 99th percentile: it takes at least 1ms", s.P99)
	case !(s.Factor > 1 && s.Factor <= 100):
		return workload.Refuse("a factor of %v from step to step: it takes more than 1", s.Factor)
	case s.MaxRate < o.Rate:
		return workload.Refuse("a highest rate of %v below the first, %v", s.MaxRate, o.Rate)
	case s.Viewers && s.MaxViewers < o.Viewers:
		return workload.Refuse("at most %d viewers, but %d to begin with", s.MaxViewers, o.Viewers)
	}
	return nil
}

func (s Saturate) run(ctx context.Context, r *runner) error {
	s = s.withDefaults()
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.gather(ctx, "connect", r.options.Viewers); err != nil {
		return err
	}
	held, broke, err := s.search(ctx, r)
	if err != nil || broke == 0 {
		return err
	}
	if held == 0 {
		r.problem("no step held; the lowest, %s, broke: %s", r.result.Phases[len(r.result.Phases)-1].Name, r.result.Phases[len(r.result.Phases)-1].Broke)
		return nil
	}
	for range s.Refine {
		level := s.round(math.Sqrt(held * broke))
		if level <= held || level >= broke {
			break
		}
		if err := r.renew(ctx, s.viewers(r, level)); err != nil {
			return err
		}
		out, err := s.steps(ctx, r, level)
		if err != nil {
			return err
		}
		if out.Broke != "" {
			broke = level
		} else {
			held = level
		}
	}
	return nil
}

// lowerings is how many steps below the first are tried when that one breaks.
const lowerings = 4

// search goes up until a step breaks or, if the first one does, down until one
// holds. It returns the two levels that the limit lies between; 0 where there
// was none.
func (s Saturate) search(ctx context.Context, r *runner) (held, broke float64, err error) {
	for level := s.first(r); ; level = s.next(level) {
		out, err := s.steps(ctx, r, level)
		if err != nil {
			return held, broke, err
		}
		if out.Broke != "" {
			broke = level
			break
		}
		held = level
		if level >= s.most() {
			r.show.say("the last step held, nothing higher was asked for")
			return held, 0, nil
		}
	}
	for n := 0; held == 0 && n < lowerings; n++ {
		level := s.round(broke / s.Factor)
		if level < 1 {
			break
		}
		if err := r.renew(ctx, s.viewers(r, level)); err != nil {
			return held, broke, err
		}
		out, err := s.step(ctx, r, level)
		if err != nil {
			return held, broke, err
		}
		if out.Broke == "" {
			held = level
		} else {
			broke = level
		}
	}
	return held, broke, nil
}

// A level is what the steps raise: messages a second, or viewers.

func (s Saturate) first(r *runner) float64 {
	if s.Viewers {
		return float64(r.options.Viewers)
	}
	return r.options.Rate
}

func (s Saturate) most() float64 {
	if s.Viewers {
		return float64(s.MaxViewers)
	}
	return s.MaxRate
}

func (s Saturate) next(level float64) float64 { return min(s.round(level*s.Factor), s.most()) }

// round keeps levels to three digits.
func (s Saturate) round(level float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(level))-2)
	if s.Viewers {
		unit = max(unit, 1)
	}
	return math.Round(level/unit) * unit
}

func (s Saturate) viewers(r *runner, level float64) int {
	if s.Viewers {
		return int(level)
	}
	return r.options.Viewers
}

// steps measures one level, and a second time, afresh, if it breaks: it may
// have been something else on the machine.
func (s Saturate) steps(ctx context.Context, r *runner, level float64) (report.Phase, error) {
	out, err := s.step(ctx, r, level)
	if err != nil || out.Broke == "" {
		return out, err
	}
	if err := r.renew(ctx, s.viewers(r, level)); err != nil {
		return out, err
	}
	return s.step(ctx, r, level)
}

// step measures one level and judges it.
func (s Saturate) step(ctx context.Context, r *runner, level float64) (report.Phase, error) {
	p := r.plan("")
	p.drain = min(brokenDrain, p.drain)
	if s.Viewers {
		p.name = report.Count(int(level), "viewer")
		if more := int(level) - r.crowd.lanes.joined(); more > 0 {
			if err := r.bring(ctx, "connect "+p.name, more); err != nil {
				return report.Phase{}, err
			}
		}
	} else {
		p.name, p.rate = report.Trim(level)+"/s", level
	}
	out, err := r.phase(ctx, p)
	if err == nil {
		err = ctx.Err()
	}
	out.Broke = s.breaks(out)
	if out.Broke != "" {
		r.show.say("%s broke: %s", p.name, out.Broke)
		r.suspect(out)
	}
	if wrong := (report.Phase{Trouble: report.Trouble{Repeated: out.Repeated, Reordered: out.Reordered, Damaged: out.Damaged}, Expected: out.Expected}).Wrong(); len(wrong) > 0 {
		r.problem("%s: %s", p.name, wrong[0]) // at no rate may a server do that
	}
	r.result.Phases = append(r.result.Phases, out)
	if out.Broke == "" && err == nil && (r.result.Held == nil || level > s.level(r.result.Held)) {
		r.result.Held = &out
	}
	return out, err
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

// renew begins again with new rooms and as many viewers: a step that broke may
// have left a backlog.
func (r *runner) renew(ctx context.Context, viewers int) error {
	if err := r.crowd.drop(); err != nil {
		return err
	}
	r.closeHosts()
	if err := r.openRooms(ctx); err != nil {
		return err
	}
	return r.gather(ctx, "connect again", viewers)
}
