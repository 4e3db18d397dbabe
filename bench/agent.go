package bench

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

	"lectern/bench/report"
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

// An agentJob is an agent's part of a run.
type agentJob struct {
	Version int              `json:"version"`
	Options workload.Options `json:"options"`
	Stages  []Ramp           `json:"stages,omitempty"`
}

// forAgent returns those options that an agent takes from another machine. None of
// them starts a process or reads a file.
func forAgent(o workload.Options) workload.Options {
	return workload.Options{Label: o.Label, URL: o.URL, Viewers: o.Viewers, RoomNames: o.RoomNames, Rate: o.Rate, Size: o.Size, Duration: o.Duration,
		Warmup: -1, Template: o.Template, ConnectRate: o.ConnectRate, Window: o.Window, Timeout: o.Timeout, Drain: o.Drain,
		Headers: o.Headers, Insecure: o.Insecure, Thresholds: o.Thresholds}
}

// Serve takes part in one run after the other, for leaders that have the token,
// until ctx ends, and tells on out what it does. It closes the listener.
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
	m, o, stages, err := enlist(l)
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
	done.Result, err = carryOut(ctx, Fanout{Stages: stages}, o, out, m.join)
	if err != nil {
		done.Error = err.Error()
		fmt.Fprintln(out, err)
	}
	_ = l.send(note{Done: done}) // a leader that has gone away does not want to know
	l.close()
	reader.Wait()
}

// A member is a run's tie to the leader, on an agent.
type member struct {
	link   *link
	clock  *ticker
	within time.Duration // how exactly the clock shows what the leader's shows
	orders chan *order
}

// enlist takes the job, and sets a clock by the leader's.
func enlist(l *link) (m *member, o workload.Options, stages []Ramp, err error) {
	timer := time.AfterFunc(jobLimit, func() { _ = l.conn.SetReadDeadline(time.Now()) })
	defer timer.Stop()
	n, err := l.receive()
	if err != nil || n.Job == nil {
		return nil, o, nil, errLeaderGone
	}
	if n.Job.Version != agentVersion {
		return nil, o, nil, fmt.Errorf("the agent speaks version %d, the leader %d", agentVersion, n.Job.Version)
	}
	m = &member{link: l, orders: make(chan *order, 1)}
	if err := m.matchClock(); err != nil {
		return nil, o, nil, errLeaderGone
	}
	return m, forAgent(n.Job.Options), n.Job.Stages, nil
}

func (m *member) join(r *runner) { r.clock, r.member = m.clock, m }

// clockRounds is how often an agent asks for the time. The fastest answer counts.
const clockRounds = 16

// matchClock makes a clock that shows what the leader's shows. It may be off by
// half of the fastest round trip (RFC 5905 8).
func (m *member) matchClock() error {
	m.clock = newTicker(workload.Monotonic)
	var offset int64
	best := int64(math.MaxInt64)
	for range clockRounds {
		asked := m.clock.now()
		if err := m.link.send(note{Ask: true}); err != nil {
			return err
		}
		n, err := m.link.receive()
		if err != nil {
			return err
		}
		if took := m.clock.now() - asked; took < best {
			best, offset = took, n.Now-asked-took/2
		}
	}
	m.clock.base += offset
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

// meet tells the leader that this machine has reached a place, and waits for the
// others.
func (m *member) meet(ctx context.Context, place string) (*order, error) {
	if err := m.link.send(note{Reached: place}); err != nil {
		return nil, errLeaderGone
	}
	select {
	case o := <-m.orders:
		if o.Place != place {
			return nil, fmt.Errorf("the agent has reached %q, the leader %q", place, o.Place)
		}
		return o, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
