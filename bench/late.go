package bench

import (
	"context"
	"fmt"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
)

// Late has all viewers join a room in which much was said already, with its
// history, while its host goes on.
type Late struct {
	Messages int           // that a room's host has said before anybody joins; default 200
	Over     time.Duration // in which all join; default: as fast as the server takes them
	Numbered float64       // share of the viewers who ask for numbered messages
	History  string        // who keeps the rooms' history, relay or host; default relay
}

// maxMessages bounds what is said before anybody joins.
const maxMessages = 10_000_000

func (s Late) withDefaults() Late {
	workload.SetDefault(&s.Messages, 200)
	workload.SetDefault(&s.History, "relay")
	return s
}

func (Late) name() string { return "late" }

func (Late) defaults() workload.Options {
	return workload.Options{Viewers: 1000, Rate: 50, Size: 256, Duration: 5 * time.Second}
}

func (s Late) check(o workload.Options) error {
	s = s.withDefaults()
	switch {
	case s.Messages < 1 || s.Messages > maxMessages:
		return workload.Refuse("%d messages said before: it takes 1 to %d", s.Messages, maxMessages)
	case s.Over < 0:
		return workload.Refuse("joining over %v", s.Over)
	case s.Over > 0 && o.ConnectRate > 0:
		return workload.Refuse("both a time to join in and a rate of connections: choose")
	}
	return checkClassroom(o, s.name(), s.History, s.Numbered)
}

func (s Late) run(ctx context.Context, r *runner) error {
	s = s.withDefaults()
	if s.Over > 0 {
		r.options.ConnectRate = float64(r.options.Viewers) / s.Over.Seconds()
	}
	if err := r.openClassroom(ctx, classroom{history: s.History, numbered: s.Numbered, asks: true}); err != nil {
		return err
	}
	if err := s.before(ctx, r); err != nil {
		return err
	}
	begun := r.clock.now()
	if err := r.crowd.lanes.do(func(l *lane) { l.arrivals = newArrivals(begun) }); err != nil {
		return err
	}
	lanes := r.crowd.lanes
	p := r.plan("late")
	p.meanwhile = func(ctx context.Context) error {
		if _, err := r.connectQuietly(ctx, "join late", r.options.Viewers); err != nil {
			return err
		}
		s.untilLive(ctx, r)
		return nil
	}
	p.figures = func() string {
		return fmt.Sprintf("%s of %s joined, %s live", report.Grouped(int64(lanes.joined())), report.Count(r.options.Viewers, "viewer"), report.Grouped(lanes.alive()))
	}
	if _, err := r.measure(ctx, p); err != nil {
		return err
	}
	return s.report(r)
}

// before has the hosts say what they say before anybody joins.
func (s Late) before(ctx context.Context, r *runner) error {
	r.show.say("saying %s to nobody", report.Count(s.Messages, "message"))
	ctx, cancel := context.WithTimeout(ctx, max(r.options.Timeout, r.options.Duration))
	defer cancel()
	for _, h := range r.hosts {
		h.begin(stamp.Warm)
		out := h.publish(ctx, load{kind: stamp.Warm, start: r.clock.now(), rate: workload.MaxRate, count: uint32(s.Messages)})
		if err := h.err(); err != nil {
			return stageError{report.StagePublish, err}
		}
		if out.count < uint32(s.Messages) {
			return stageError{report.StagePublish, fmt.Errorf("the server took only %d of %s in time", out.count, report.Count(s.Messages, "message"))}
		}
	}
	return nil
}

// untilLive waits until every viewer has got a live message, or the time for that
// is over.
func (s Late) untilLive(ctx context.Context, r *runner) {
	lanes := r.crowd.lanes
	deadline := time.Now().Add(r.options.Timeout)
	for int(lanes.alive()) < lanes.joined()-lanes.lost() && time.Now().Before(deadline) && ctx.Err() == nil {
		_ = sleep(ctx, 2*time.Millisecond) // the condition looks at ctx
	}
}

// report sums up.
func (s Late) report(r *runner) error {
	out := &report.Arrived{Messages: s.Messages, History: s.History, Viewers: r.crowd.lanes.joined()}
	histories, live := report.NewHistogram(), report.NewHistogram()
	err := r.crowd.lanes.do(func(l *lane) {
		out.Histories += l.arrivals.got
		out.Truncated += l.arrivals.truncated
		out.Bytes += l.arrivals.bytes
		out.Largest = max(out.Largest, l.arrivals.largest)
		histories.Merge(l.arrivals.history.Merged())
		live.Merge(l.arrivals.live.Merged())
		for _, v := range l.viewers {
			if v.numbered {
				out.Numbered++
			}
			if v.state != ended && v.membership.waits && !r.result.Interrupted {
				l.faults.Note(v.who(), report.StageHistory, "no answer in time", "")
				v.membership.waits = false // once is enough
			}
		}
	})
	out.Told, out.Live = report.Summarize(histories), report.Summarize(live)
	for _, h := range r.hosts {
		out.Asked += h.questions()
	}
	r.result.Arrived = out
	return err
}

func (ls lanes) alive() int64 { return ls.sum(func(l *lane) int64 { return l.alive.Load() }) }
