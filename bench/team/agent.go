package team

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"lectern/bench/clock"
	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// agentVersion is the version of what an agent and its leader tell each other.
const agentVersion = 1

// jobLimit is how long a leader may take to start its server and open its rooms.
const jobLimit = time.Minute

// maxStrangers bounds the connections to an agent that have not shown yet that
// they have the token.
const maxStrangers = 64

var (
	errLeaderGone = errors.New("the machine that leads the run has gone away")
	errBusy       = errors.New("the agent is busy with another run")
)

// An Agent lends its machine to runs that another machine leads.
type Agent struct {
	Token   string   // both ends must have it; at least 16 bytes
	Sources []string // local addresses that its viewers connect from; default as in Options
}

// forAgent returns those options that an agent takes from another machine. None of
// them starts a process or reads a file.
func forAgent(o workload.Options) workload.Options {
	return workload.Options{Label: o.Label, URL: o.URL, Viewers: o.Viewers, RoomNames: o.RoomNames, Rate: o.Rate, Size: o.Size, Duration: o.Duration,
		Warmup: -1, Template: o.Template, ConnectRate: o.ConnectRate, Window: o.Window, Timeout: o.Timeout, Drain: o.Drain,
		Headers: o.Headers, Insecure: o.Insecure, CA: o.CA, Thresholds: o.Thresholds}
}

// Serve takes part in one run after the other, for leaders that have the token,
// until ctx ends, and reports on out what it does. It closes the listener.
func (a Agent) Serve(ctx context.Context, listener net.Listener, out io.Writer) error {
	defer listener.Close()
	config, err := linkConfig(a.Token)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	strangers := make(chan struct{}, maxStrangers)
	var busy sync.Mutex // held during a run
	var group sync.WaitGroup
	defer group.Wait()
	for {
		strangers <- struct{}{}
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		group.Go(func() {
			defer conn.Close()
			l, err := greet(ctx, conn, config)
			<-strangers
			switch {
			case err != nil:
				fmt.Fprintf(out, "%s has not shown that it has the token: %v\n", conn.RemoteAddr(), err)
			case !busy.TryLock():
				_ = l.send(note{Done: &outcome{Error: errBusy.Error()}})
			default:
				defer busy.Unlock()
				a.serve(ctx, l, out)
			}
		})
	}
}

// greet has the other end show that it has the token.
func greet(ctx context.Context, conn net.Conn, config *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	secure := tls.Server(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return newLink(secure), nil
}

// serve takes part in one run.
func (a Agent) serve(ctx context.Context, l *link, out io.Writer) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Now()) })
	defer stop()
	m, o, err := enlist(l)
	if err != nil {
		_ = l.send(note{Done: &outcome{Error: err.Error()}})
		fmt.Fprintln(out, err)
		return
	}
	o.Sources = a.Sources
	var reader sync.WaitGroup
	reader.Go(func() { cancel(m.listen()) })
	fmt.Fprintf(out, "taking part with %s to %s\n", report.Count(o.Viewers, "viewer"), o.URL)
	done := &outcome{Within: m.within}
	done.Result, err = engine.Run(ctx, m, o, out)
	if err != nil {
		done.Error = err.Error()
		fmt.Fprintln(out, err)
	}
	_ = l.send(note{Done: done}) // a leader that has gone away does not want to know
	l.close()
	reader.Wait()
}

// A member is an agent's run.
type member struct {
	scenario.Fanout

	link   *link
	clock  *clock.Clock
	within time.Duration // how exactly the clock shows what the leader's shows
	orders chan *order
}

// enlist takes the job, and sets a clock by the leader's.
func enlist(l *link) (m *member, o workload.Options, err error) {
	timer := time.AfterFunc(jobLimit, func() { _ = l.conn.SetReadDeadline(time.Now()) })
	defer timer.Stop()
	n, err := l.receive()
	if err != nil || n.Job == nil {
		return nil, o, errLeaderGone
	}
	if n.Job.Version != agentVersion {
		return nil, o, fmt.Errorf("the agent speaks version %d, the leader %d", agentVersion, n.Job.Version)
	}
	m = &member{Fanout: scenario.Fanout{Stages: n.Job.Stages}, link: l, orders: make(chan *order, 1)}
	if err := m.matchClock(); err != nil {
		return nil, o, errLeaderGone
	}
	return m, forAgent(n.Job.Options), nil
}

// clockRounds is how often an agent asks for the time. The fastest answer counts.
const clockRounds = 16

// matchClock makes a clock that shows what the leader's shows. It may be off by
// half of the fastest round trip (RFC 5905 8).
func (m *member) matchClock() error {
	m.clock = clock.New(workload.Monotonic)
	var offset int64
	best := int64(math.MaxInt64)
	for range clockRounds {
		asked := m.clock.Now()
		if err := m.link.send(note{Ask: true}); err != nil {
			return err
		}
		n, err := m.link.receive()
		if err != nil {
			return err
		}
		if took := m.clock.Now() - asked; took < best {
			best, offset = took, n.Now-asked-took/2
		}
	}
	m.clock.Shift(offset)
	m.within = time.Duration(best / 2)
	return nil
}

// listen takes orders until the link ends.
func (m *member) listen() error {
	for {
		n, err := m.link.receive()
		if err != nil {
			return errLeaderGone
		}
		if n.Go != nil {
			m.orders <- n.Go
		}
	}
}

// Prepare has the run follow the leader.
func (m *member) Prepare(o *workload.Options) (engine.Setup, error) {
	setup, err := m.Fanout.Prepare(o)
	setup.Clock, setup.Peers = m.clock, m
	return setup, err
}

// Meet tells the leader that this machine has reached a place, and waits for its
// order.
func (m *member) Meet(ctx context.Context, place string, _ func(*engine.Order)) (engine.Order, error) {
	if err := m.link.send(note{Reached: place}); err != nil {
		return engine.Order{}, errLeaderGone
	}
	select {
	case o := <-m.orders:
		if o.Place != place {
			return o.Order, fmt.Errorf("the agent has reached %q, the leader %q", place, o.Place)
		}
		return o.Order, nil
	case <-ctx.Done():
		return engine.Order{}, ctx.Err()
	}
}
