package hub

import "time"

const (
	// searchWait is how long a code from an address beyond its limit waits before it
	// is looked at, when the relay looks at more than half as many as it may. The
	// connection has to stay meanwhile, so one address has no more codes looked at in
	// that time than it has connections: 11,111 a second with 10,000 of them. That is
	// less than maxSearched, so nobody can have his neighbours refused, however fast
	// he guesses; they wait.
	searchWait = 900 * time.Millisecond

	// maxWaiting is how many bytes of a join or resume may wait. Clients need some
	// 200.
	maxWaiting = 512
)

// soon has a join or resume looked at: now, or later where too many codes are
// guessed.
func (s *Session) soon(e JoinRequest) *Refusal {
	if _, ok := parseCode(e.Code); !ok || !s.crowded() {
		return s.lookAt(e)
	}
	if len(e.Code)+len(e.Secret)+len(e.Name)+len(e.Token)+len(e.Last.Epoch) > maxWaiting {
		return tooManyAttempts(searchWait)
	}
	s.later(e)
	return nil
}

// later has a join or resume looked at after searchWait.
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

// lookAt looks at a join or resume, when its room is there.
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
	if h.Config().HexCodes || leaky(h.attempts.searched.Load()).level(now) < searchDepth/2 {
		return false // as nearly always
	}
	return h.attempts.over(s.address(), now)
}
