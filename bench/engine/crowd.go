package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"

	"lectern/bench/clock"
	"lectern/bench/wire"
	"lectern/bench/workload"
	"lectern/netpoll"
	"lectern/netpoll/tlstransport"

	"golang.org/x/sys/unix"
)

// A crowd is all viewers of a run: it connects them, lets them go and knows
// how many there are.
type crowd struct {
	options   workload.Options // immutable
	clock     *clock.Clock     // immutable
	socket    wire.WebSocket   // immutable; how hosts talk to the server
	transport transport        // immutable; how viewers do
	target    target           // immutable
	text      []byte           // immutable; what messages are filled up with, nil for what does not compress
	rooms     []*room          // owned by the coordinator
	lanes     lanes            // immutable

	classroom *Classroom     // immutable; nil unless the scenario looks at numbers
	away      chan departure // viewers that have dropped and will come back, each once at most; nil if none does

	pool    *netpoll.Pool        // immutable
	secure  *tls.Config          // immutable; nil for ws
	client  *tlstransport.Client // immutable; nil for ws
	closing atomic.Bool          // no connection may begin any more
	onWay   chan struct{}        // a token for each connection between its start and its joining
	started int                  // owned by the coordinator; viewers that were begun so far
}

// newCrowd prepares a crowd. No viewer connects yet.
func newCrowd(o workload.Options, clock *clock.Clock, cl *Classroom) (*crowd, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	c := &crowd{options: o, clock: clock, classroom: cl, socket: wire.NewWebSocket(u, o.Template.Subprotocol, o.Headers), onWay: make(chan struct{}, o.Window)}
	c.text = o.Payload.Text()
	c.transport = newTransport(o, u, c.socket)
	if cl != nil && !cl.Late {
		c.away = make(chan departure, o.Viewers)
	}
	if c.target, err = resolve(u, o); err != nil {
		return nil, err
	}
	if u.Scheme == "wss" {
		if c.secure, err = secureConfig(u, o); err != nil {
			return nil, err
		}
		c.client = tlstransport.NewClient(c.secure)
	}
	if c.pool, err = netpoll.New(netpoll.Config{Workers: runtime.NumCPU()}); err != nil {
		return nil, fmt.Errorf("start the bench's reactor: %w", err)
	}
	for _, w := range c.pool.Workers() {
		c.lanes = append(c.lanes, &lane{worker: w, clock: clock})
	}
	return c, nil
}

// arrived gives back the token of a connection that has joined or failed.
func (c *crowd) arrived() {
	select {
	case <-c.onWay:
	default:
	}
}

// connect begins n more viewers, so many a second or as fast as they join, spread
// over the rooms. It returns when all have joined or failed, or ctx ends.
func (c *crowd) connect(ctx context.Context, n int, rate float64) error {
	begun := time.Now()
	for i := range n {
		if rate > 0 {
			at := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			if err := sleep(ctx, time.Until(at)); err != nil {
				return err
			}
		}
		select {
		case c.onWay <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.begin()
	}
	// Each stage has its limit, so this ends.
	return until(ctx, forever, func() bool { return c.started <= c.lanes.count(countJoined, countFailed) })
}

// begin starts one viewer.
func (c *crowd) begin() {
	index := c.started
	c.started++
	v := &viewer{crowd: c, lane: c.lanes[index%len(c.lanes)], room: c.rooms[index%len(c.rooms)], index: int32(index), reads: true, numbered: c.options.Transport != workload.WS}
	if c.options.Transport == workload.Poll {
		v.membership = new(membership) // for its token
	}
	if cl := c.classroom; cl != nil {
		v.membership = &membership{asks: cl.Late}
		v.numbered = v.numbered || spreadOver(index, cl.Numbered)
	}
	c.dial(v)
}

// dial connects a viewer, and has it send its request.
func (c *crowd) dial(v *viewer) {
	began := c.clock.Now()
	fd, err := c.target.dial(int(v.index))
	if err != nil {
		v.lane.do(func() { v.Closed(err) })
		return
	}
	if c.away != nil && rand.IntN(2) == 0 {
		// Half of the viewers that may drop do so with a reset, the others with a FIN.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	v.lane.worker.Adopt(fd, func(w *netpoll.Worker, conn *netpoll.Conn) netpoll.Session {
		if c.client != nil {
			c.client.Connect(w, conn)
		}
		v.conn, v.began, v.since = conn, began, began
		if !v.again {
			v.lane.viewers = append(v.lane.viewers, v)
		}
		if c.closing.Load() {
			v.state = ended
		}
		if v.state != ended {
			v.out = []byte(workload.Fill(c.transport.Request(v.place()), v.room.name, int(v.index)))
		}
		return v
	})
}

// drop closes the connections of all viewers at once, which is no fault, and
// forgets them and their number.
func (c *crowd) drop() {
	c.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			if v.state != ended {
				v.state = ended
				if v.conn != nil {
					v.conn.Abort()
				}
			}
		}
		l.viewers = nil
		for i := range l.counts {
			l.counts[i].Store(0)
		}
	})
	c.started = 0
	for len(c.onWay) > 0 {
		c.arrived()
	}
}

// close ends all connections and the reactor.
func (c *crowd) close() error {
	c.closing.Store(true)
	c.drop()
	err := c.pool.Close()
	if c.client != nil {
		c.client.Wait()
	}
	return err
}
