package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/usage"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A plan is a phase that is to come.
type plan struct {
	name     string
	rate     float64 // messages a second in each room
	duration time.Duration
	warm     bool                      // checked, but not measured
	drain    time.Duration             // how long to wait for late messages
	watch    func(viewer *viewer) bool // which viewers count; nil: all

	// meanwhile is what else is done. The hosts go on, if need be beyond the
	// duration, until it returns.
	meanwhile func(context.Context) error
	figures   func() string // what to show of it
	grows     bool          // viewers that come meanwhile count, from their first message on
}

// kind returns what its messages are.
func (p plan) kind() byte {
	if p.warm {
		return stamp.Warm
	}
	return stamp.Measured
}

const (
	phasePoints = 60                     // points of a phase's time series, about
	minInterval = 250 * time.Millisecond // between two of them
	leadTime    = 20 * time.Millisecond  // from the preparations to the first due message

	// interruptedDrain is how long an interrupted run waits for what is on its way.
	interruptedDrain = time.Second
)

// phase publishes and counts. It returns what it found even when ctx ends, and
// an error only if the bench itself cannot go on.
func (r *runner) phase(ctx context.Context, p plan) (report.Phase, error) {
	c := r.crowd
	interval := max(minInterval, p.duration/phasePoints)
	for _, h := range r.hosts {
		h.begin(p.kind()) // before the viewers: a late fence of the last phase must not end this one
	}
	start, at, members, err := r.assume(ctx, p, int64(interval))
	if err != nil {
		return report.Phase{Name: p.name}, err
	}
	r.waitFor(ctx, at)
	out := report.Phase{Name: p.name, Started: at, Viewers: members, Rooms: len(c.rooms), Rate: p.rate, Size: r.options.Size, Interval: interval.Seconds()}
	perRoom := uint32(math.Round(p.rate * p.duration.Seconds()))
	out.Planned = uint64(perRoom) * uint64(len(r.hosts))

	sampler := usage.Start(r.options.PID, at, interval, c.lanes.delivered)
	bar := r.show.bar(p.name, int64(p.duration))
	if p.figures == nil {
		p.figures = func() string {
			return fmt.Sprintf("%s delivered, %d of %s gone", report.Grouped(int64(c.lanes.delivered())), c.lanes.lost(), report.Count(members, "viewer"))
		}
	}
	watch := repeat(200*time.Millisecond, func() { bar.set(int64(min(time.Since(at), p.duration)), p.figures()) })
	finish := r.begun(ctx, p)
	late, published := r.publishAll(ctx, p, start, perRoom, members, finish.done)
	if out.Planned = max(out.Planned, published); p.meanwhile != nil {
		<-finish.done
		members, err = r.members()
		out.Viewers = members
		err = errors.Join(err, finish.err)
	}
	if err == nil {
		err = r.published(ctx, p)
	}
	r.drain(ctx, p, members)
	finished := r.clock.now()
	watch()
	server, own, busy, points := sampler.Finish()

	out.Published = published
	out.SendLate = report.Summarize(late)
	out.Server, out.Bench, out.Busy, out.Series = server, own, busy, points
	out.Seconds = float64(finished-start) / 1e9
	if err := errors.Join(err, r.collect(&out, p, finished)); err != nil {
		return out, err
	}
	bar.close(out.Brief())
	return out, nil
}

// assume begins a phase on this machine, and on those that it shares the run with:
// no message is due before all know of it. It returns when the first one is due.
func (r *runner) assume(ctx context.Context, p plan, interval int64) (start int64, at time.Time, members int, err error) {
	place := p.name + " begins"
	start, at = r.startTime()
	if r.team != nil && !p.warm {
		err = r.team.meet(ctx, place, func(o *order) {
			wait := max(time.Until(at), teamLead)
			start, at = r.clock.now()+int64(wait), time.Now().Add(wait)
			o.Start = start
		})
	}
	if err == nil {
		members, err = r.muster(p, start, interval)
	}
	if r.member != nil && err == nil {
		o, failed := r.member.meet(ctx, place)
		if failed != nil {
			return start, at, members, failed
		}
		start, at = o.Start, time.Now().Add(time.Duration(o.Start-r.clock.now()))
		err = r.crowd.lanes.do(func(l *lane) { l.latency.Start = start })
	}
	return start, at, members, err
}

