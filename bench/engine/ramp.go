package engine

import (
	"context"
	"fmt"
	"time"

	"lectern/bench/report"
)

// A Ramp changes the number of viewers evenly over the phase. Viewers that come
// are checked from their first message on, those that leave up to their last.
type Ramp struct {
	Viewers int // that are there at the end
}

func (Ramp) prepare(*Runner) error { return nil }

func (p Ramp) figures(r *Runner) string {
	lanes := r.crowd.lanes
	return fmt.Sprintf("%s of %s, %s delivered", report.Grouped(int64(lanes.present())), report.Count(p.Viewers, "viewer"), report.Grouped(int64(lanes.delivered())))
}

// run has the phase last until it is over on all machines of the run.
func (p Ramp) run(ctx context.Context, r *Runner, phase Plan) (err error) {
	switch change := p.Viewers - r.crowd.lanes.present(); {
	case change > 0:
		err = r.grow(ctx, phase, change)
	case change < 0:
		err = r.crowd.lanes.shrink(ctx, -change, phase.Duration)
	}
	if err != nil || r.peers == nil {
		return err
	}
	if err := r.Broken(); err != nil {
		return err
	}
	_, err = r.meet(ctx, phase.Name+" is over", func(*Order) {})
	return err
}

// grow has n more viewers join, and waits until each has got a message: from
// there on its stream is checked. It gives up when no host publishes any more.
func (r *Runner) grow(ctx context.Context, p Plan, n int) error {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := repeat(100*time.Millisecond, func() {
		if r.Broken() != nil {
			cancel()
		}
	})
	defer stop()
	_, err := r.connect(ctx, p.Name, n, float64(n)/p.Duration.Seconds())
	if err == nil {
		err = r.awaitFirst(ctx)
	}
	if ctx.Err() != nil && whole.Err() == nil {
		return nil // the host's fault says why
	}
	return err
}

// shrink has n viewers leave, evenly over a time.
func (ls lanes) shrink(ctx context.Context, n int, over time.Duration) error {
	const step = 10 * time.Millisecond
	begun := time.Now()
	for left, idle := 0, false; left < n && !idle; {
		if err := sleep(ctx, step); err != nil {
			return err
		}
		due := min(n, int(float64(n)*float64(time.Since(begun))/float64(over)))
		gone := 0
		for i, l := range ls {
			share := (due-left)/len(ls) + min(1, max(0, (due-left)%len(ls)-i))
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
		l.add(countFenced, 1)
	}
	if v.next > 0 {
		l.add(countAnchored, -1)
	}
	l.add(countDeparted, 1)
	v.until, v.left, v.state = max(v.next, 1), true, ended
	v.conn.Abort()
}
