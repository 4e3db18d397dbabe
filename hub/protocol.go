package hub

import "lectern/frame"

// A Protocol is what one kind of client may say and what happens then. It is
// chosen by the URL path of the request, and called by the session's worker. It
// keeps no state of its own for a session.
type Protocol interface {
	// Message takes a whole text or binary message of an open session. The
	// payload is valid during the call only.
	Message(s *Session, m frame.Message)
	// Limit returns how many bytes the session's next message may have.
	Limit(s *Session) int
	// Leave takes the session out of its room, if it is in one: it is about to
	// end, or has ended.
	Leave(s *Session)
}
