package hub

import (
	"strings"
	"time"
)

const (
	// searchWait is how long a code from an address beyond its limit waits before it
	// is looked at, when the relay looks at more than half as many as it may. The
	// connection has to stay meanwhile, so one address has no more codes looked at in
	// that time than it has connections: 11,111 a second with 10,000 of them. That is
	// less than maxSearched, so nobody can have his neighbours refused, however fast
	// he guesses; they wait.
	searchWait = 900 * time.Millisecond

	// maxWaiting is how many bytes of a join or resume may wait. Clients need some 200.
	maxWaiting = 512
)

// soon has a join or resume looked at: now, or later where too many codes are
// guessed.
func (s *Session) soon(e entering) *fault {
	if _, ok := parseCode(e.code); ok && s.crowded() {
		return s.wait(e)
	}
	return s.lookAt(e)
}

func (s *Session) lookAt(e entering) *fault {
	if e.hosts {
		return s.takeSeat(e)
	}
	return s.enterRoom(e)
}

// crowded reports whether a code from the session's address has to wait.
func (s *Session) crowded() bool {
	h := s.shard.hub
	now := h.uptime()
	if h.Config().HexCodes || bucket(h.guesses.searched.Load()).level(now) < searchDepth/2 {
		return false // as nearly always
	}
	return h.guesses.over(s.address(), now)
}

// wait has a join or resume looked at later. A connection has one at a time.
func (s *Session) wait(e entering) *fault {
	if s.more != nil && s.more.waiting != nil {
		return &fault{code: "too_fast", message: "this connection's last join or resume is not answered yet"}
	}
	if len(e.code)+len(e.secret)+len(e.name)+len(e.token)+len(e.last.epoch) > maxWaiting {
		return tooManyAttempts(searchWait)
	}
	// The parser's memory is used again for the next message.
	for _, text := range []*string{&e.code, &e.secret, &e.name, &e.token, &e.last.epoch} {
		*text = strings.Clone(*text)
	}
	w := &e
	s.extra().waiting = w
	time.AfterFunc(searchWait, func() {
		s.shard.Post(func() bool {
			if s.more != nil && s.more.waiting == w && s.phase == open {
				s.more.waiting = nil
				s.lookAtLast(*w)
				s.conn.Flush()
			}
			return false
		})
	})
	return nil
}

// lookAtLast is lookAt for what has waited.
func (s *Session) lookAtLast(e entering) {
	f := s.stands(outside) // it may have created a room meanwhile
	if f == nil {
		f = s.lookAt(e)
	}
	if f != nil {
		f.re = "join"
		if e.hosts {
			f.re = "resume"
		}
		s.answer(f)
	}
}

// answer reports a fault, and ends the connection if it was one too many.
func (s *Session) answer(f *fault) {
	s.report(f)
	if f.end != ReasonLost {
		s.end(f.end)
	}
}