// published tells the machines that a run is shared with which messages the phase
// had. A viewer there may have lost its connection before it could see the end.
func (r *runner) published(ctx context.Context, p plan) error {
	if p.warm || ctx.Err() != nil {
		return nil
	}
	o, err := r.together(ctx, p.name+" is published", func(o *order) {
		for _, rm := range r.crowd.rooms {
			o.Spans = append(o.Spans, [2]uint32{rm.from.Load(), rm.to.Load()})
		}
	})
	if o != nil {
		for i, rm := range r.crowd.rooms {
			if i < len(o.Spans) {
				rm.settle(o.Spans[i][0], o.Spans[i][1])
			}
		}
	}
	return err
}

// startTime returns when the first message is due: at the agreed time, which
// counts once, or now.
func (r *runner) startTime() (int64, time.Time) {
	wait := max(time.Until(r.options.StartAt), leadTime)
	r.options.StartAt = time.Time{}
	return r.clock.now() + int64(wait), time.Now().Add(wait)
}

// waitFor sleeps until shortly before the start. Everything is ready by then:
// another process may be the one that publishes.
func (r *runner) waitFor(ctx context.Context, at time.Time) {
	if wait := time.Until(at); wait > time.Second {
		r.show.say("waiting for %s", at.Format(time.TimeOnly))
	}
	_ = sleep(ctx, time.Until(at)-leadTime) // the phase looks at ctx
}

// muster begins a phase in all lanes and returns how many viewers are in it.
func (r *runner) muster(p plan, start, interval int64) (members int, err error) {
	for _, rm := range r.crowd.rooms {
		if rm.remote {
			rm.renew()
		}
	}
	err = r.crowd.lanes.do(func(l *lane) {
		l.phase++
		l.latency = report.NewSeries(start, interval)
		l.grows = p.grows
		l.total, l.early, l.ends, l.first = 0, 0, 0, 0
		l.delivered.Store(0)
		l.fenced.Store(0)
		l.gone.Store(0)
		l.viewers = slices.DeleteFunc(l.viewers, func(v *viewer) bool { return v.state == ended })
		for _, v := range l.viewers {
			v.count, v.sum, v.worst, v.stream, v.past = 0, 0, 0, nil, false
			v.from = 0
			if v.membership != nil {
				v.membership.announced = 0
			}
			if v.state == live && (p.watch == nil || p.watch(v)) {
				v.phase = l.phase
				members++
			}
		}
	})
	return members, err
}

// moreTime is how much hosts publish at a time once the duration is over.
const moreTime = 250 * time.Millisecond

