package hub

import (
	"time"

	"lectern/hub/roomcode"
)

const (
	// searchWait is how long a code from an address beyond its limit waits
	// before the relay looks at it, once more than half of attempts.MaxSearched is
	// used up. The connection must stay open meanwhile, so an address has no more
	// codes looked at in that time than it has connections: 11,111 a second
	// with 10,000 connections. That is below MaxSearched, so one address cannot
	// use up the whole bound and have its neighbours refused.
	searchWait = 900 * time.Millisecond

	// maxWaiting is the largest join or resume, in bytes, that may wait.
	// Clients need some 200.
	maxWaiting = 512
)

// soon looks at a join or resume now, or later if the session's address has
// guessed too many codes.
func (s *Session) soon(e JoinRequest) *Refusal {
	if _, ok := roomcode.Parse(e.Code); !ok || !s.crowded() {
		return s.lookAt(e)
	}
	if len(e.Code)+len(e.Secret)+len(e.Name)+len(e.Token)+len(e.Last.Epoch) > maxWaiting {
		return tooManyAttempts(searchWait)
	}
	s.later(e)
	return nil
}

// later looks at a join or resume after searchWait.
func (s *Session) later(e JoinRequest) {
	s.wait(func(finished func()) { time.AfterFunc(searchWait, finished) }, func(there bool) {
		if !there {
			return
		}
		if f := s.lookAt(e); f != nil {
			f.Tag = e.Tag
			s.Refuse(f)
		}
	})
}

// lookAt handles a join or resume. If the room has to be read from disk, it
// does so when the room is there.
func (s *Session) lookAt(e JoinRequest) *Refusal {
	var f *Refusal
	if e.hosts {
		f = s.resumeHost(e)
	} else {
		f = s.letIn(e)
	}
	if f != nil && f.sleeps {
		s.awaitRoom(f.room, e)
		return nil
	}
	return f
}

// crowded reports whether a code from the session's address has to wait.
func (s *Session) crowded() bool {
	h := s.shard.hub
	now := h.uptime()
	if h.Config().HexCodes || !h.attempts.HalfCapped(now) {
		return false // the common case
	}
	return h.attempts.Over(s.address(), now)
}

// awaitRoom has the session wait for a room that sleeps, and then handles its
// join or resume again. The session handles no other input in the meantime.
func (s *Session) awaitRoom(c roomcode.Code, e JoinRequest) {
	s.wait(func(finished func()) { s.shard.hub.rooms.Await(c, finished) }, func(there bool) {
		if !there {
			return
		}
		s.extra().retries = true
		f := s.lookAt(e)
		if s.more != nil {
			s.more.retries = false
		}
		if f != nil {
			f.Tag = e.Tag
			s.Refuse(f)
		}
	})
}

// retries reports whether the message being handled has already waited for its
// room.
func (s *Session) retries() bool { return s.more != nil && s.more.retries }
