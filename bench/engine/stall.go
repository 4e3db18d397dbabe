package engine

import "lectern/bench/report"

// StopReading has the last n viewers that came stop reading. Phases do not count
// them any more.
func (r *Runner) StopReading(n int) error {
	return r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if int(v.index) >= r.crowd.started-n {
			v.stalls, v.reads = true, false
		}
	})
}

// ReadAgain has them go on.
func (r *Runner) ReadAgain() error {
	return r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if v.stalls && v.state == live {
			v.reads = true
			v.conn.Flush()
		}
	})
}

// Stalled returns what became of the n viewers that had stopped reading.
func (r *Runner) Stalled(n int) (*report.Stalled, error) {
	fate := &report.Stalled{Viewers: n, Closed: n}
	err := r.crowd.lanes.each(func(_ *lane, v *viewer) {
		if !v.stalls || v.state == ended {
			return
		}
		fate.Closed--
		switch {
		case v.stream != nil && len(v.stream.gaps) > 0:
			fate.Skipped++
		case v.past:
			fate.CaughtUp++
		default:
			fate.Behind++
		}
	})
	return fate, err
}
