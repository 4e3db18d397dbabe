//go:build linux

package netpoll

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// OpenFunc makes the session of a new connection. It is called by the worker
// that will own both. The Conn must not be used before it returns.
type OpenFunc func(*Worker, *Conn) Session

// Config of a [Pool]. The zero value works.
type Config struct {
	Workers int // default: one per processor

	// MaxConns bounds the connections that the pool accepts: those of the workers,
	// and those that were detached, until they are closed. At the bound newcomers
	// wait in the system's backlog. Default: no bound but the system's.
	MaxConns int

	// Hold counts the bytes that the connections' transports hold: what full sockets
	// did not take (see [MaxRest]), and what they buffer; n is negative when they give
	// some back. It reports whether there is memory for more: if not, connections are
	// closed that have more than a few bytes of an incomplete record. It is called by
	// the workers. Default: there always is.
	Hold func(n int64) (ok bool)

	// KernelTLS has the kernel make the records of transports that are Offloaders, see
	// [KernelTLS]. Default: it does not.
	KernelTLS bool

	// Failed is called with errors of the reactor that concern no connection:
	// a failing epoll, accept at MaxConns or short of descriptors (once for each
	// time that it happens). Default: they are dropped.
	Failed func(error)
}

// A Pool is a fixed set of workers.
type Pool struct {
	workers []*Worker        // immutable
	failed  func(error)      // immutable
	hold    func(int64) bool // immutable

	kernelTLS bool   // immutable
	clock     *clock // immutable
	quota     *quota // immutable; of descriptors

	open    atomic.Int64 // connections owned by all workers, and those on their way to one
	emptied chan struct{}

	stop    chan struct{} // closed by Close
	once    sync.Once
	wg      sync.WaitGroup // the ticker and the accept loops
	closing error          // what the first Close returned

	mu     sync.Mutex
	closed bool // guarded by mu; no accept loop begins any more
}

// New starts the workers of a pool.
func New(config Config) (*Pool, error) {
	p := &Pool{
		failed: config.Failed,
		hold:   config.Hold,

		kernelTLS: config.KernelTLS,
		clock:     newClock(),
		quota:     newQuota(config.MaxConns),
		emptied:   make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	if p.failed == nil {
		p.failed = func(error) {}
	}
	if p.hold == nil {
		p.hold = func(int64) bool { return true }
	}
	if config.Workers <= 0 {
		config.Workers = runtime.GOMAXPROCS(0)
	}
	for range config.Workers {
		w, err := newWorker(p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start worker %d: %w", len(p.workers), err), p.closeWorkers())
		}
		p.workers = append(p.workers, w)
	}
	p.wg.Go(p.ticker)
	return p, nil
}

// Workers returns the pool's workers, in an order that never changes.
func (p *Pool) Workers() []*Worker { return p.workers }

// coarse returns the coarse time, see [Worker.Now].
func (p *Pool) coarse() uint32 { return uint32(p.clock.read().Milliseconds()) }

// ticker looks at the clock each tickEvery, and wakes every worker that has
// connections.
func (p *Pool) ticker() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.clock.read()
			for _, w := range p.workers {
				if w.stats.conns.Load() > 0 {
					w.tickDue.Store(true)
					w.signal()
				}
			}
		case <-p.stop:
			return
		}
	}
}

// goUnlessClosed runs f in a goroutine that Close waits for, unless Close was
// called.
func (p *Pool) goUnlessClosed(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.wg.Go(f)
	}
	return !p.closed
}

// Adopt gives the descriptor of a socket, which must be non-blocking, to the
// worker with the fewest connections. From then on the pool owns it.
func (p *Pool) Adopt(fd int, open OpenFunc) {
	p.leastBusy().Adopt(fd, open)
}

// Crowded reports whether the pool is about to have all the connections that it
// may have. It may be called from anywhere.
func (p *Pool) Crowded() bool { return p.quota.crowded() }

// Adopt gives the descriptor of a socket, which must be non-blocking, to this
// worker. From then on the worker owns it. It may be called from anywhere, and
// does not look at MaxConns.
func (w *Worker) Adopt(fd int, open OpenFunc) {
	w.pool.quota.held.Add(1)
	w.adopt(arrival{fd: fd, open: open})
}

// An arrival is a connection on its way to a worker.
type arrival struct {
	fd        int  // counted in the quota
	kernel    bool // the kernel makes the TLS records
	transport Transport
	rest      []byte // of the transport's last record
	unread    []byte // what its session receives first
	open      OpenFunc
}

// adopt gives a connection to this worker.
func (w *Worker) adopt(a arrival) {
	w.pool.open.Add(1)
	w.stats.conns.Add(1)
	w.PostBehind(func() bool {
		w.add(a)
		return false
	})
}

func (p *Pool) leastBusy() *Worker {
	best := p.workers[0]
	for _, w := range p.workers[1:] {
		if w.stats.conns.Load() < best.stats.conns.Load() {
			best = w
		}
	}
	return best
}

// gone counts a connection that left its worker.
func (p *Pool) gone() {
	if p.open.Add(-1) == 0 {
		select {
		case p.emptied <- struct{}{}:
		default:
		}
	}
}

// Drain tells every session that the server ends and waits until all
// connections are gone. When ctx ends first the rest is closed at once, and
// Drain says how many those were. Listeners must have been closed before.
func (p *Pool) Drain(ctx context.Context) (cut int) {
	for _, w := range p.workers {
		w.Post(w.drain())
	}
	for p.open.Load() > 0 {
		select {
		case <-p.emptied:
		case <-ctx.Done():
			cut = int(p.open.Load())
			for _, w := range p.workers {
				w.Post(w.abort)
			}
			for p.open.Load() > 0 {
				<-p.emptied
			}
			return cut
		}
	}
	return 0
}

// Close ends the accept loops, closes every connection and stops the workers.
// It must not be called by a worker. Further calls return what the first did.
func (p *Pool) Close() error {
	p.once.Do(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		close(p.stop)
		p.wg.Wait()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		p.Drain(ended)
		p.closing = p.closeWorkers()
	})
	return p.closing
}

func (p *Pool) closeWorkers() error {
	var errs []error
	for _, w := range p.workers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

// Stats are a worker's figures since its start.
type Stats struct {
	Conns    int64  // connections it owns now
	Queue    int64  // connections and tasks that waited at the end of its last turn
	Held     int64  // bytes that the connections' transports hold, see [Config.Hold]
	Turns    uint64 // turns taken
	Blocked  uint64 // sends that met a full socket
	Accepted uint64 // connections taken over
	Kernel   uint64 // connections whose TLS records the kernel makes
	BytesIn  uint64
	BytesOut uint64
}

// Stats returns the worker's figures. It may be called from anywhere.
func (w *Worker) Stats() Stats {
	s := &w.stats
	return Stats{
		Conns: s.conns.Load(), Queue: s.queue.Load(), Held: s.held.Load(), Turns: s.turns.Load(), Blocked: s.blocked.Load(),
		Accepted: s.accepted.Load(), Kernel: s.offloaded.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
	}
}
