package usage

import (
	"sync"
	"time"

	"lectern/bench/report"
)

// A Sampler reads the processes and the machine at a steady interval, from its
// start to its stop.
type Sampler struct {
	pid     int           // immutable; of the server, 0 if unknown
	count   func() uint64 // immutable; deliveries so far
	begun   sample        // immutable
	machine MachineState  // immutable; when it began

	stop chan struct{}
	done sync.WaitGroup

	points  []report.Point // owned by the sampling goroutine until it is done
	peak    int64          // likewise; resident bytes of the server
	ownPeak int64          // likewise; of the bench
}

// A sample is what was read at a moment.
type sample struct {
	at          time.Time
	server, own Process
	served      bool // the server's process can be read
	count       uint64
}

func (s *Sampler) read() (now sample) {
	now = sample{own: own(), count: s.count()}
	if s.pid != 0 {
		var err error
		now.server, err = ReadProcess(s.pid)
		now.served = err == nil
	}
	now.at = time.Now()
	return now
}

// Start begins at the moment of its call. The points lie interval apart,
// the first one interval after start.
func Start(pid int, start time.Time, interval time.Duration, count func() uint64) *Sampler {
	s := &Sampler{pid: pid, count: count, stop: make(chan struct{}), machine: ReadMachine()}
	s.begun = s.read()
	s.done.Go(func() { s.run(start, interval) })
	return s
}

func (s *Sampler) run(start time.Time, interval time.Duration) {
	last := s.begun
	for i := 1; ; i++ {
		select {
		case <-time.After(time.Until(start.Add(time.Duration(i) * interval))):
		case <-s.stop:
			return
		}
		now := s.read()
		seconds := now.at.Sub(last.at).Seconds()
		p := report.Point{At: now.at.Sub(start).Seconds(), Delivered: float64(now.count-last.count) / seconds, BenchCPU: (now.own.cpu - last.own.cpu) / seconds}
		if now.served {
			p.ServerCPU, p.ServerRSS = (now.server.cpu-last.server.cpu)/seconds, now.server.RSS
		} else {
			now.server = last.server
		}
		s.peak, s.ownPeak = max(s.peak, now.server.RSS), max(s.ownPeak, now.own.RSS)
		s.points = append(s.points, p)
		last = now
	}
}

// Finish ends the sampling. server is nil if its process cannot be read.
func (s *Sampler) Finish() (server *report.Usage, bench report.Usage, busy float64, points []report.Point) {
	last, machine := s.read(), ReadMachine()
	close(s.stop)
	s.done.Wait()
	seconds := last.at.Sub(s.begun.at).Seconds()
	use := func(first, last Process, peak int64) report.Usage {
		cpu := last.cpu - first.cpu
		return report.Usage{CPU: cpu, Cores: cpu / seconds, RSSBefore: first.RSS, RSSAfter: last.RSS, RSSPeak: max(first.RSS, peak, last.RSS)}
	}
	if last.served {
		u := use(s.begun.server, last.server, s.peak)
		server = &u
	}
	bench = use(s.begun.own, last.own, s.ownPeak)
	if all := machine.all - s.machine.all; all > 0 {
		busy = (machine.busy - s.machine.busy) / all
	}
	return server, bench, busy, s.points
}
