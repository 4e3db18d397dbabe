package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A team is the agents of a run, on the machine that leads it. That one opens the
// rooms and publishes, and has a share of the viewers. The agents have the rest.
// At some places of a run all wait for each other.
type team struct {
	agents []*agent
	stages []Ramp           // of the whole run
	whole  workload.Options // of the whole run
}

// An agent is another machine's part of the run.
type agent struct {
	addr    string
	link    *link
	reached chan string // closed when nothing more comes
	done    *outcome    // set before reached is closed; nil if the connection broke
	broken  error       // set before reached is closed; how it broke
	over    bool        // owned by the coordinator; nothing more comes
}

const (
	// teamLead is the time from the order to begin to the first due message.
	teamLead = 200 * time.Millisecond

	// clockDoubt is how far off an agent's clock may be without a warning.
	clockDoubt = time.Millisecond
)

// runTeam is [Run] on several machines.
func runTeam(ctx context.Context, s Scenario, o workload.Options, out io.Writer) (*report.Result, error) {
	f, ok := s.(Fanout)
	if !ok {
		return nil, workload.Refuse("%s runs on one machine: agents take part in fanout", s.name())
	}
	o = o.WithDefaults(f.defaults())
	if err := errors.Join(o.Check(), f.check(o), checkTeam(f, o)); err != nil {
		return nil, err
	}
	t, err := gatherTeam(ctx, o, f.Stages)
	if err != nil {
		return nil, err
	}
	defer t.close()
	n := len(o.Agents) + 1
	o.Viewers, o.ConnectRate = share(o.Viewers, 0, n), o.ConnectRate/float64(n)
	return carryOut(ctx, Fanout{Stages: shareStages(f.Stages, 0, n)}, o, out, func(r *runner) { r.team = t })
}

// checkTeam refuses what cannot be shared.
func checkTeam(f Fanout, o workload.Options) error {
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

// share returns part i of n. All parts add up to the whole.
func share(whole, i, n int) int {
	part := whole / n
	if i < whole%n {
		part++
	}
	return part
}

// shareStages returns part i of n of the viewers of each stage.
func shareStages(stages []Ramp, i, n int) []Ramp {
	out := slices.Clone(stages)
	for j := range out {
		out[j].Viewers = share(out[j].Viewers, i, n)
	}
	return out
}

// gatherTeam connects to the agents.
func gatherTeam(ctx context.Context, o workload.Options, stages []Ramp) (*team, error) {
	config, err := linkConfig(o.Token)
	if err != nil {
		return nil, err
	}
	t := &team{stages: stages, whole: o}
	for _, addr := range o.Agents {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: greetLimit}, Config: config}
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			t.close()
			return nil, fmt.Errorf("agent %s: %w", addr, err)
		}
		t.agents = append(t.agents, &agent{addr: addr, link: newLink(conn), reached: make(chan string, 1)})
	}
	return t, nil
}

// start gives every agent its part, once the rooms are open.
func (t *team) start(r *runner) error {
	n := len(t.agents) + 1
	for i, a := range t.agents {
		o := forAgent(t.whole)
		o.URL, o.Viewers = r.options.URL, share(t.whole.Viewers, i+1, n)
		o.ConnectRate /= float64(n)
		for _, rm := range r.crowd.rooms {
			o.RoomNames = append(o.RoomNames, rm.name)
		}
		if err := a.link.send(note{Job: &agentJob{agentVersion, o, shareStages(t.stages, i+1, n)}}); err != nil {
			return fmt.Errorf("agent %s: %w", a.addr, err)
		}
		go a.listen(r.clock) // ends with the link
	}
	return nil
}

// listen takes what the agent says until its end.
func (a *agent) listen(clock *ticker) {
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
			err = a.link.send(note{Now: clock.now()})
		case err == nil && n.Reached != "":
			a.reached <- n.Reached
		}
		if err != nil {
			a.broken = err
			return
		}
	}
}

// meet waits until all agents have reached a place or have ended, and has them go
// on with what the order says.
func (t *team) meet(ctx context.Context, place string, say func(*order)) error {
	for _, a := range t.agents {
		if a.over {
			continue
		}
		select {
		case at, ok := <-a.reached:
			if a.over = !ok; ok && at != place {
				return fmt.Errorf("agent %s has reached %q, the leader %q", a.addr, at, place)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	o := &order{Place: place}
	say(o)
	for _, a := range t.agents {
		if !a.over {
			_ = a.link.send(note{Go: o}) // the next meeting shows if it is gone
		}
	}
	return nil
}

// results waits for what the agents found. A part that is missing is a problem.
func (t *team) results(ctx context.Context, r *runner) (results []*report.Result) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout+30*time.Second)
	defer cancel()
	for _, a := range t.agents {
		for !a.over {
			select {
			case _, ok := <-a.reached:
				a.over = !ok
			case <-ctx.Done():
				r.problem("agent %s: no result in time; what its viewers saw is not in this one", a.addr)
				a.over = true
				return results
			}
		}
		switch {
		case a.done == nil:
			r.problem("agent %s: %v; what its viewers saw is not in the result", a.addr, a.broken)
		case a.done.Result == nil:
			r.problem("agent %s: %s", a.addr, a.done.Error)
		default:
			if a.done.Within > clockDoubt {
				r.warn("agent %s: its clock is right to %v, and so are its latencies", a.addr, a.done.Within.Round(10*time.Microsecond))
			}
			results = append(results, a.done.Result.From(a.addr))
		}
	}
	return results
}

func (t *team) close() {
	for _, a := range t.agents {
		a.link.close()
	}
}

// together waits at a place for the other machines of the run, if there are any.
func (r *runner) together(ctx context.Context, place string, say func(*order)) (*order, error) {
	switch {
	case r.team != nil:
		return nil, r.team.meet(ctx, place, say)
	case r.member != nil:
		return r.member.meet(ctx, place)
	default:
		return nil, nil
	}
}
