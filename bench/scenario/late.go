package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// Late has all viewers join a room in which much was said already, with its
// history, while its host goes on.
type Late struct {
	Messages int           // that each host says before a viewer joins; default 200
	Over     time.Duration // in which all join; default: as fast as the server takes them
	Numbered float64       // share of the viewers that ask for numbered messages
	History  string        // what keeps the rooms' history, relay or host; default relay
}

// maxMessages bounds what is said before anybody joins.
const maxMessages = 10_000_000

func (s Late) withDefaults() Late {
	workload.SetDefault(&s.Messages, 200)
	workload.SetDefault(&s.History, "relay")
	return s
}

// Name returns the scenario's name.
func (Late) Name() string { return "late" }

// Defaults returns the scenario's own defaults.
func (Late) Defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 5 * time.Second}
}

// Prepare checks the options.
func (s Late) Prepare(o *workload.Options) (engine.Setup, error) {
	s = s.withDefaults()
	switch {
	case s.Messages < 1 || s.Messages > maxMessages:
		return engine.Setup{}, workload.Refuse("%d messages said before: it takes 1 to %d", s.Messages, maxMessages)
	case s.Over < 0:
		return engine.Setup{}, workload.Refuse("joining over %v", s.Over)
	case s.Over > 0 && o.ConnectRate > 0:
		return engine.Setup{}, workload.Refuse("both a time to join in and a rate of connections: choose")
	case s.Over > 0:
		o.ConnectRate = float64(o.Viewers) / s.Over.Seconds()
	}
	return engine.Setup{Classroom: &engine.Classroom{History: s.History, Numbered: s.Numbered, Late: true}}, nil
}

// Run has the hosts speak to empty rooms, then to all viewers that come.
func (s Late) Run(ctx context.Context, r *engine.Runner) error {
	s = s.withDefaults()
	r.Say("saying %s to nobody", report.Count(s.Messages, "message"))
	if err := r.Speak(ctx, s.Messages); err != nil {
		return err
	}
	p := r.Plan("late")
	p.Meanwhile = r.Arrive
	if _, err := r.Measure(ctx, p); err != nil {
		return err
	}
	r.Result.Arrived = r.Arrived()
	r.Result.Arrived.Messages = s.Messages
	return nil
}
