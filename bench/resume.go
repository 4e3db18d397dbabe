package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// Resume has a share of the viewers lose the connection, wherever they are in
// the stream, and come back to where they were, over and over. It compares what
// the others see with what all saw before.
type Resume struct {
	Share    float64       // of the viewers who drop; default 0.1
	Every    time.Duration // between two waves of drops; default 1 s
	Waves    int           // how many; default: until Options.Duration is over
	Away     time.Duration // how long each stays away; default 100 ms, negative for none
	Numbered float64       // share of the viewers who ask for numbered messages
	History  string        // who keeps the rooms' history, relay or host; default relay
}

func (s Resume) withDefaults() Resume {
	workload.SetDefault(&s.Share, 0.1)
	workload.SetDefault(&s.Every, time.Second)
	workload.SetDefault(&s.Away, 100*time.Millisecond)
	workload.SetDefault(&s.History, "relay")
	s.Away = max(s.Away, 0)
	return s
}

func (Resume) name() string { return "resume" }

func (Resume) defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 10 * time.Second}
}

func (s Resume) check(o workload.Options) error {
	s = s.withDefaults()
	switch {
	case !(s.Share > 0 && s.Share <= 1):
		return workload.Refuse("a share of %v that drops: it takes more than 0 and at most 1", s.Share)
	case s.returning(o) < 1:
		return workload.Refuse("a share of %v of %d viewers: some must drop", s.Share, o.Viewers)
	case s.Every < time.Millisecond:
		return workload.Refuse("waves every %v: it takes at least 1ms", s.Every)
	case s.Every >= o.Duration:
		return workload.Refuse("waves every %v, but it lasts %v: there would be none", s.Every, o.Duration)
	case s.Waves < 0:
		return workload.Refuse("%d waves", s.Waves)
	}
	return checkClassroom(o, s.name(), s.History, s.Numbered)
}

// returning returns how many viewers drop.
func (s Resume) returning(o workload.Options) int { return int(float64(o.Viewers)*s.Share + 0.5) }

// waves returns how many waves there are.
func (s Resume) waves(o workload.Options) int {
	n := int((o.Duration - 1) / s.Every)
	if s.Waves > 0 {
		n = min(n, s.Waves)
	}
	return n
}

// alone returns how long viewers are watched before any of them drops.
func (s Resume) alone(o workload.Options) time.Duration {
	return max(o.Duration/4, min(o.Duration, time.Second))
}

func (s Resume) run(ctx context.Context, r *runner) error {
	s = s.withDefaults()
	if err := r.openClassroom(ctx, classroom{history: s.History, numbered: s.Numbered, returns: true}); err != nil {
		return err
	}
	if err := r.gather(ctx, "connect", r.options.Viewers); err != nil {
		return err
	}
	p := r.plan("nobody drops")
	p.duration = s.alone(r.options)
	before, err := r.measure(ctx, p)
	if err != nil || ctx.Err() != nil {
		return err
	}
	returning := s.returning(r.options)
	begun := r.clock.now()
	err = r.crowd.lanes.do(func(l *lane) {
		l.resumes = newResumes(begun)
		for _, v := range l.viewers {
			v.membership.returns = int(v.index) < returning
		}
	})
	if err != nil {
		return err
	}
	w := &waves{Resume: s, runner: r}
	lanes := r.crowd.lanes
	p.name, p.duration, p.meanwhile = "some come back", r.options.Duration, w.run
	p.figures = func() string {
		return fmt.Sprintf("%s delivered, dropped %s, came back %s", report.Grouped(int64(lanes.delivered())), report.Count(lanes.left(), "time"), report.Count(lanes.returned(), "time"))
	}
	during, err := r.measure(ctx, p)
	if err != nil {
		return err
	}
	return w.report(returning, before, during)
}

// waves carries out the drops and returns of a phase.
type waves struct {
	Resume
	runner *runner

	done int   // waves that were begun
	busy int64 // nanoseconds in which somebody was on the way back
}

// dropAtOnce is how many viewers a lane looks at before others have their turn.
const dropAtOnce = 64

