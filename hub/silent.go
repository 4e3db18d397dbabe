package hub

import (
	"slices"
	"sync/atomic"

	"lectern/hub/budget"
)

// A silence is the connections of one worker that have sent nothing yet, oldest
// first. When there are all the handshakes that may be, a newcomer takes the
// place of the oldest: else strangers who say nothing would keep everybody out.
type silence struct {
	queue []*Session   // owned by the worker; those without markSilent are passed over
	count atomic.Int64 // of those with it; written by the worker
}

// minSilence is how many of a queue may be passed over before they are dropped.
const minSilence = 64

func (q *silence) add(s *Session) {
	s.set(markSilent)
	n := q.count.Add(1)
	if len(q.queue) > 2*int(n)+minSilence {
		q.queue = slices.DeleteFunc(q.queue, func(s *Session) bool { return !s.has(markSilent) })
		q.queue = slices.Clip(q.queue)
	}
	q.queue = append(q.queue, s)
}

// oldest takes the oldest out of the queue, nil if there is none.
func (q *silence) oldest() *Session {
	for len(q.queue) > 0 {
		s := q.queue[0]
		q.queue[0] = nil
		q.queue = q.queue[1:]
		if s.has(markSilent) {
			return s
		}
	}
	return nil
}

// endSilence notes that the session has sent something, or that its handshake
// has ended.
func (s *Session) endSilence() {
	if s.has(markSilent) {
		s.clear(markSilent)
		s.shard.silent.count.Add(-1)
	}
}

// admit decides whether a new connection may begin its handshake, before memory
// is taken for it.
func (s *Session) admit() {
	h := s.shard.hub
	full := h.handshaking.Add(1) > int64(h.Config().MaxHandshaking)
	switch {
	case h.budget.Level() >= budget.Full:
		s.turnAway("memory", "the relay is short of memory; try again later")
	case full && !s.shard.makeRoom():
		s.turnAway("handshakes_full", "too many requests are under way; try again")
	default:
		if crowded := h.Config().Crowded; !full && crowded != nil && crowded() {
			s.shard.makeRoom() // if it cannot, the transport's own bound holds
		}
		s.shard.silent.add(s)
	}
}

// makeRoom has the oldest connection that has sent nothing closed, on the worker
// that has the most of them. It reports whether there is one.
func (s *shard) makeRoom() bool {
	most := s
	for _, other := range s.hub.shards {
		if other.silent.count.Load() > most.silent.count.Load() {
			most = other
		}
	}
	if most == s {
		return s.displace()
	}
	most.Post(func() bool {
		most.displace()
		return false
	})
	return true
}

// displace closes the worker's oldest connection that has sent nothing. It
// reports whether there was one.
func (s *shard) displace() bool {
	old := s.silent.oldest()
	if old == nil {
		return false
	}
	old.turnAway("handshakes_full", "others came while nothing was sent here; try again")
	old.conn.Flush()
	return true
}

// turnAway refuses a connection in its handshake, and counts it by the cause. It
// is closed as soon as it is answered, whether its peer closes or not.
func (s *Session) turnAway(cause, message string) {
	s.shard.hub.Refused(cause, s.conn.Peer())
	s.refuse(ReasonHandshake, 503, message)
	s.enter(over)
}
