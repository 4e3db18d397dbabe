package hub

import (
	"errors"

	"lectern/frame"
)

// A PlainRefusal is an error of [Config.Plain]. The hub answers the request
// with status 503 and closes its connection at once.
type PlainRefusal struct {
	Cause   string // for [Hub.Refused]
	Message string // for the client
}

// Error returns the message.
func (r *PlainRefusal) Error() string { return r.Message }

// plain hands a request that is not a WebSocket upgrade to the HTTP server.
func (s *Session) plain(handshake *frame.Handshake) {
	h := s.shard.hub
	plain := h.Config().Plain
	if plain == nil {
		s.refuse(ReasonHandshake, 404, "this relay serves WebSockets only")
		return
	}
	s.reason = ReasonPlain
	from := h.Config().Client(s.conn.Peer(), handshake.Request().ForwardedFor)
	err := plain(s.conn, from, handshake.Head())
	if err == nil {
		s.forget()
		return
	}
	if s.phase == gone { // the connection was lost while it was handed over
		return
	}
	refusal := &PlainRefusal{Cause: "descriptors", Message: "the relay is short of descriptors; try again"}
	_ = errors.As(err, &refusal)
	h.Refused(refusal.Cause, from)
	s.refuseNow(ReasonPlain, refusal.Message)
}
