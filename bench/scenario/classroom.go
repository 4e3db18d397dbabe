package scenario

import (
	"context"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// Resume has a share of the viewers lose the connection, wherever they are in
// the stream, and come back to where they were, over and over. It compares what
// the others see with what all saw before.
type Resume struct {
	Share    float64       // of the viewers that drop; default 0.1
	Every    time.Duration // between two waves of drops; default 1 s
	Waves    int           // how many; default: until Options.Duration is over
	Away     time.Duration // how long each stays away; default 100 ms, negative for none
	Numbered float64       // share of the viewers that ask for numbered messages
	History  string        // what keeps the rooms' history, relay or host; default relay
}

func (s Resume) withDefaults() Resume {
	workload.SetDefault(&s.Share, 0.1)
	workload.SetDefault(&s.Every, time.Second)
	workload.SetDefault(&s.Away, 100*time.Millisecond)
	workload.SetDefault(&s.History, "relay")
	s.Away = max(s.Away, 0)
	return s
}

// Name returns the scenario's name.
func (Resume) Name() string { return "resume" }

// Defaults returns the scenario's own defaults.
func (Resume) Defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 10 * time.Second}
}

// drops returns how many viewers drop, and when.
func (s Resume) drops(o workload.Options) *engine.Drops {
	waves := int((o.Duration - 1) / s.Every)
	if s.Waves > 0 {
		waves = min(waves, s.Waves)
	}
	return &engine.Drops{Viewers: int(float64(o.Viewers)*s.Share + 0.5), Every: s.Every, Waves: waves, Away: s.Away}
}

// Prepare checks the options.
func (s Resume) Prepare(o *workload.Options) (engine.Setup, error) {
	s = s.withDefaults()
	switch {
	case o.Transport == workload.Poll:
		return engine.Setup{}, workload.Refuse("a viewer that polls loses nothing with its connection: resume takes another transport")
	case !(s.Share > 0 && s.Share <= 1):
		return engine.Setup{}, workload.Refuse("a share of %v that drops: it takes more than 0 and at most 1", s.Share)
	case s.Every < time.Millisecond:
		return engine.Setup{}, workload.Refuse("waves every %v: it takes at least 1ms", s.Every)
	case s.Every >= o.Duration:
		return engine.Setup{}, workload.Refuse("waves every %v, but it lasts %v: there would be none", s.Every, o.Duration)
	case s.Waves < 0:
		return engine.Setup{}, workload.Refuse("%d waves", s.Waves)
	}
	d := s.drops(*o)
	if d.Viewers < 1 {
		return engine.Setup{}, workload.Refuse("a share of %v of %d viewers: some must drop", s.Share, o.Viewers)
	}
	classroom := &engine.Classroom{History: s.History, Numbered: s.Numbered}
	return engine.Setup{Connections: o.Viewers + d.Viewers*d.Waves, Classroom: classroom}, nil
}

// Run measures while no viewer drops, then while some do.
func (s Resume) Run(ctx context.Context, r *engine.Runner) error {
	if err := r.Gather(ctx, "connect", r.Options.Viewers); err != nil {
		return err
	}
	p := r.Plan("nobody drops")
	p.Duration = max(r.Options.Duration/4, min(r.Options.Duration, time.Second))
	before, err := r.Measure(ctx, p)
	if err != nil || ctx.Err() != nil {
		return err
	}
	d := s.withDefaults().drops(r.Options)
	r.Prepare(d)
	p.Name, p.Duration, p.Meanwhile = "some come back", r.Options.Duration, d.Run
	during, err := r.Measure(ctx, p)
	if err != nil {
		return err
	}
	r.Result.Resumed = d.Resumed(before, during)
	if r.Result.Resumed.Resumes == 0 && !r.Result.Interrupted {
		r.Problem("nobody came back")
	}
	return nil
}

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
