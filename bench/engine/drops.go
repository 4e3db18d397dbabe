package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"lectern/bench/report"
)

// Drops has viewers lose the connection, wherever they are in the stream, and come
// back to where they were, over and over.
//
// Each connection is a viewer of its own. A viewer that drops leaves all that it
// knows to a successor, which then connects.
type Drops struct {
	Viewers int           // that drop
	Every   time.Duration // between two waves of drops
	Waves   int
	Away    time.Duration // how long each viewer stays away

	crowd *crowd
	done  int   // waves that were begun
	busy  int64 // nanoseconds in which a viewer was on the way back
}

// A departure is a viewer that has dropped, and when.
type departure struct {
	next *viewer // its successor, which has no connection yet
	at   int64   // nanoseconds of the run's clock
}

// Prepare says before the phase which viewers drop. It needs a [Classroom] that is
// not Late.
func (r *Runner) Prepare(d *Drops) {
	d.crowd = r.crowd
	r.crowd.lanes.each(func(_ *lane, v *viewer) { v.membership.returns = int(v.index) < d.Viewers })
}

// Run has waves of viewers drop, and returns when all have come back.
func (d *Drops) Run(ctx context.Context, _ Plan) error {
	lanes := d.crowd.lanes
	returning, stop := context.WithCancel(context.WithoutCancel(ctx)) // viewers that are away come back even when ctx ends
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.bringBack(returning)
	}()
	defer func() {
		stop()
		<-ended
	}()

	begun := time.Now()
	for d.done < d.Waves && sleep(ctx, time.Until(begun.Add(time.Duration(d.done+1)*d.Every))) == nil {
		d.done++
		for _, l := range lanes {
			l.wave()
		}
	}
	lanes.each(func(_ *lane, v *viewer) {
		if v.state == live && v.membership.leaving {
			v.drop() // what was to cut it off has not come
		}
	})
	// Each stage has its limit, so this ends.
	return until(returning, forever, func() bool { return lanes.back() >= lanes.count(countDropped) })
}

// dropAtOnce is how many viewers a lane looks at before others have their turn.
const dropAtOnce = 64

// wave has viewers of a lane drop: half of them at once, the others in the
// middle of whatever comes next.
func (l *lane) wave() {
	n := 0
	l.do(func() {
		l.viewers = slices.DeleteFunc(l.viewers, func(v *viewer) bool { return v.state == ended && v.phase != l.phase })
		n = len(l.viewers)
	})
	for from := 0; from < n; from += dropAtOnce {
		l.do(func() {
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
}

// bringBack connects dropped viewers again after their time away, until ctx ends.
func (d *Drops) bringBack(ctx context.Context) {
	c := d.crowd
	begun, launched := int64(0), 0
	for {
		var gone departure
		select {
		case gone = <-c.away:
		case <-ctx.Done():
			d.busy += max(c.lanes.lastBack()-begun, 0)
			return
		}
		_ = sleep(ctx, time.Duration(gone.at-c.clock.Now())+d.Away)
		select {
		case c.onWay <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if c.lanes.back() == launched { // no other viewer is on the way
			if launched > 0 {
				d.busy += max(c.lanes.lastBack()-begun, 0)
			}
			begun = c.clock.Now()
		}
		launched++
		c.dial(gone.next)
	}
}

// drop cuts the connection off wherever it is, and leaves a successor.
func (v *viewer) drop() {
	next := *v
	next.conn, next.current, next.frame, next.matched, next.message, next.out = nil, nil, nil, 0, nil, nil
	next.state, next.again = connecting, true
	next.membership.leaving = false
	v.lane.viewers = append(v.lane.viewers, &next)
	v.lane.add(countDropped, 1)
	v.state, v.phase = ended, 0
	v.conn.Abort()
	v.crowd.away <- departure{&next, v.lane.clock.Now()}
}

// returned counts a viewer that is back.
func (v *viewer) returned() {
	l := v.lane
	l.resumed.Back.Record((v.since - v.began) / 1e3)
	if v.membership.newest < v.next { // there was nothing to catch up with
		v.membership.newest = 0
		l.resumed.Caught.Record((v.since - v.began) / 1e3)
	}
	l.lastBack.Store(max(l.lastBack.Load(), v.since))
	l.add(countReturned, 1)
}

// Resumed returns what came of the drops in the phase during, when deliveries cost
// what they cost in the phase before.
func (d *Drops) Resumed(before, during report.Phase) *report.Resumed {
	lanes := d.crowd.lanes
	out := &report.Resumed{Viewers: d.Viewers, Waves: d.done, History: d.crowd.classroom.History, Resumes: lanes.count(countReturned), Failed: lanes.count(countUnreturned), Seconds: float64(d.busy) / 1e9}
	lanes.do(func(l *lane) {
		report.Add(out, &l.resumed)
		for _, v := range l.viewers {
			if v.numbered && v.state == live {
				out.Numbered++
			}
		}
	})
	out.SetEach()
	if during.Server != nil && before.Server != nil && out.Resumes > 0 {
		rest := before.CPUEach / 1e9 * float64(during.Delivered)
		out.CPUEach = max(during.Server.CPU-rest, 0) * 1e6 / float64(out.Resumes)
	}
	return out
}
