package team

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"sync"
	"time"

	"lectern/bench/clock"
	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// maxStrangers bounds the connections to an agent that have not shown yet that
// they have the token.
const maxStrangers = 64

var (
	errLeaderGone = errors.New("the machine that leads the run has gone away")
	errBusy       = errors.New("the agent is busy with another run")
	errEnded      = errors.New("the agent's part of the run has ended")
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
			secure := tls.Server(conn, config)
			limited, cancel := context.WithTimeout(ctx, greetLimit)
			err := secure.HandshakeContext(limited)
			cancel()
			<-strangers
			if err != nil {
				fmt.Fprintf(out, "%s has not shown that it has the token: %v\n", conn.RemoteAddr(), err)
				return
			}
			a.serve(ctx, secure, &busy, out)
		})
	}
}

// serve answers one leader until it hangs up or ctx ends. A run that is under way then
// is broken off.
func (a Agent) serve(ctx context.Context, conn net.Conn, busy *sync.Mutex, out io.Writer) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	m := &member{agent: a, ctx: ctx, busy: busy, out: out, clock: clock.New(workload.Monotonic),
		reached: make(chan string), orders: make(chan engine.Order, 1)}
	m.ended, m.end = context.WithCancel(ctx)
	server := rpc.NewServer()
	_ = server.RegisterName(service, m) // a member has methods to call
	server.ServeCodec(jsonrpc.NewServerCodec(watched{conn, cancel}))
}

// A watched connection tells when the leader has hung up.
type watched struct {
	net.Conn
	cancel context.CancelCauseFunc
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.cancel(errLeaderGone)
	}
	return n, err
}

// A member is what a leader can call. It takes part in one run.
type member struct {
	agent Agent
	ctx   context.Context // ends with the connection
	busy  *sync.Mutex
	out   io.Writer
	clock *clock.Clock

	ended   context.Context // ends with the run
	end     context.CancelFunc
	reached chan string // where the run waits
	orders  chan engine.Order
}

// Time says what the agent's clock shows.
func (m *member) Time(_ bool, now *int64) error {
	*now = m.clock.Now()
	return nil
}

// Run takes part in a run, and returns when it is over.
func (m *member) Run(j Job, out *Outcome) (err error) {
	defer m.end()
	if j.Version != agentVersion {
		return fmt.Errorf("the agent speaks version %d, the leader %d", agentVersion, j.Version)
	}
	if !m.busy.TryLock() {
		return errBusy
	}
	defer m.busy.Unlock()
	m.clock.Shift(j.Shift)
	o := forAgent(j.Options)
	o.Sources = m.agent.Sources
	fmt.Fprintf(m.out, "taking part with %s to %s\n", report.Count(o.Viewers, "viewer"), o.URL)
	out.Result, err = engine.Run(m.ctx, follower{scenario.Fanout{Stages: j.Stages}, m}, o, m.out)
	if err != nil {
		out.Error = err.Error()
		fmt.Fprintln(m.out, err)
	}
	return nil
}

// Reached waits until the run has come to its next place, and says which it is.
func (m *member) Reached(_ bool, place *string) error {
	select {
	case *place = <-m.reached:
		return nil
	case <-m.ended.Done():
		return errEnded
	}
}

// Go lets the run go on from the place that it has reached.
func (m *member) Go(o engine.Order, _ *bool) error {
	select {
	case m.orders <- o:
	case <-m.ended.Done():
	}
	return nil
}

// A follower is the run on an agent's machine.
type follower struct {
	scenario.Fanout
	member *member
}

// Prepare has the run follow the leader.
func (f follower) Prepare(o *workload.Options) (engine.Setup, error) {
	setup, err := f.Fanout.Prepare(o)
	setup.Clock, setup.Peers = f.member.clock, f
	return setup, err
}

// Meet waits until the leader has learned that this machine has reached a place, and
// for its order.
func (f follower) Meet(ctx context.Context, place string, _ func(*engine.Order)) (o engine.Order, err error) {
	select {
	case f.member.reached <- place:
	case <-ctx.Done():
		return o, ctx.Err()
	}
	select {
	case o = <-f.member.orders:
		return o, nil
	case <-ctx.Done():
		return o, ctx.Err()
	}
}