// run has waves of viewers drop, and all of them come back.
func (w *waves) run(ctx context.Context) error {
	r := w.runner
	returnCtx, stop := context.WithCancel(context.WithoutCancel(ctx)) // viewers that are away come back even then
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.bringBack(returnCtx)
	}()
	defer func() {
		stop()
		<-ended
	}()

	begun := time.Now()
	for w.done < w.waves(r.options) && sleep(ctx, time.Until(begun.Add(time.Duration(w.done+1)*w.Every))) == nil {
		w.done++
		for _, l := range r.crowd.lanes {
			if err := w.wave(l); err != nil {
				return err
			}
		}
	}
	err := r.each(func(v *viewer) {
		if v.state == live && v.membership.leaving {
			v.drop() // what was to cut it off has not come
		}
	})
	// Each stage has its limit, so this ends.
	for err == nil && r.crowd.lanes.back() < r.crowd.lanes.left() {
		err = sleep(returnCtx, 2*time.Millisecond)
	}
	return err
}

// wave has viewers of a lane drop: half of them at once, the others in the
// middle of whatever comes next.
func (w *waves) wave(l *lane) error {
	n := 0
	err := l.do(func() {
		l.viewers = slices.DeleteFunc(l.viewers, func(v *viewer) bool { return v.state == ended && v.phase != l.phase })
		n = len(l.viewers)
	})
	for from := 0; from < n && err == nil; from += dropAtOnce {
		err = l.do(func() {
			for _, v := range l.viewers[from:min(from+dropAtOnce, n)] {
				switch {
				case v.state != live || !v.membership.returns:
				case rand.IntN(2) == 0:
					v.drop()
				default:
					v.membership.leaving = true
				}
			}
		})
	}
	return err
}

// bringBack connects dropped viewers again after their time away, until ctx ends.
func (w *waves) bringBack(ctx context.Context) {
	c := w.runner.crowd
	begun, launched := int64(0), 0
	for {
		var d departure
		select {
		case d = <-c.away:
		case <-ctx.Done():
			w.busy += max(c.lanes.lastBack()-begun, 0)
			return
		}
		_ = sleep(ctx, time.Duration(d.at-c.clock.now())+w.Away)
		select {
		case c.onWay <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if c.lanes.back() == launched { // nobody else is on the way
			if launched > 0 {
				w.busy += max(c.lanes.lastBack()-begun, 0)
			}
			begun = c.clock.now()
		}
		launched++
		if err := c.dial(ctx, d.next); err != nil {
			_ = d.next.lane.do(func() { d.next.Closed(err) }) // a lane that does not answer is told of by the next who asks
		}
	}
}

// report sums up.
func (w *waves) report(returning int, before, during report.Phase) error {
	r := w.runner
	out := &report.Resumed{Viewers: returning, Waves: w.done, History: w.History, Resumes: r.crowd.lanes.returned(), Seconds: float64(w.busy) / 1e9}
	out.Failed = r.crowd.lanes.back() - out.Resumes
	back, caught, latency := report.NewHistogram(), report.NewHistogram(), report.NewHistogram()
	err := r.crowd.lanes.do(func(l *lane) {
		out.Recovered += l.resumes.recovered
		out.Unrecovered += l.resumes.unrecovered
		out.Announced += l.resumes.announced
		back.Merge(l.resumes.back.Merged())
		caught.Merge(l.resumes.caught.Merged())
		latency.Merge(l.resumes.live.Merged())
		for _, v := range l.viewers {
			if v.numbered && v.state == live {
				out.Numbered++
			}
		}
	})
	out.Back, out.Caught, out.Live = report.Summarize(back), report.Summarize(caught), report.Summarize(latency)
	if out.Seconds > 0 {
		out.PerSecond = float64(out.Resumes) / out.Seconds
	}
	if during.Server != nil && before.Server != nil && out.Resumes > 0 {
		rest := before.CPUEach / 1e9 * float64(during.Delivered)
		out.CPUEach = max(during.Server.CPU-rest, 0) * 1e6 / float64(out.Resumes)
	}
	r.result.Resumed = out
	if out.Resumes == 0 && !r.result.Interrupted {
		r.problem("nobody came back")
	}
	return err
}
