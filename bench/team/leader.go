package team

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"slices"
	"time"

	"lectern/bench/clock"
	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// clockDoubt is how far off an agent's clock may be without a warning.
const clockDoubt = time.Millisecond

// Run is [engine.Run] on this machine and on the agents that the options name.
func Run(ctx context.Context, f scenario.Fanout, o workload.Options, out io.Writer) (*report.Result, error) {
	o = o.WithDefaults(f.Defaults())
	whole := o
	if _, err := f.Prepare(&whole); err != nil {
		return nil, err
	}
	if err := errors.Join(o.Check(), check(f, o)); err != nil {
		return nil, err
	}
	n := len(o.Agents) + 1
	l := &leader{Fanout: part(f, 0, n), whole: f, options: o, clock: clock.New(o.Clock)}
	defer l.close()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	o.Viewers, o.ConnectRate = share(o.Viewers, 0, n), o.ConnectRate/float64(n)
	return engine.Run(ctx, l, o, out)
}

// check refuses what cannot be shared.
func check(f scenario.Fanout, o workload.Options) error {
	least := (len(o.Agents) + 1) * o.Rooms
	switch {
	case len(o.RoomNames) > 0:
		return workload.Refuse("agents join the rooms that this machine opens: it cannot join another's")
	case o.Viewers < least:
		return workload.Refuse("%d viewers: each of %d machines needs one for each room", o.Viewers, len(o.Agents)+1)
	case len(f.Stages) > 0 && f.Stages[0].Viewers < least:
		return workload.Refuse("the first stage leads to %d viewers: each of %d machines needs one for each room", f.Stages[0].Viewers, len(o.Agents)+1)
	}
	return nil
}

// share returns part i of n of a number. All parts add up to the whole.
func share(whole, i, n int) int {
	part := whole / n
	if i < whole%n {
		part++
	}
	return part
}

// part returns a fanout with part i of n of the viewers of each stage.
func part(f scenario.Fanout, i, n int) scenario.Fanout {
	stages := slices.Clone(f.Stages)
	for j := range stages {
		stages[j].Viewers = share(stages[j].Viewers, i, n)
	}
	return scenario.Fanout{Stages: stages}
}

// A leader is the run on the machine that leads it.
type leader struct {
	scenario.Fanout // this machine's share

	whole   scenario.Fanout
	options workload.Options // of the whole run
	clock   *clock.Clock     // what all machines' messages are due by
	agents  []*agent
}

// An agent is another machine's part of the run.
type agent struct {
	addr    string
	client  *rpc.Client
	run     *rpc.Call // done when the agent's part has ended
	outcome Outcome
	within  time.Duration // how exactly the agent knows the run's clock
}

// call has the agent do something, and waits for its answer.
func (a *agent) call(ctx context.Context, method string, arg, reply any) error {
	call := a.client.Go(service+"."+method, arg, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *leader) connect(ctx context.Context) error {
	config, err := linkConfig(l.options.Token)
	if err != nil {
		return err
	}
	for _, addr := range l.options.Agents {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: greetLimit}, Config: config}
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("agent %s: %w", addr, err)
		}
		l.agents = append(l.agents, &agent{addr: addr, client: jsonrpc.NewClient(conn)})
	}
	return nil
}

func (l *leader) close() {
	for _, a := range l.agents {
		_ = a.client.Close()
	}
}

// Prepare has the agents take part.
func (l *leader) Prepare(o *workload.Options) (engine.Setup, error) {
	setup, err := l.Fanout.Prepare(o)
	setup.Clock, setup.Peers = l.clock, l
	return setup, err
}

// Run gives each agent its part, and takes what it found.
func (l *leader) Run(ctx context.Context, r *engine.Runner) error {
	n := len(l.agents) + 1
	for i, a := range l.agents {
		o := forAgent(l.options)
		o.URL, o.RoomNames = r.Options.URL, r.Rooms()
		o.Viewers, o.ConnectRate = share(l.options.Viewers, i+1, n), o.ConnectRate/float64(n)
		shift, err := a.matchClock(ctx, l.clock)
		if err != nil {
			return fmt.Errorf("agent %s: %w", a.addr, err)
		}
		a.run = a.client.Go(service+".Run", Job{agentVersion, o, part(l.whole, i+1, n).Stages, shift}, &a.outcome, make(chan *rpc.Call, 1))
	}
	if err := l.Fanout.Run(ctx, r); err != nil && ctx.Err() == nil {
		return err
	}
	l.results(ctx, r)
	return ctx.Err()
}

// clockRounds is how often a leader asks an agent for the time. The fastest answer
// counts.
const clockRounds = 16

// matchClock returns how far the agent's clock is to be set forward to show what the
// leader's shows. It may be off by half of the fastest round trip (RFC 5905 8).
func (a *agent) matchClock(ctx context.Context, clock *clock.Clock) (shift int64, err error) {
	a.within = math.MaxInt64
	for range clockRounds {
		var now int64
		asked := clock.Now()
		if err := a.call(ctx, "Time", true, &now); err != nil {
			return 0, err
		}
		if half := (clock.Now() - asked) / 2; time.Duration(half) < a.within {
			a.within, shift = time.Duration(half), asked+half-now
		}
	}
	return shift, nil
}

// Meet waits until all agents have reached a place or have ended, and has them go
// on with what the order says.
func (l *leader) Meet(ctx context.Context, place string, lead func(*engine.Order)) (o engine.Order, err error) {
	for _, a := range l.agents {
		var at string
		switch err := a.call(ctx, "Reached", true, &at); {
		case ctx.Err() != nil:
			return o, ctx.Err()
		case err == nil && at != place:
			return o, fmt.Errorf("agent %s has reached %q, the leader %q", a.addr, at, place)
		}
	}
	lead(&o)
	for _, a := range l.agents {
		_ = a.call(ctx, "Go", o, new(bool)) // the next meeting shows if it is gone
	}
	return o, nil
}

// results waits for what the agents found. A part that is missing is a problem.
func (l *leader) results(ctx context.Context, r *engine.Runner) {
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout+30*time.Second)
	defer cancel()
	for _, a := range l.agents {
		select {
		case <-a.run.Done:
		case <-ctx.Done():
			r.Problem("agent %s: no result in time; what its viewers saw is not in this one", a.addr)
			return
		}
		switch {
		case errors.Is(a.run.Error, io.ErrUnexpectedEOF), errors.Is(a.run.Error, rpc.ErrShutdown):
			r.Problem("agent %s: it has gone away; what its viewers saw is not in the result", a.addr)
		case a.run.Error != nil:
			r.Problem("agent %s: %v; what its viewers saw is not in the result", a.addr, a.run.Error)
		case a.outcome.Result == nil:
			r.Problem("agent %s: %s", a.addr, a.outcome.Error)
		default:
			if a.within > clockDoubt {
				r.Warn("agent %s: its clock is right to %v, and so are its latencies", a.addr, a.within.Round(10*time.Microsecond))
			}
			r.Include(a.outcome.Result.From(a.addr))
		}
	}
}
