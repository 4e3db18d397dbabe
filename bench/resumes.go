package bench

import "lectern/bench/report"

// What a lane and its viewers do when viewers drop and come back. Each
// connection is a viewer of its own: one that drops leaves all that it knows to
// a successor, which then connects.

// resumes is what came of coming back, on one lane.
type resumes struct {
	back   report.Series // microseconds from connecting to joined
	caught report.Series // microseconds from connecting to what was newest when it was back
	live   report.Series // microseconds of latency, of messages that were due when it was back

	recovered, unrecovered int
	announced              uint64 // measured messages that joined said it would not get
}

func newResumes(start int64) resumes {
	return resumes{back: report.NewSeries(start, 0), caught: report.NewSeries(start, 0), live: report.NewSeries(start, 0)}
}

// A departure is a viewer that has dropped, and when.
type departure struct {
	next *viewer // its successor, which has no connection yet
	at   int64   // nanoseconds of the run's clock
}

// drop cuts the connection off wherever it is, and leaves a successor.
func (v *viewer) drop() {
	next := *v
	next.conn, next.current, next.matched, next.partial, next.message, next.out = nil, nil, 0, nil, nil, nil
	next.state, next.again = connecting, true
	next.membership.leaving = false
	v.lane.viewers = append(v.lane.viewers, &next)
	v.lane.left.Add(1)
	v.state, v.phase = ended, 0
	v.conn.Abort()
	v.crowd.away <- departure{&next, v.lane.clock.now()}
}

// returned counts a viewer that is back.
func (v *viewer) returned() {
	l := v.lane
	l.resumes.back.Record(v.since, (v.since-v.began)/1e3)
	if v.membership.newest < v.next { // there was nothing to catch up with
		v.membership.newest = 0
		l.resumes.caught.Record(v.since, (v.since-v.began)/1e3)
	}
	l.lastBack.Store(max(l.lastBack.Load(), v.since))
	l.returned.Add(1)
}

func (ls lanes) left() int     { return int(ls.sum(func(l *lane) int64 { return l.left.Load() })) }
func (ls lanes) returned() int { return int(ls.sum(func(l *lane) int64 { return l.returned.Load() })) }

// back returns how often one was back, or will not be any more.
func (ls lanes) back() int {
	return int(ls.sum(func(l *lane) int64 { return l.returned.Load() + l.unreturned.Load() }))
}

// lastBack returns when the last was back.
func (ls lanes) lastBack() (at int64) {
	for _, l := range ls {
		at = max(at, l.lastBack.Load())
	}
	return at
}
