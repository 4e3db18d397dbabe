package team

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
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
	link    *link
	reached chan string // closed when nothing more comes
	done    *outcome    // set before reached is closed; nil if the connection broke
	broken  error       // set before reached is closed; how it broke
	over    bool        // owned by the run; nothing more comes
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
		l.agents = append(l.agents, &agent{addr: addr, link: newLink(conn), reached: make(chan string, 1)})
	}
	return nil
}

func (l *leader) close() {
	for _, a := range l.agents {
		a.link.close()
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
		if err := a.link.send(note{Job: &job{agentVersion, o, part(l.whole, i+1, n).Stages}}); err != nil {
			return fmt.Errorf("agent %s: %w", a.addr, err)
		}
		go a.listen(l.clock) // ends with the link
	}
	if err := l.Fanout.Run(ctx, r); err != nil && ctx.Err() == nil {
		return err
	}
	l.results(ctx, r)
	return ctx.Err()
}

// listen takes what the agent says until its end.
func (a *agent) listen(clock *clock.Clock) {
	defer close(a.reached)
	for {
		n, err := a.link.receive()
		switch {
		case errors.Is(err, io.EOF):
			a.broken = errors.New("it has gone away")
			return
		case err == nil && n.Done != nil:
			a.done = n.Done
			return
		case err == nil && n.Ask:
			err = a.link.send(note{Now: clock.Now()})
		case err == nil && n.Reached != "":
			a.reached <- n.Reached
		}
		if err != nil {
			a.broken = err
			return
		}
	}
}

// Meet waits until all agents have reached a place or have ended, and has them go
// on with what the order says.
func (l *leader) Meet(ctx context.Context, place string, lead func(*engine.Order)) (engine.Order, error) {
	o := order{Place: place}
	for _, a := range l.agents {
		if a.over {
			continue
		}
		select {
		case at, ok := <-a.reached:
			if a.over = !ok; ok && at != place {
				return o.Order, fmt.Errorf("agent %s has reached %q, the leader %q", a.addr, at, place)
			}
		case <-ctx.Done():
			return o.Order, ctx.Err()
		}
	}
	lead(&o.Order)
	for _, a := range l.agents {
		if !a.over {
			_ = a.link.send(note{Go: &o}) // the next meeting shows if it is gone
		}
	}
	return o.Order, nil
}

// results waits for what the agents found. A part that is missing is a problem.
func (l *leader) results(ctx context.Context, r *engine.Runner) {
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout+30*time.Second)
	defer cancel()
	for _, a := range l.agents {
		for !a.over {
			select {
			case _, ok := <-a.reached:
				a.over = !ok
			case <-ctx.Done():
				r.Problem("agent %s: no result in time; what its viewers saw is not in this one", a.addr)
				a.over = true
				return
			}
		}
		switch {
		case a.done == nil:
			r.Problem("agent %s: %v; what its viewers saw is not in the result", a.addr, a.broken)
		case a.done.Result == nil:
			r.Problem("agent %s: %s", a.addr, a.done.Error)
		default:
			if a.done.Within > clockDoubt {
				r.Warn("agent %s: its clock is right to %v, and so are its latencies", a.addr, a.done.Within.Round(10*time.Microsecond))
			}
			r.Include(a.done.Result.From(a.addr))
		}
	}
}
