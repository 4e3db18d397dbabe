package hub

import (
	"bytes"

	"lectern/frame"
	"lectern/hub/budget"
)

// maxWaiting is how many messages wait with the one that asks for a room.
const maxWaiting = 64

// A waiting is what a session has said that asks for a room which sleeps, and
// after it. Nothing more is read from its connection meanwhile, so there is no more
// of it than one chunk of input has.
type waiting struct {
	messages []frame.Message
	bytes    int
	full     bool // more came than may wait, and that was told
}

// waits reports whether the session waits for a room.
func (s *Session) waits() bool { return s.more != nil && s.more.waiting != nil }

// retries reports whether what the session says now has waited for its room.
func (s *Session) retries() bool { return s.more != nil && s.more.retries }

// hold keeps a message until the room is there.
func (s *Session) hold(m frame.Message) {
	w := s.more.waiting
	if len(w.messages) > maxWaiting {
		if !w.full {
			w.full = true
			s.report(&fault{code: "too_fast", message: "too many messages follow one that waits for its room; the others are not looked at"})
		}
		return
	}
	m.Payload = bytes.Clone(m.Payload)
	w.messages = append(w.messages, m)
	w.bytes += len(m.Payload)
	s.shard.hub.budget.Add(budget.Input, int64(len(m.Payload)))
}

// await has the session wait for a room that sleeps, with the message that asks
// for it.
func (s *Session) await(c code, m frame.Message) {
	s.extra().waiting = new(waiting)
	s.hold(m)
	s.shard.hub.await(c, func() {
		s.shard.Post(func() bool {
			s.goOn()
			return false
		})
	})
}

// goOn looks at what the session has said since it waits.
func (s *Session) goOn() {
	messages := s.dropWaiting()
	for i, m := range messages {
		if s.phase != open {
			break
		}
		s.extra().retries = i == 0
		s.protocol().Message(s, m)
		if s.more != nil {
			s.more.retries = false
		}
	}
	s.conn.Flush() // and read on
}

// dropWaiting gives up what has waited, and returns it.
func (s *Session) dropWaiting() []frame.Message {
	if !s.waits() {
		return nil
	}
	w := s.more.waiting
	s.more.waiting = nil
	s.shard.hub.budget.Add(budget.Input, -int64(w.bytes))
	return w.messages
}
