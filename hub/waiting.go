package hub

import (
	"slices"
	"sync/atomic"
	"time"

	"lectern/hub/budget"
)

// Connections that do not complete their handshakes make way for newcomers.
// Otherwise clients that send nothing, or a byte, could keep everybody out. The
// oldest connection that has sent nothing goes first, then the oldest whose
// head has been incomplete for longer than an honest client needs.

// How long a connection is safe from newcomers. An honest client sends its head
// as soon as it is connected, so the head has arrived, although it may be
// unread, when the connection is accepted.
const (
	silentTime = 50 * time.Millisecond // has sent nothing
	headTime   = 2 * time.Second       // has sent an incomplete head, or a ClientHello
)

// safeTime returns how long after it began a connection in its handshake is
// safe.
func (s *Session) safeTime() time.Duration {
	if s.has(flagSilent) {
		return silentTime
	}
	return headTime
}

// A waitingList is the connections of one worker with a flag, oldest first.
type waitingList struct {
	flag  uint8        // immutable
	queue []*Session   // owned by the worker; may contain sessions that have lost the flag
	count atomic.Int64 // atomic; sessions with the flag; written by the worker
}

// minPassed is how many sessions without the flag a list may contain before it
// is compacted.
const minPassed = 64

func (l *waitingList) add(s *Session) {
	n := l.count.Add(1)
	if len(l.queue) > 2*int(n)+minPassed {
		l.queue = slices.DeleteFunc(l.queue, func(s *Session) bool { return !s.has(l.flag) })
		l.queue = slices.Clip(l.queue)
	}
	s.set(l.flag) // after that: a connection that has polled may be in the list from before
	l.queue = append(l.queue, s)
}

// remove clears the flag of a session that may have it.
func (l *waitingList) remove(s *Session) {
	if s.has(l.flag) {
		s.clear(l.flag)
		l.count.Add(-1)
	}
}

// oldest returns the oldest session with the flag, nil if there is none.
func (l *waitingList) oldest() *Session {
	for len(l.queue) > 0 {
		if s := l.queue[0]; s.has(l.flag) {
			return s
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	return nil
}

// admit decides whether a new connection may begin its handshake, before the
// relay allocates memory for it.
func (s *Session) admit() {
	h := s.shard.hub
	full := h.handshaking.Add(1) > int64(h.Config().MaxHandshaking)
	switch {
	case h.budget.Level() >= budget.Full:
		s.turnAway("memory", "the relay is short of memory; try again later")
	case full && !s.shard.makeRoom(0): // among so many, the oldest is not a newcomer
		s.turnAway("handshakes_full", "too many requests are under way; try again")
	default:
		if !full && h.Config().crowded() {
			s.shard.makeRoom(silentTime) // if it cannot, the transport's own limit applies
		}
		s.shard.silent.add(s)
	}
}

// Begin notes that the client has begun the handshake of a transport, such as TLS, so
// that the session is not silent although no byte has come for it.
func (s *Session) Begin() {
	if s.has(flagSilent) {
		s.shard.silent.remove(s)
		s.shard.begun.add(s)
	}
}

// makeRoom has the worker with the most silent connections, or else this one,
// displace a connection that has sent nothing for the given time, see displace.
// It reports whether there was one; for another worker it reports true without
// waiting.
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

// displace closes the worker's oldest connection that has sent nothing for the
// given time, or else the oldest whose head has been incomplete for headTime.
// It reports whether there was one.
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

// displaced closes a connection in its handshake to make way for another.
func (s *Session) displaced() {
	s.turnAway("handshakes_full", "others came while your request was not complete; try again")
}

// turnAway refuses a connection in its handshake and counts it by the cause.
func (s *Session) turnAway(cause, message string) {
	if !s.isIdle() {
		s.shard.hub.Refused(cause, s.conn.Peer())
	}
	s.refuseNow(ReasonHandshake, message)
}

// refuseNow answers 503 and closes the connection as soon as the socket has
// accepted the response. It does not wait for the peer, so that refused
// connections hold no descriptors. A peer that is still sending a body may see
// a reset connection instead of the response.
func (s *Session) refuseNow(why Reason, message string) {
	s.refuse(why, 503, message)
	s.enter(over)
}

// overfull reports whether connections in their handshakes have to go even if
// no newcomer is accepted. A crowded transport may not accept the newcomers
// that could displace them. And when two workers each make room for a newcomer
// at the same time, only one may find a connection to close.
func (h *Hub) overfull() bool {
	config := h.Config()
	return config.crowded() || h.handshaking.Load() > int64(config.MaxHandshaking)
}

// crowded reports whether the transport has nearly reached its limit of
// connections.
func (c *Config) crowded() bool { return c.Crowded != nil && c.Crowded() }
