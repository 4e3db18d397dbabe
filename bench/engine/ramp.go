package engine

import (
	"context"
	"time"

	"lectern/bench/report"
)

// Ramp returns what changes the number of viewers evenly over a phase. Viewers that
// come are checked from their first message on, those that leave up to their last. The
// phase lasts until it is over on all machines of the run.
func (r *Runner) Ramp(viewers int) func(context.Context, Plan) error {
	return func(ctx context.Context, p Plan) (err error) {
		switch change := viewers - r.crowd.lanes.present(); {
		case change > 0:
			err = r.grow(ctx, p, change)
		case change < 0:
			err = r.crowd.lanes.shrink(ctx, -change, p.Duration)
		}
		if err == nil && r.peers != nil {
			err = r.Broken()
		}
		if err == nil {
			_, err = r.meet(ctx, p.Name+" is over", func(*Order) {})
		}
		return err
	}
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
			l.do(func() { gone += l.dismiss(share) })
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

// Arrive has all viewers of the options join in the phase, with the history of their
// room. It returns when each has got a live message, or the time for that is over. It
// needs a [Classroom] that is Late.
func (r *Runner) Arrive(ctx context.Context, _ Plan) error {
	lanes := r.crowd.lanes
	if _, err := r.connect(ctx, "join late", r.Options.Viewers, r.Options.ConnectRate); err != nil {
		return err
	}
	_ = until(ctx, r.Options.Timeout, func() bool { return lanes.count(countAlive) >= lanes.count(countJoined)-lanes.count(countLost) }) // the phase looks at ctx
	return nil
}

// Arrived returns what came of [Runner.Arrive].
func (r *Runner) Arrived() *report.Arrived {
	out := &report.Arrived{History: r.crowd.classroom.History, Viewers: r.Joined()}
	r.crowd.lanes.do(func(l *lane) {
		report.Add(out, &l.arrived)
		for _, v := range l.viewers {
			if v.numbered {
				out.Numbered++
			}
			if v.state != ended && v.membership.waits && !r.Result.Interrupted {
				l.faults.Note(v.who(), report.StageHistory, "no answer in time", "")
				v.membership.waits = false // once is enough
			}
		}
	})
	for _, h := range r.hosts {
		out.Asked += h.requests()
	}
	return out
}
