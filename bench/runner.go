package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"lectern/bench/report"
	"lectern/bench/server"
	"lectern/bench/stamp"
	"lectern/bench/usage"
	"lectern/bench/workload"
)

// A Scenario is one kind of load. The types of this package whose names the
// command line knows are all there are.
type Scenario interface {
	name() string
	defaults() workload.Options
	check(workload.Options) error
	run(context.Context, *runner) error
}

// A runner carries a run: the server if it started one, hosts, viewers and the
// result so far.
type runner struct {
	options workload.Options
	clock   *ticker
	show    *display
	server  *server.Server // nil unless started by the run
	crowd   *crowd         // nil until opened
	hosts   []*host
	result  *report.Result
	hostly  report.FaultLog // what happened to hosts that are gone
	team    *team           // the agents, on the machine that leads a run with agents
	member  *member         // the tie to that machine, on an agent
}

// Run runs a scenario. It shows its progress on out, as a bar if that is a
// terminal. The result is there even with an error, unless the run could not
// begin: ErrOptions says why.
func Run(ctx context.Context, s Scenario, o workload.Options, out io.Writer) (*report.Result, error) {
	if len(o.Agents) > 0 {
		return runTeam(ctx, s, o, out)
	}
	return carryOut(ctx, s, o, out, func(*runner) {})
}

