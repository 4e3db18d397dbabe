package bench

import (
	"context"
	"time"

	"lectern/bench/report"
	"lectern/bench/usage"
	"lectern/bench/workload"
)

// Idle has viewers sit there.
type Idle struct{}

// settleTime is how long a server may take to tidy up before its memory is
// read.
const settleTime = time.Second

func (Idle) name() string { return "idle" }

func (Idle) defaults() workload.Options {
	return workload.Options{Viewers: 10000, Rate: 10, Size: 256, Duration: 15 * time.Second}
}

func (Idle) check(o workload.Options) error {
	if o.PID == 0 && !o.Serve {
		return workload.Refuse("idle reads the server's memory: give --pid, or have the bench --serve")
	}
	return nil
}

func (Idle) run(ctx context.Context, r *runner) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	before, err := usage.ReadProcess(r.options.PID)
	if err != nil {
		return err
	}
	machine := usage.ReadMachine()
	c, err := r.connect(ctx, "connect", r.options.Viewers)
	if err != nil {
		return err
	}
	sampler := usage.Start(r.options.PID, time.Now(), max(minInterval, r.options.Duration/phasePoints), r.crowd.lanes.delivered)
	bar := r.show.bar("idle", int64(r.options.Duration))
	start := time.Now()
	watch := repeat(200*time.Millisecond, func() {
		now, _ := usage.ReadProcess(r.options.PID) // one that has ended shows as nothing
		bar.set(int64(time.Since(start)), report.Size(now.RSS))
	})
	waited := sleep(ctx, r.options.Duration)
	watch()
	server, own, busy, points := sampler.Finish()
	after := usage.ReadMachine()
	p := report.Phase{Name: "idle", Started: start, Viewers: c.Joined, Rooms: r.options.Rooms, Seconds: time.Since(start).Seconds(),
		Server: server, Bench: own, Busy: busy, Interval: max(minInterval, r.options.Duration/phasePoints).Seconds(), Series: points}
	r.result.Phases = append(r.result.Phases, p)
	if server == nil {
		return usage.ErrNoProcess
	}
	m := &report.Memory{Viewers: c.Joined, Before: before.RSS, With: server.RSSAfter, Seconds: p.Seconds, IdleCPU: server.Cores}
	m.PerViewer = float64(m.With-m.Before) / float64(c.Joined)
	m.KernelPerViewer = float64(after.Slab-machine.Slab+after.Buffers-machine.Buffers) / float64(c.Joined)
	m.BuffersWith = after.Buffers
	r.result.Memory = m
	bar.close(report.Size(m.With))
	if waited != nil {
		return waited
	}
	if lost := r.crowd.lanes.lost(); lost > 0 {
		r.problem("%s lost the connection while idle", report.Count(lost, "viewer"))
	}
	return r.probe(ctx) // the server must still serve them
}