// publishAll has every host publish, go on until done is closed, if there is
// such a channel, and fence. It returns when all have.
func (r *runner) publishAll(ctx context.Context, p plan, start int64, perRoom uint32, members int, done <-chan struct{}) (late *hdrhistogram.Histogram, published uint64) {
	late = report.NewHistogram()
	if r.member != nil {
		return late, 0
	}
	if len(r.hosts) == 0 { // another process publishes
		r.await(ctx, p.duration+r.options.Warmup+2*r.options.Timeout, members)
		return late, 0
	}
	fence := byte(stamp.Fence)
	if p.warm {
		fence = stamp.WarmFence
	}
	// A server that takes nothing more does not hold the bench.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline := time.Now().Add(p.duration + p.drain + leadTime)
	stop := repeat(100*time.Millisecond, func() {
		if !over(done) {
			deadline = report.Later(deadline, time.Now().Add(p.drain+leadTime))
		}
		if r.allGone(members) || time.Now().After(deadline) {
			cancel()
		}
	})
	defer stop()
	var mu sync.Mutex
	var group sync.WaitGroup
	for i, h := range r.hosts {
		shift := int64(float64(i) / float64(len(r.hosts)) / p.rate * 1e9) // rooms take turns
		group.Go(func() {
			if len(r.hosts) <= preciseHosts {
				defer ownThread()()
			}
			l := load{kind: p.kind(), start: start + shift, rate: p.rate, count: perRoom}
			for {
				s := h.publish(ctx, l)
				mu.Lock()
				late.Merge(s.late.Merged())
				published += uint64(s.count)
				mu.Unlock()
				if over(done) || s.count < l.count || ctx.Err() != nil {
					break
				}
				l.start, l.count = l.due(l.count), uint32(max(p.rate*moreTime.Seconds(), 1))
			}
			h.end()
			h.fence(fence)
		})
	}
	group.Wait()
	for range fences - 1 {
		if r.await(ctx, fenceEvery, members); r.crowd.lanes.settled() >= members || ctx.Err() != nil {
			break
		}
		for _, h := range r.hosts {
			h.fence(fence)
		}
	}
	return late, published
}

// drain waits until all members have come to the end of the phase or are gone.
func (r *runner) drain(ctx context.Context, p plan, members int) {
	limit := p.drain
	if ctx.Err() != nil {
		limit = interruptedDrain
	}
	r.await(context.WithoutCancel(ctx), limit, members)
}

func (r *runner) await(ctx context.Context, limit time.Duration, members int) {
	deadline := time.Now().Add(limit)
	for r.crowd.lanes.settled() < members && time.Now().Before(deadline) && ctx.Err() == nil {
		_ = sleep(ctx, 2*time.Millisecond) // the condition looks at ctx
	}
}

// allGone reports whether no member is left.
func (r *runner) allGone(members int) bool {
	gone := int(r.crowd.lanes.sum(func(l *lane) int64 { return l.gone.Load() }))
	return members > 0 && gone >= members
}

// collect reads from the lanes what the phase was.
func (r *runner) collect(out *report.Phase, p plan, finished int64) error {
	var means, worsts []int64
	intervals := make([]*hdrhistogram.Histogram, len(out.Series))
	all := report.NewHistogram()
	err := r.crowd.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			if v.phase != l.phase || p.watch != nil && !p.watch(v) {
				continue
			}
			collectViewer(out, v)
			if v.count > 0 && (v.membership == nil || !v.membership.returns) {
				means = append(means, int64(v.sum/uint64(v.count)))
				worsts = append(worsts, int64(v.worst))
			}
		}
		out.Early += l.early
		out.Ends += l.ends
		if l.first > 0 {
			out.Seconds = min(out.Seconds, float64(finished-l.first)/1e9)
		}
		for i, h := range l.latency.Parts {
			if h == nil {
				continue
			}
			all.Merge(h)
			if i < len(intervals) {
				if intervals[i] == nil {
					intervals[i] = report.NewHistogram()
				}
				intervals[i].Merge(h)
			}
		}
	})
	if err != nil {
		return err
	}
	out.Latency = report.Summarize(all)
	out.Spread = report.NewSpread(means, worsts)
	for i, h := range intervals {
		if h != nil {
			pt := &out.Series[i]
			pt.P50, pt.P99, pt.Max = h.ValueAtPercentile(50), h.ValueAtPercentile(99), h.Max()
		}
	}
	if out.Seconds > 0 {
		out.PerSecond = float64(out.Delivered) / out.Seconds
	}
	out.SetCPUEach()
	return nil
}

// collectViewer adds what one viewer saw.
func collectViewer(out *report.Phase, v *viewer) {
	expected := v.room.expected(span{v.from, cmp.Or(v.until, math.MaxUint32)})
	if v.membership != nil {
		expected = v.membership.expected(v.room)
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
