package hub

import (
	"slices"
	"sync/atomic"
	"time"

	"lectern/hub/budget"
)

// Connections that do not finish their handshakes make room for newcomers: else
// strangers who say nothing, or a byte, would keep everybody out. First go those
// that have sent nothing, then those whose heads are under way for longer than an
// honest client needs, the oldest first.

// The times for which a connection is safe. An honest client sends its head as
// soon as it is connected, so that it is there when the connection is accepted,
// if not read yet.
const (
	silentTime = 50 * time.Millisecond // without sending anything
	headTime   = 2 * time.Second       // with half of a head
)

// safeTime returns the time for which a connection in its handshake is safe.
func (s *Session) safeTime() time.Duration {
	if s.has(flagSilent) {
		return silentTime
	}
	return headTime
}

// A waitingList is the connections of one worker with a mark, oldest first.
type waitingList struct {
	mark  uint8        // immutable
	queue []*Session   // owned by the worker; those without the mark are passed over
	count atomic.Int64 // of those with it; written by the worker
}

// minPassed is how many of a list may be passed over before they are dropped.
const minPassed = 64

func (l *waitingList) add(s *Session) {
	s.set(l.mark)
	n := l.count.Add(1)
	if len(l.queue) > 2*int(n)+minPassed {
		l.queue = slices.DeleteFunc(l.queue, func(s *Session) bool { return !s.has(l.mark) })
		l.queue = slices.Clip(l.queue)
	}
	l.queue = append(l.queue, s)
}

// remove takes the mark away from a session that may have it.
func (l *waitingList) remove(s *Session) {
	if s.has(l.mark) {
		s.clear(l.mark)
		l.count.Add(-1)
	}
}

// oldest returns the oldest, nil if there is none.
func (l *waitingList) oldest() *Session {
	for len(l.queue) > 0 {
		if s := l.queue[0]; s.has(l.mark) {
			return s
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	return nil
}

// admit decides whether a new connection may begin its handshake, before memory
// is taken for it.
func (s *Session) admit() {
	h := s.shard.hub
	full := h.handshaking.Add(1) > int64(h.Config().MaxHandshaking)
	switch {
	case h.budget.Level() >= budget.Full:
		s.turnAway("memory", "the relay is short of memory; try again later")
	case full && !s.shard.makeRoom(0): // with so many the oldest is no newcomer
		s.turnAway("handshakes_full", "too many requests are under way; try again")
	default:
		if !full && h.Config().crowded() {
			s.shard.makeRoom(silentTime) // if it cannot, the transport's own bound holds
		}
		s.shard.silent.add(s)
	}
}

// makeRoom has the oldest connection that has sent nothing for the time given
// closed, on the worker that has the most of them, or else one of this worker's.
// It reports whether there is one.
func (s *shard) makeRoom(silent time.Duration) bool {
	most := s
	for _, other := range s.hub.shards {
		if other.silent.count.Load() > most.silent.count.Load() {
			most = other
		}
	}
	if most == s {
		return s.displace(silent)
	}
	most.Post(func() bool {
		most.displace(silent)
		return false
	})
	return true
}

// displace closes the worker's oldest connection that may be closed for another
// one. It reports whether there was one.
func (s *shard) displace(silent time.Duration) bool {
	old := s.silent.oldest()
	if old == nil || silent > 0 && !old.past(old.since, silent) {
		old = s.begun.oldest()
		if old == nil || !old.past(old.since, headTime) {
			return false
		}
	}
	old.displaced()
	old.conn.Flush()
	return true
}

// displaced closes a connection in its handshake for another one.
func (s *Session) displaced() {
	s.turnAway("handshakes_full", "others came while your request was not complete; try again")
}

// turnAway refuses a connection in its handshake, and counts it by the cause. It
// is closed as soon as it is answered, whether its peer closes or not.
func (s *Session) turnAway(cause, message string) {
	s.shard.hub.Refused(cause, s.conn.Peer())
	s.refuse(ReasonHandshake, 503, message)
	s.enter(over)
}

// overfull reports whether connections in their handshakes have to go although
// nobody comes: when the transport is crowded, those that could displace them may
// not even be accepted, and of two workers that make room at once for a newcomer
// each, only one may find somebody.
func (h *Hub) overfull() bool {
	config := h.Config()
	return config.crowded() || h.handshaking.Load() > int64(config.MaxHandshaking)
}

// crowded reports whether the transport has nearly all the connections that it
// may have.
func (c *Config) crowded() bool { return c.Crowded != nil && c.Crowded() }
