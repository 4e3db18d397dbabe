package hub

import (
	"net/netip"
	"sync/atomic"
)

// A Worker is what the hub needs of the thread that owns a share of the
// connections.
type Worker interface {
	// Post has task run by the worker, again and again as long as it returns
	// true. It may be called from anywhere and does not block.
	Post(task func() (more bool))
	// PostAgain does the same for connections that had their turn and have more to
	// do: nobody else waits for them for long.
	PostAgain(task func() (more bool))
	// PostBehind does the same behind what Post was given: for strangers, of whom
	// there may be a crowd.
	PostBehind(task func() (more bool))
	// Spent reports whether a running task should return and go on later.
	Spent() bool
	// Now returns a coarse time in milliseconds. It may wrap around.
	Now() uint32
}

// A Conn is what a [Session] needs of the transport that carries it.
type Conn interface {
	// Flush pulls what the session has due, as far as the socket takes it.
	Flush()
	// Peer returns the address at the other end; the zero one if it is not
	// known.
	Peer() netip.Addr
}

// A shard is the hub's share on one worker.
type shard struct {
	Worker               // immutable
	hub      *Hub        // immutable
	index    int         // immutable; place in hub.shards
	silent   waitingList // connections that have sent nothing yet
	begun    waitingList // and those with half of a head
	counters counters

	behind map[*audience]struct{} // owned by the worker; audiences with viewers that may be behind
	scans  atomic.Bool            // there are any
}

// noteBehind notes an audience whose viewers are to be scanned once a second, or
// that they need not be.
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

// scan looks at all viewers of the worker that may be behind: rooms in which
// nobody speaks hold memory, too.
func (s *shard) scan() (more bool) {
	for a := range s.behind {
		a.scan()
	}
	return false
}

// counters are written by one worker and read by anyone.
type counters struct {
	viewers   atomic.Int64  // in a room now
	stalled   atomic.Int64  // of them, waiting for their sockets to drain
	received  atomic.Uint64 // messages from clients
	appended  atomic.Uint64 // of them, broadcasts
	delivered atomic.Uint64 // broadcasts times viewers that got them
	skipped   atomic.Uint64 // broadcasts times viewers that were moved past them
	recovered atomic.Uint64 // viewers that came back and got what they had missed
	lost      atomic.Uint64 // and those that came too late for that
	slow      [causes]struct{ closed, skipped atomic.Uint64 }
	closes    [reasons]atomic.Uint64
	_         [64]byte // apart from the next worker's
}

// back counts a viewer that has said where it was.
func (c *counters) back(recovered bool) {
	if recovered {
		c.recovered.Add(1)
	} else {
		c.lost.Add(1)
	}
}
