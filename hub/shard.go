package hub

import (
	"net/netip"
	"sync/atomic"

	"lectern/frame"
)

// A Worker is the thread that owns a share of the connections, as far as the
// hub needs it.
type Worker interface {
	// Post has the worker run task, again and again as long as task returns
	// true. It may be called from any goroutine and does not block.
	Post(task func() (more bool))
	// PostAgain is Post for connections that have used their turn and have more
	// to do. The worker runs the task where it delays no other connection for
	// long.
	PostAgain(task func() (more bool))
	// PostBehind is Post, but the task runs after those given to Post. It is
	// for connections in no room, of which there may be many.
	PostBehind(task func() (more bool))
	// Spent reports whether the running task should return and continue later.
	Spent() bool
	// Now returns a coarse time in milliseconds, which may wrap around.
	Now() uint32
}

// A Conn is the transport of a [Session].
type Conn interface {
	// Flush sends what Session.Next returns, as far as the socket accepts it.
	Flush()
	// Peer returns the peer's address, the zero Addr if it is unknown.
	Peer() netip.Addr
}

// A shard is the hub's state on one worker.
type shard struct {
	Worker               // immutable
	hub      *Hub        // immutable
	index    int         // immutable; index in hub.shards
	silent   waitingList // owned by the worker; connections that have sent nothing yet
	begun    waitingList // owned by the worker; connections with an incomplete request head
	counters counters

	handshake frame.Handshake // owned by the worker; of the session that reads its head, unless that keeps its own
	spare     *outbound       // owned by the worker; the one that was emptied last, nil while it is in use

	behind map[*audience]struct{} // owned by the worker; audiences that may have viewers behind
	scans  atomic.Bool            // atomic; behind is not empty

	standing standingSessions
}

// noteBehind records whether an audience has to be scanned once a second.
func (s *shard) noteBehind(a *audience) {
	if !a.isBehind() {
		delete(s.behind, a)
	} else {
		if s.behind == nil {
			s.behind = make(map[*audience]struct{})
		}
		s.behind[a] = struct{}{}
	}
	s.scans.Store(len(s.behind) > 0)
}

// scan scans every audience of the worker that may have viewers behind. A room
// in which nobody speaks can hold memory too.
func (s *shard) scan() (more bool) {
	for a := range s.behind {
		a.scan()
	}
	return false
}

// counters are written by one worker and may be read by any goroutine.
type counters struct {
	viewers   atomic.Int64  // in a room now
	stalled   atomic.Int64  // viewers whose sockets are full
	received  atomic.Uint64 // messages from clients
	appended  atomic.Uint64 // broadcasts that hosts sent
	delivered atomic.Uint64 // broadcasts times the viewers that received them
	skipped   atomic.Uint64 // broadcasts times the viewers that were moved past them
	recovered atomic.Uint64 // viewers that came back and received all that they had missed
	lost      atomic.Uint64 // viewers that came back when that was no longer possible
	slow      [causes]struct{ closed, skipped atomic.Uint64 }
	sweeps    sweepCounters
	closes    [reasons]atomic.Uint64
	_         [64]byte // keeps the next worker's counters on another cache line
}

// back counts a viewer that came back and said which broadcast it saw last.
func (c *counters) back(recovered bool) {
	if recovered {
		c.recovered.Add(1)
	} else {
		c.lost.Add(1)
	}
}
