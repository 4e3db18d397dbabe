package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"lectern/bench/report"
	"lectern/bench/wire"
)

// judgePhase makes problems of what is wrong with a phase.
func (r *Runner) judgePhase(p report.Phase) {
	judged := p
	if r.Options.Thresholds.Tolerates() {
		judged.Missing = 0
	}
	for _, text := range judged.Wrong() {
		r.Problem("%s: %s", p.Name, text)
	}
	if p.Published < p.Planned && !r.Result.Interrupted {
		r.Problem("%s: only %s of %s were published", p.Name, report.Grouped(int64(p.Published)), report.Count(p.Planned, "message"))
	}
}

// judgeFaults makes a problem of what happened to connections outside of any
// measured phase.
func (r *Runner) judgeFaults() {
	if len(r.Result.Problems) > 0 {
		return
	}
	for _, f := range r.Result.Faults {
		if f.Who != report.WhoStalled {
			r.Problem("%d times: %s, stage %s: %s", f.Count, f.Who, f.Stage, f.Reason)
		}
	}
}

// The signs that the bench itself was the bottleneck.
const (
	busyMachine = 0.95 // share of all processors in use
	busyBench   = 0.90 // share of the processors that the bench alone had in use
	busyOthers  = 0.25 // processors that neither bench nor server had in use

	// A host that is late by more than lateShare of the 99th percentile, and
	// more than lateFloor microseconds, has made the latencies worse itself.
	lateShare = 0.25
	lateFloor = 2000
)

// Suspect warns when a phase says more of the bench than of the server.
func (r *Runner) Suspect(p report.Phase) {
	cpus := float64(runtime.NumCPU())
	switch {
	case p.Bench.Cores > busyBench*cpus:
		r.Warn("%s: the bench itself used %.2f of %.0f processors: it was the bottleneck, the server may do better", p.Name, p.Bench.Cores, cpus)
	case p.Busy > busyMachine && p.Server != nil && p.Bench.CPU > p.Server.CPU:
		r.Warn("%s: the machine was busy (%.0f %%) and the bench used more of it (%.2f processors) than the server (%.2f): latencies are the bench's as much as the server's",
			p.Name, 100*p.Busy, p.Bench.Cores, p.Server.Cores)
	}
	if p.Early > 0 {
		r.Warn("%s: %s came before they were due: the clocks of the machines differ, and latencies are wrong by as much", p.Name, report.Count(p.Early, "message"))
	}
	others := p.Busy*cpus - p.Bench.Cores
	if p.Server != nil {
		others -= p.Server.Cores
	}
	if p.Server != nil && others > busyOthers {
		r.Warn("%s: other processes of this machine used %.2f processors: the latencies are theirs too", p.Name, others)
	}
	if late := p.SendLate.P99; late > lateFloor && float64(late) > lateShare*float64(p.Latency.P99) {
		r.Warn("%s: the bench published late (p99 %s) because it, or the server, held the host up: that is in the latencies", p.Name, report.Micros(late))
	}
}

// explain turns an error into one of few reasons, so that they can be counted.
func explain(err error) (reason, example string) {
	var status wire.StatusError
	var errno syscall.Errno
	var resolve *net.DNSError
	switch {
	case errors.Is(err, errRefused):
		return errRefused.Error(), err.Error()
	case errors.As(err, &status):
		return status.Error(), ""
	case errors.Is(err, wire.ErrGarbage):
		return wire.ErrGarbage.Error(), err.Error()
	case errors.Is(err, io.EOF):
		return "closed without a word", ""
	case errors.As(err, &resolve):
		return "name not found", err.Error()
	case errors.As(err, &errno):
		return errno.Error(), ""
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time", ""
	case errors.Is(err, net.ErrClosed):
		return "closed by the bench", ""
	default:
		return "error", err.Error()
	}
}
