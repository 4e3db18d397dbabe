package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"lectern/bench/clock"
	"lectern/bench/report"
	"lectern/bench/server"
	"lectern/bench/usage"
	"lectern/bench/wire"
	"lectern/bench/workload"

	"github.com/gobwas/ws"
)

// A Runner carries a run: the server if it started one, hosts, viewers and the
// result so far.
type Runner struct {
	Options workload.Options // immutable for scenarios
	Result  *report.Result

	clock  *clock.Clock
	show   *display
	peers  Peers          // nil: this machine is alone
	server *server.Server // nil unless started by the run
	crowd  *crowd         // nil until opened
	hosts  []*host
	hostly report.FaultLog  // what happened to hosts that are gone
	parts  []*report.Result // what other machines found
}

// Run runs a scenario. It shows its progress on out, as a bar if that is a
// terminal. The result is there even with an error, unless the run could not
// begin: ErrOptions says why.
func Run(ctx context.Context, s Scenario, o workload.Options, out io.Writer) (*report.Result, error) {
	o = o.WithDefaults(s.Defaults())
	if err := o.Check(); err != nil {
		return nil, err
	}
	actual := o
	setup, err := s.Prepare(&actual)
	if err != nil {
		return nil, err
	}
	if len(o.Agents) > 0 && setup.Peers == nil {
		return nil, workload.Refuse("%s runs on one machine: agents take part in fanout", s.Name())
	}
	if setup.Classroom != nil {
		if err := setup.Classroom.check(actual, s.Name()); err != nil {
			return nil, err
		}
	}
	workload.SetDefault(&setup.Viewers, actual.Viewers)
	workload.SetDefault(&setup.Connections, setup.Viewers)
	if err := checkLimits(&actual, setup.Viewers, setup.Connections); err != nil {
		return nil, err
	}
	o.Sources = actual.Sources
	if setup.Clock == nil {
		setup.Clock = clock.New(o.Clock)
	}
	spareThreads()

	r := &Runner{Options: actual, clock: setup.Clock, show: newDisplay(out), peers: setup.Peers}
	r.Result = &report.Result{Version: report.ResultVersion, Scenario: s.Name(), Label: o.Name(), Started: time.Now(), Machine: usage.ThisMachine(), Options: o}
	err = r.begin(ctx, setup.Classroom)
	if err == nil {
		err = s.Run(ctx, r)
	}
	return r.finish(ctx, err, setup.Breaks)
}

// spareThreads gives the process more threads than there are processors, for
// good: then the kernel and not the Go scheduler decides who goes first, and it
// prefers the host that has slept.
func spareThreads() {
	if want := runtime.NumCPU() + 2; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}

// begin starts the server if the options say so, prepares the crowd and opens
// the rooms.
func (r *Runner) begin(ctx context.Context, cl *Classroom) (err error) {
	if r.Options.Serve {
		if r.server, err = server.Start(ctx, r.Options); err != nil {
			return err
		}
		r.Options.URL, r.Options.CA, r.Options.PID = r.server.URL, r.server.CA, r.server.PID()
	}
	if r.Options.PID != 0 {
		if _, err := usage.ReadProcess(r.Options.PID); err != nil {
			return err
		}
	}
	if r.crowd, err = newCrowd(r.Options, r.clock, cl); err != nil {
		return err
	}
	return r.openRooms(ctx)
}

// finish closes everything, viewers first, as hosts may close the rooms, and
// judges the run.
func (r *Runner) finish(ctx context.Context, err error, breaks bool) (*report.Result, error) {
	if ctx.Err() != nil {
		r.Result.Interrupted = true
		err = report.ErrInterrupted
	}
	errs := []error{err}
	if r.crowd != nil {
		r.crowd.lanes.do(func(l *lane) { r.hostly.MergeAll(l.faults.Faults) })
		errs = append(errs, r.crowd.close())
	}
	r.closeHosts()
	r.Result.Faults = r.hostly.Sorted()
	if r.server != nil {
		if err := r.server.Stop(); err != nil {
			r.Problem("the server: %v", err)
		}
	}
	if !breaks {
		r.judgeFaults()
	}
	r.Result.Ended = time.Now()
	if err = errors.Join(errs...); err != nil {
		r.Problem("%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "bench: "), "\n", "; "))
	}
	if len(r.parts) > 0 {
		sum, failed := report.Merge(append([]*report.Result{r.Result}, r.parts...)...)
		if failed != nil {
			r.Problem("%v", failed)
		} else {
			r.Result = sum
		}
	}
	r.Result.Crossed = r.Result.CrossedThresholds()
	return r.Result, r.verdict(err)
}

// verdict turns an error and the problems into the run's error.
func (r *Runner) verdict(err error) error {
	switch {
	case len(r.Result.Crossed) > 0:
		return errors.Join(r.Result.Failed(), err)
	case errors.Is(err, report.ErrInterrupted), errors.Is(err, workload.ErrOptions), errors.Is(err, report.ErrFailed):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", report.ErrFailed, err)
	default:
		return r.Result.Failed()
	}
}

// Include adds what another machine found to the result, when the run is over.
func (r *Runner) Include(part *report.Result) { r.parts = append(r.parts, part) }

// Problem notes why the run has failed.
func (r *Runner) Problem(format string, args ...any) {
	r.Result.Problems = append(r.Result.Problems, fmt.Sprintf(format, args...))
}

// Warn notes what makes the figures doubtful.
func (r *Runner) Warn(format string, args ...any) {
	r.Result.Warnings = append(r.Result.Warnings, fmt.Sprintf(format, args...))
}

// Say shows a line.
func (r *Runner) Say(format string, args ...any) { r.show.say(format, args...) }

// meet waits at a place for the other machines of the run, if there are any.
func (r *Runner) meet(ctx context.Context, place string, lead func(*Order)) (o Order, err error) {
	if r.peers == nil {
		return o, nil
	}
	return r.peers.Meet(ctx, place, lead)
}

// follows reports whether another machine leads the run.
func (r *Runner) follows() bool { return r.peers != nil && len(r.Options.RoomNames) > 0 }

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
	var status ws.StatusError
	var errno syscall.Errno
	var resolve *net.DNSError
	switch {
	case errors.Is(err, errRefused):
		return errRefused.Error(), err.Error()
	case errors.As(err, &status):
		return fmt.Sprintf("HTTP %d", status), ""
	case errors.Is(err, wire.ErrGarbage):
		return wire.ErrGarbage.Error(), err.Error()
	case errors.Is(err, wire.ErrDeclined):
		return wire.ErrDeclined.Error(), err.Error()
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
