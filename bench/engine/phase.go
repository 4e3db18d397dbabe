package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/usage"
)

const (
	phasePoints = 60                     // points of a phase's time series, about
	minInterval = 250 * time.Millisecond // between two of them

	leadTime  = 20 * time.Millisecond  // from the preparations to the first due message
	peersLead = 200 * time.Millisecond // the same, when other machines must learn the time

	// interruptedDrain is how long an interrupted run waits for what is on its way.
	interruptedDrain = time.Second

	// moreTime is how much hosts publish at a time once the duration is over.
	moreTime = 250 * time.Millisecond
)

// Plan returns the phase that the options ask for.
func (r *Runner) Plan(name string) Plan {
	return Plan{Name: name, Rate: r.Options.Rate, Duration: r.Options.Duration, Drain: r.Options.Drain}
}

// kinds returns what the messages of a phase are, and the one that ends it.
func (p Plan) kinds() (message, fence byte) {
	if p.warm {
		return stamp.Warm, stamp.WarmFence
	}
	return stamp.Measured, stamp.Fence
}

// Measure runs a phase, keeps it in the result and judges it.
func (r *Runner) Measure(ctx context.Context, p Plan) (report.Phase, error) {
	out, err := r.Phase(ctx, p)
	r.Result.Phases = append(r.Result.Phases, out)
	if ctx.Err() != nil {
		r.Result.Interrupted = true // so it is no fault that less was published
	}
	r.judgePhase(out)
	if r.Options.PID != 0 && out.Server == nil {
		r.Problem("%s: the server's process %d has ended, or cannot be read any more", p.Name, r.Options.PID)
	}
	r.Suspect(out)
	return out, err
}

// Phase publishes and counts, and neither keeps nor judges what it found. It
// returns that even when ctx ends, and an error only if the bench itself cannot
// go on.
func (r *Runner) Phase(ctx context.Context, p Plan) (report.Phase, error) {
	lanes := r.crowd.lanes
	message, _ := p.kinds()
	for _, h := range r.hosts {
		h.begin(message) // before the viewers: a late fence of the last phase must not end this one
	}
	interval := max(minInterval, p.Duration/phasePoints)
	start, members, err := r.assume(ctx, p, interval)
	if err != nil {
		return report.Phase{Name: p.Name}, err
	}
	at := r.waitFor(ctx, start)
	out := report.Phase{Name: p.Name, Started: at, Rooms: len(r.crowd.rooms), Rate: p.Rate, Size: r.Options.Size, Interval: interval.Seconds()}
	perRoom := uint32(math.Round(p.Rate * p.Duration.Seconds()))

	sampler := usage.Start(r.Options.PID, at, interval, lanes.delivered)
	closeBar := r.show.bar(p.Name, int64(p.Duration), func() (int64, string) {
		return int64(min(time.Since(at), p.Duration)), fmt.Sprintf("%s delivered, %s there, %d lost",
			report.Grouped(int64(lanes.delivered())), report.Count(lanes.present(), "viewer"), lanes.count(countLost))
	})
	busy, idle := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	if p.Meanwhile == nil {
		p.Meanwhile = func(context.Context, Plan) error { return nil }
	}
	go func() {
		failed <- p.Meanwhile(ctx, p)
		idle()
	}()
	late, published := r.publishAll(ctx, p, load{kind: message, start: start, rate: p.Rate, count: perRoom}, members, busy)
	err = <-failed
	out.Viewers = r.members()
	if err == nil {
		err = r.published(ctx, p)
	}
	r.drain(ctx, p, out.Viewers)
	finished := r.clock.Now()
	out.Server, out.Bench, out.Busy, out.Series = sampler.Finish()
	out.Published = published
	out.Planned = max(uint64(perRoom)*uint64(len(r.hosts)), published)
	out.SendLate = report.Summarize(late)
	out.Seconds = float64(finished-start) / 1e9
	r.collect(&out, finished)
	closeBar(out.Brief())
	return out, err
}

// assume begins a phase on this machine, and on those that it shares the run with:
// no message is due before all know of it. It returns when the first one is due,
// on the run's clock.
func (r *Runner) assume(ctx context.Context, p Plan, interval time.Duration) (start int64, members int, err error) {
	start = r.clock.Now() + int64(max(time.Until(r.Options.StartAt), leadTime))
	r.Options.StartAt = time.Time{} // the agreed time counts once
	members = r.muster(start, int64(interval))
	if r.peers == nil || p.warm {
		return start, members, err
	}
	o, err := r.peers.Meet(ctx, p.Name+" begins", func(o *Order) { o.Start = max(start, r.clock.Now()+int64(peersLead)) })
	r.crowd.lanes.do(func(l *lane) { l.latency.Start = o.Start })
	return o.Start, members, err
}