// carryOut is [Run] on one machine. It calls with before the run begins.
func carryOut(ctx context.Context, s Scenario, o workload.Options, out io.Writer, with func(*runner)) (*report.Result, error) {
	o = o.WithDefaults(s.defaults())
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := s.check(o); err != nil {
		return nil, err
	}
	if err := checkLimits(s, &o); err != nil {
		return nil, err
	}
	spareThreads()

	r := &runner{options: o, clock: newTicker(o.Clock), show: newDisplay(out)}
	r.result = &report.Result{Version: report.ResultVersion, Scenario: s.name(), Label: o.Name(), Started: time.Now(), Machine: usage.ThisMachine(), Options: o}
	with(r)
	err := r.begin(ctx)
	if err == nil {
		err = s.run(ctx, r)
	}
	var parts []*report.Result
	if err == nil && r.team != nil {
		parts = r.team.results(ctx, r)
	}
	if ctx.Err() != nil {
		r.result.Interrupted = true
		err = report.ErrInterrupted
	}
	err = errors.Join(err, r.end())
	r.judgeFaults()
	r.result.Ended = time.Now()
	if err != nil {
		r.problem("%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "bench: "), "\n", "; "))
	}
	if len(parts) > 0 {
		sum, failed := report.Merge(append([]*report.Result{r.result}, parts...)...)
		if failed != nil {
			r.problem("%v", failed)
		} else {
			r.result = sum
		}
	}
	r.result.Crossed = r.result.CrossedThresholds()
	return r.result, r.judge(err)
}

// spareThreads gives the process more threads than there are processors, for
// good: then the kernel and not the Go scheduler decides who goes first, and it
// prefers the host that has slept.
func spareThreads() {
	if want := runtime.NumCPU() + 2; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}

// begin starts the server if the options say so.
func (r *runner) begin(ctx context.Context) error {
	if !r.options.Serve {
		return nil
	}
	s, err := server.Start(ctx, r.options)
	if err != nil {
		return err
	}
	r.server = s
	r.options.URL = s.URL
	r.options.PID = s.PID()
	return nil
}

// open prepares the crowd and opens the rooms.
func (r *runner) open(ctx context.Context) error {
	if err := r.prepare(); err != nil {
		return err
	}
	return r.openRooms(ctx)
}

// prepare makes the crowd.
func (r *runner) prepare() (err error) {
	if r.options.PID != 0 {
		if _, err := usage.ReadProcess(r.options.PID); err != nil {
			return err
		}
	}
	r.crowd, err = newCrowd(r.options, r.clock, r.workers())
	return err
}

// workers returns how many the reactor has.
func (r *runner) workers() int { return runtime.NumCPU() }

// openRooms makes the crowd's rooms and opens them.
func (r *runner) openRooms(ctx context.Context) error {
	r.crowd.rooms = nil
	for i := range r.options.Rooms {
		rm := &room{index: i, name: fmt.Sprintf("room-%d", i), tag: rand.Uint32N(1 << 24), remote: len(r.options.RoomNames) > 0}
		if rm.remote {
			rm.name = r.options.RoomNames[i]
		} else if r.options.Template.Verbatim {
			rm.record = newRecord(r.options.Rooms)
		}
		rm.numbers = r.crowd.numbers
		rm.begin(stamp.Warm, 0)
		r.crowd.rooms = append(r.crowd.rooms, rm)
	}
	if len(r.options.RoomNames) > 0 {
		return nil
	}
	r.show.say("opening %s", report.Count(r.options.Rooms, "room"))
	return r.openHosts(ctx)
}

// openAtOnce is how many hosts open their rooms at the same time.
const openAtOnce = 32

// namedRooms is how many rooms are told by name, for other benches to join.
const namedRooms = 8

func (r *runner) openHosts(ctx context.Context) error {
	hosts := make([]*host, len(r.crowd.rooms))
	errs := make([]error, len(hosts))
	var group sync.WaitGroup
	places := make(chan struct{}, openAtOnce)
	for i, rm := range r.crowd.rooms {
		places <- struct{}{}
		group.Go(func() {
			hosts[i], errs[i] = openHost(ctx, r.crowd, rm)
			<-places
		})
	}
	group.Wait()
	for i, h := range hosts {
		if errs[i] == nil {
			r.hosts = append(r.hosts, h)
			if len(hosts) <= namedRooms && r.options.Template.Opened != "" {
				r.show.say("room %s is open", h.room.name)
			}
			continue
		}
		stage := report.StageConnect
		var at stageError
		if errors.As(errs[i], &at) {
			stage = at.stage
		}
		if errors.Is(errs[i], errRefused) {
			r.hostly.Note(report.WhoHost, stage, errRefused.Error(), errs[i].Error())
			continue
		}
		reason, example := explain(errs[i])
		r.hostly.Note(report.WhoHost, stage, reason, example)
	}
	if len(r.hosts) < len(hosts) {
		return fmt.Errorf("%w: %d of %s could not open their room, the first: %w",
			report.ErrFailed, len(hosts)-len(r.hosts), report.Count(len(hosts), "host"), errors.Join(firstOf(errs)))
	}
	return nil
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// closeHosts ends the rooms.
func (r *runner) closeHosts() {
	for _, h := range r.hosts {
		r.hostly.MergeAll(h.close())
	}
	r.hosts = nil
}

// end closes everything, viewers first: hosts may close the rooms.
func (r *runner) end() error {
	var errs []error
	if r.crowd != nil {
		faults, err := r.crowd.faults()
		r.hostly.MergeAll(faults)
		errs = append(errs, err, r.crowd.close())
	}
	r.closeHosts()
	r.result.Faults = r.hostly.Sorted()
	if r.server != nil {
		if err := r.server.Stop(); err != nil {
			r.problem("the server: %v", err)
		}
	}
	return errors.Join(errs...)
}

func (r *runner) problem(format string, args ...any) {
	r.result.Problems = append(r.result.Problems, fmt.Sprintf(format, args...))
}

func (r *runner) warn(format string, args ...any) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(format, args...))
}

// judge turns an error and the problems into the run's error.
func (r *runner) judge(err error) error {
	switch {
	case len(r.result.Crossed) > 0:
		return errors.Join(r.result.Failed(), err)
	case errors.Is(err, report.ErrInterrupted), errors.Is(err, workload.ErrOptions), errors.Is(err, report.ErrFailed):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", report.ErrFailed, err)
	default:
		return r.result.Failed()
	}
}
