package usage

import (
	"sync"
	"time"

	"lectern/bench/report"
)

// A Sampler reads the processes and the machine at a steady interval, from its
// start to its stop.
type Sampler struct {
	pid      int // immutable; of the server, 0 if unknown
	interval time.Duration
	count    func() uint64 // immutable; deliveries so far

	begun   time.Time
	machine MachineState
	server  Process
	own     Process

	stop chan struct{}
	done sync.WaitGroup

	points  []report.Point // owned by the sampling goroutine until it is done
	peak    int64          // likewise; of the server
	ownPeak int64          // likewise
}

// Start begins at the moment of its call. The points lie interval apart,
// the first one interval after start.
func Start(pid int, start time.Time, interval time.Duration, count func() uint64) *Sampler {
	s := &Sampler{pid: pid, interval: interval, count: count, begun: time.Now(), stop: make(chan struct{})}
	s.machine = ReadMachine()
	if pid != 0 {
		s.server, _ = ReadProcess(pid) // a process that has ended counts as 0
	}
	s.own = own()
	s.peak, s.ownPeak = s.server.RSS, s.own.RSS
	s.done.Go(func() { s.run(start) })
	return s
}

func (s *Sampler) run(start time.Time) {
	last, server, bench, delivered := s.begun, s.server, s.own, s.count()
	for i := 1; ; i++ {
		timer := time.NewTimer(time.Until(start.Add(time.Duration(i) * s.interval)))
		select {
		case <-timer.C:
		case <-s.stop:
			timer.Stop()
			return
		}
		now := time.Now()
		seconds := now.Sub(last).Seconds()
		p := report.Point{At: now.Sub(start).Seconds()}
		n := s.count()
		p.Delivered = float64(n-delivered) / seconds
		if s.pid != 0 {
			if sample, err := ReadProcess(s.pid); err == nil {
				p.ServerCPU = (sample.cpu - server.cpu) / seconds
				p.ServerRSS = sample.RSS
				s.peak = max(s.peak, sample.RSS)
				server = sample
			}
		}
		sample := own()
		p.BenchCPU = (sample.cpu - bench.cpu) / seconds
		last, bench, delivered = now, sample, n
		s.ownPeak = max(s.ownPeak, sample.RSS)
		s.points = append(s.points, p)
	}
}

// Finish ends the sampling. server is nil if its process cannot be read.
func (s *Sampler) Finish() (server *report.Usage, bench report.Usage, busy float64, points []report.Point) {
	self := own()
	var last Process
	var err error
	if s.pid != 0 {
		last, err = ReadProcess(s.pid)
	}
	seconds := time.Since(s.begun).Seconds()
	machine := ReadMachine()
	close(s.stop)
	s.done.Wait()
	if s.pid != 0 && err == nil {
		server = &report.Usage{CPU: last.cpu - s.server.cpu, RSSBefore: s.server.RSS, RSSAfter: last.RSS, RSSPeak: max(s.peak, last.RSS)}
		server.Cores = server.CPU / seconds
	}
	bench = report.Usage{CPU: self.cpu - s.own.cpu, RSSBefore: s.own.RSS, RSSAfter: self.RSS, RSSPeak: max(s.ownPeak, self.RSS)}
	bench.Cores = bench.CPU / seconds
	if all := machine.all - s.machine.all; all > 0 {
		busy = (machine.busy - s.machine.busy) / all
	}
	return server, bench, busy, s.points
}
