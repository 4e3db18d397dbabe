package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A Ramp changes the number of viewers evenly, from what it was to Viewers. The
// first begins with none.
type Ramp struct {
	Over    time.Duration `json:"over_ns"`
	Viewers int           `json:"viewers"`
}

// ParseStages reads stages as k6 writes them on its command line, such as
// 1m:1000 and 5m:5000.
func ParseStages(texts []string) (stages []Ramp, err error) {
	for _, text := range texts {
		over, viewers, ok := strings.Cut(strings.TrimSpace(text), ":")
		var s Ramp
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
func checkStages(stages []Ramp) error {
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

// peak returns the most viewers that are there at a time.
func peak(stages []Ramp) (viewers int) {
	for _, s := range stages {
		viewers = max(viewers, s.Viewers)
	}
	return viewers
}

// total returns how many viewers connect in all, and how long it takes.
func total(stages []Ramp) (connections int, over time.Duration) {
	before := 0
	for _, s := range stages {
		connections += max(s.Viewers-before, 0)
		over += s.Over
		before = s.Viewers
	}
	return connections, over
}

// ramp measures one stage after the other, while the hosts publish.
func (f Fanout) ramp(ctx context.Context, r *runner) error {
	for i, s := range f.Stages {
		p := r.plan(fmt.Sprintf("stage %d", i+1))
		p.duration = s.Over
		r.ramp(&p, s)
		if _, err := r.measure(ctx, p); err != nil || ctx.Err() != nil {
			return err
		}
		for _, h := range r.hosts {
			if err := h.err(); err != nil {
				return stageError{report.StagePublish, err}
			}
		}
	}
	return nil
}

// ramp has viewers come or leave while the hosts publish.
func (r *runner) ramp(p *plan, s Ramp) {
	lanes := r.crowd.lanes
	change := s.Viewers - lanes.present()
	p.figures = func() string {
		return fmt.Sprintf("%s of %s, %s delivered", report.Grouped(int64(lanes.present())), report.Count(s.Viewers, "viewer"), report.Grouped(int64(lanes.delivered())))
	}
	defer r.rampTogether(p)
	switch {
	case change > 0:
		r.options.ConnectRate = float64(change) / s.Over.Seconds()
		p.grows = true
		p.meanwhile = func(ctx context.Context) error { return r.grow(ctx, p.name, change) }
	case change < 0:
		p.meanwhile = func(ctx context.Context) error { return r.shrink(ctx, -change, s.Over) }
	}
}

// rampTogether has a stage last until it is over on all machines of the run.
func (r *runner) rampTogether(p *plan) {
	if r.team == nil && r.member == nil {
		return
	}
	alone := p.meanwhile
	p.meanwhile = func(ctx context.Context) error {
		if alone != nil {
			if err := alone(ctx); err != nil {
				return err
			}
		}
		for _, h := range r.hosts {
			if err := h.err(); err != nil {
				return stageError{report.StagePublish, err}
			}
		}
		_, err := r.together(ctx, p.name+" is over", func(*order) {})
		return err
	}
}

// grow has n more viewers join, and waits until each has got a message: from
// there on its stream is checked. It gives up when no host publishes any more.
func (r *runner) grow(ctx context.Context, name string, n int) error {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := repeat(100*time.Millisecond, func() {
		if slices.ContainsFunc(r.hosts, func(h *host) bool { return h.err() != nil }) {
			cancel()
		}
	})
	defer stop()
	_, err := r.connectQuietly(ctx, name, n)
	if err == nil {
		err = r.awaitFirst(ctx)
	}
	if ctx.Err() != nil && whole.Err() == nil {
		return nil // the host's fault tells
	}
	return err
}

// shrink has n viewers leave, evenly over a time.
func (r *runner) shrink(ctx context.Context, n int, over time.Duration) error {
	const step = 10 * time.Millisecond
	lanes := r.crowd.lanes
	begun := time.Now()
	for left, idle := 0, false; left < n && !idle; {
		if err := sleep(ctx, step); err != nil {
			return err
		}
		due := min(n, int(float64(n)*float64(time.Since(begun))/float64(over)))
		gone := 0
		for i, l := range lanes {
			share := (due-left)/len(lanes) + min(1, max(0, (due-left)%len(lanes)-i))
			if err := l.do(func() { gone += l.dismiss(share) }); err != nil {
				return err
			}
		}
		left += gone
		idle = due == n && gone == 0 // the others have lost their connections
	}
	return nil
}

// dismiss has up to n viewers leave, the last that came first, and returns how many
// did.
func (l *lane) dismiss(n int) (left int) {
	for i := len(l.viewers) - 1; i >= 0 && left < n; i-- {
		if v := l.viewers[i]; v.state == live {
			v.leave()
			left++
		}
	}
	return left
}

// leave ends the connection as viewers do. The stream is checked up to here.
func (v *viewer) leave() {
	l := v.lane
	if v.phase == l.phase && !v.past {
		v.past = true
		l.fenced.Add(1)
	}
	if v.next > 0 {
		l.anchored.Add(-1)
	}
	l.departed.Add(1)
	v.until, v.left, v.state = max(v.next, 1), true, ended
	v.conn.Abort()
}
