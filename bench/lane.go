package bench

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lectern/bench/report"
	"lectern/netpoll"
)

// laneWait is how long a worker may take to answer the coordinator.
const laneWait = 20 * time.Second

// errLane says that a worker of the bench's own did not answer.
var errLane = errors.New("the bench's own worker did not answer in time")

// A lane is what one worker counts: its viewers and everything about them. On
// the reactor a lane belongs to its worker; viewers over TLS have goroutines of
// their own and share lanes under their lock.
type lane struct {
	worker *netpoll.Worker // immutable; nil for TLS
	mu     sync.Mutex      // held to touch a lane that has no worker
	clock  *ticker         // immutable

	viewers []*viewer       // owned by the lane
	joins   report.Series   // owned by the lane; microseconds from connecting to joined
	latency report.Series   // owned by the lane; microseconds from due to arrived
	faults  report.FaultLog // owned by the lane
	total   uint64          // owned by the lane; measured deliveries of the phase
	early   uint64          // owned by the lane; of those, how many came before they were due
	ends    uint64          // owned by the lane; deliveries of what ends the phase
	first   int64           // owned by the lane; when the first message of another process was due
	phase   uint32          // owned by the lane; counts the phases
	grows   bool            // owned by the lane; who comes during the phase is in it from its first message on
	others  uint64          // owned by the lane; frames of the server that are no messages

	resumes  resumes        // owned by the lane; what came of coming back
	arrivals arrivals       // owned by the lane; what came of coming late
	frames   []*sharedFrame // owned by the lane; what those get who wait for a history, latest last
	checked  []checked      // owned by the lane; histories that were looked at, latest last

	delivered atomic.Uint64 // total, as of the last chunk
	joined    atomic.Int64  // viewers that are in a room
	failed    atomic.Int64  // viewers whose connection failed before they joined
	lost      atomic.Int64  // viewers whose connection ended after they joined
	departed  atomic.Int64  // viewers that left as they were told to
	fenced    atomic.Int64  // viewers that have reached the phase's end
	gone      atomic.Int64  // viewers of the phase that ended before they reached it
	anchored  atomic.Int64  // viewers that have seen a first message and are still there

	left       atomic.Int64 // how often a viewer dropped that is to come back
	returned   atomic.Int64 // how often one was back
	unreturned atomic.Int64 // how often one did not come back
	lastBack   atomic.Int64 // when the last was back, nanoseconds of the run's clock
	alive      atomic.Int64 // viewers that came late and have got a live message
}

// do runs f with the lane to itself and waits for it.
func (l *lane) do(f func()) error {
	if l.worker == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		f()
		return nil
	}
	done := make(chan struct{})
	l.worker.Post(func() bool {
		f()
		close(done)
		return false
	})
	select {
	case <-done:
		return nil
	case <-time.After(laneWait):
		return errLane
	}
}

// lanes are all lanes of a run.
type lanes []*lane

func (ls lanes) do(f func(*lane)) error {
	for _, l := range ls {
		if err := l.do(func() { f(l) }); err != nil {
			return err
		}
	}
	return nil
}

func (ls lanes) sum(counter func(*lane) int64) (n int64) {
	for _, l := range ls {
		n += counter(l)
	}
	return n
}

func (ls lanes) joined() int { return int(ls.sum(func(l *lane) int64 { return l.joined.Load() })) }
func (ls lanes) failed() int { return int(ls.sum(func(l *lane) int64 { return l.failed.Load() })) }
func (ls lanes) lost() int   { return int(ls.sum(func(l *lane) int64 { return l.lost.Load() })) }

// present returns how many viewers are in a room.
func (ls lanes) present() int {
	return int(ls.sum(func(l *lane) int64 { return l.joined.Load() - l.lost.Load() - l.departed.Load() }))
}

func (ls lanes) anchored() int { return int(ls.sum(func(l *lane) int64 { return l.anchored.Load() })) }

func (ls lanes) delivered() uint64 {
	return uint64(ls.sum(func(l *lane) int64 { return int64(l.delivered.Load()) }))
}

// settled returns how many viewers have reached the end of the phase, or ended
// on the way.
func (ls lanes) settled() int {
	return int(ls.sum(func(l *lane) int64 { return l.fenced.Load() + l.gone.Load() }))
}