// waitFor sleeps until shortly before the start, and returns that time. Everything
// is ready by then: another process may publish.
func (r *Runner) waitFor(ctx context.Context, start int64) time.Time {
	wait := time.Duration(start - r.clock.Now())
	at := time.Now().Add(wait)
	if wait > time.Second {
		r.Say("waiting for %s", at.Format(time.TimeOnly))
	}
	_ = sleep(ctx, wait-leadTime) // the phase looks at ctx
	return at
}

// muster begins a phase in all lanes and returns how many viewers are in it.
func (r *Runner) muster(start, interval int64) (members int) {
	for _, rm := range r.crowd.rooms {
		if rm.remote {
			rm.renew()
		}
	}
	r.crowd.lanes.do(func(l *lane) {
		l.phase++
		l.latency = report.NewSeries(start, interval)
		l.total, l.received, l.early, l.ends, l.first = 0, 0, 0, 0, 0
		l.delivered.Store(0)
		l.counts[countFenced].Store(0)
		l.counts[countGone].Store(0)
		l.viewers = slices.DeleteFunc(l.viewers, func(v *viewer) bool { return v.state == ended })
		for _, v := range l.viewers {
			v.count, v.sum, v.worst, v.stream, v.past = 0, 0, 0, nil, false
			v.from = 0
			if v.membership != nil {
				v.membership.announced = 0
			}
			if v.state == live && !v.stalls {
				v.phase = l.phase
				members++
			}
		}
	})
	return members
}

// members returns how many viewers are in the phase by now.
func (r *Runner) members() (n int) {
	r.crowd.lanes.each(func(l *lane, v *viewer) {
		if v.phase == l.phase {
			n++
		}
	})
	return n
}

// published sends the other machines of the run the numbers of the phase's
// messages: a viewer there may have lost its connection before it could see the
// end.
func (r *Runner) published(ctx context.Context, p Plan) error {
	if r.peers == nil || p.warm || ctx.Err() != nil {
		return nil
	}
	o, err := r.peers.Meet(ctx, p.Name+" is published", func(o *Order) {
		for _, rm := range r.crowd.rooms {
			o.Spans = append(o.Spans, [2]uint32{rm.from.Load(), rm.to.Load()})
		}
	})
	for i, rm := range r.crowd.rooms {
		if i < len(o.Spans) {
			rm.settle(o.Spans[i][0], o.Spans[i][1])
		}
	}
	return err
}

// drain waits until all members have come to the end of the phase or are gone.
func (r *Runner) drain(ctx context.Context, p Plan, members int) {
	limit := p.Drain
	if ctx.Err() != nil {
		limit = interruptedDrain
	}
	r.await(context.WithoutCancel(ctx), limit, members)
}

func (r *Runner) await(ctx context.Context, limit time.Duration, members int) {
	_ = until(ctx, limit, func() bool { return r.crowd.lanes.settled() >= members }) // the phase looks at ctx
}

// collect reads from the lanes what the phase was.
func (r *Runner) collect(out *report.Phase, finished int64) {
	var means, worsts []int64
	var all []*report.Histogram
	intervals := make([][]*report.Histogram, len(out.Series))
	r.crowd.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			if v.phase != l.phase {
				continue
			}
			collectViewer(out, v)
			if v.count > 0 && (v.membership == nil || !v.membership.returns) {
				means = append(means, int64(v.sum/uint64(v.count)))
				worsts = append(worsts, int64(v.worst))
			}
		}
		out.Received += l.received
		out.Early += l.early
		out.Ends += l.ends
		if l.first > 0 {
			out.Seconds = min(out.Seconds, float64(finished-l.first)/1e9)
		}
		all = append(all, l.latency.Parts...)
		for i, h := range l.latency.Parts[:min(len(l.latency.Parts), len(intervals))] {
			intervals[i] = append(intervals[i], h)
		}
	})
	out.Latency = report.Summarize(all...)
	out.Spread = report.NewSpread(means, worsts)
	for i, parts := range intervals {
		d := report.Summarize(parts...)
		out.Series[i].P50, out.Series[i].P99, out.Series[i].Max = d.P50, d.P99, d.Max
	}
	out.SetEach()
}

// collectViewer adds what one viewer saw.
func collectViewer(out *report.Phase, v *viewer) {
	expected := v.room.expected(span{v.from, cmp.Or(v.until, math.MaxUint32)})
	if v.membership != nil {
		expected -= min(expected, uint64(v.membership.announced))
	}
	if v.room.remote {
		expected = max(expected, uint64(v.count)) // unless it is known, what came is all there was
	}
	out.Expected += expected
	out.Delivered += uint64(v.count)
	t := v.stream.trouble(expected, uint64(v.count))
	if v.state == ended && !v.left {
		out.Gone++
		out.Lost += t.Missing
	}
	out.Add(t)
}
