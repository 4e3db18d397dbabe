package hub

import (
	"errors"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// end says why the relay ends the connection, sends the close frame after all
// that is due, and awaits the peer's. Who is too slow or kicked gets nothing of
// what is due but the frame that it is in the middle of.
func (s *Session) end(why Reason) {
	if s.phase != open {
		return
	}
	if why == ReasonTooSlow || why == ReasonKicked {
		s.cut()
	}
	s.leave()
	s.tellAt(s.closedEvent(why), 0)
	s.push(private{frame: frame.AppendClose(nil, endings[why].code, why.String()), kind: closeFrame})
	s.reason = why
	s.enter(closing)
}

// tooManyErrors ends a connection that has earned more errors than are told, and
// says how many messages were ignored.
func (s *Session) tooManyErrors() {
	s.shard.hub.Refused("too_many_errors", s.address())
	s.sendUrgent(Refused{&Refusal{Kind: TooManyErrors, Limit: s.more.rate.omitted}})
	s.endNow(ReasonTooManyErrors)
}

// endNow ends the connection without looking at anything more that the peer sends.
func (s *Session) endNow(why Reason) {
	if s.phase == open {
		s.end(why)
		s.dropInput()
		s.enter(finishing)
	}
}

// closedEvent is what a session is told before the relay closes it.
func (s *Session) closedEvent(why Reason) Closed {
	e := Closed{Why: why}
	if why == ReasonShutdown {
		e.Retry = s.shard.hub.retryAfter()
	}
	return e
}

// closedByPeer answers a close frame, whose payload the assembler has checked.
// Whoever says goodbye does not want to hear what is still due of the room, but
// the answers to what it said before, not least the handshake's.
func (s *Session) closedByPeer(payload []byte) {
	if s.phase == open || s.out != nil && !s.out.parting() {
		s.cut()
		if s.phase == open {
			s.reason = ReasonClient
			s.leave()
		}
		// RFC 6455 5.5.1: the code is echoed; 1005 makes an empty frame.
		code, _, _ := frame.ParseClose(payload)
		s.push(private{frame: frame.AppendClose(nil, code, ""), kind: closeFrame})
	}
	s.enter(over)
}

// Fail ends a connection whose peer broke the protocol. What is due goes out
// before the close frame: it answers what came before the mistake.
func (s *Session) Fail(err error) {
	if s.phase == open {
		s.reason = ReasonProtocol
		s.leave()
		// The reason is for a person; the code is what counts.
		reason := err.Error()
		if e := (*frame.Error)(nil); errors.As(err, &e) {
			reason = e.Reason
		}
		s.push(private{frame: frame.AppendClose(nil, frame.CloseCode(err), reason), kind: closeFrame})
	}
	s.enter(finishing)
}

// refuse answers a request that will not become a WebSocket.
func (s *Session) refuse(why Reason, status int, message string) {
	s.respond(why, frame.AppendRefusal(nil, status, message))
}

// maxLingering is how many refused connections the relay waits for at once, each
// for at most CloseTimeout, so that they get to read their answer: to close while
// the peer still sends may reset the connection first. Beyond, they are closed as
// soon as their sockets have taken the answer.
const maxLingering = 256

// lingering returns how many connections are past their handshake and are no
// WebSockets: they were refused.
func (h *Hub) lingering() int64 {
	return h.connections.Load() - h.handshaking.Load() - h.upgraded.Load()
}

// respond ends the opening phase with an HTTP response.
func (s *Session) respond(why Reason, response []byte) {
	s.reason = why
	s.shard.hub.Answered(statusOf(response))
	s.push(private{frame: response, kind: urgent})
	s.dropInput()
	s.dropHead()
	s.more = nil
	s.enter(finishing)
	if s.shard.hub.lingering() > maxLingering {
		s.enter(over)
	}
}

// cut gives up the Log and what has a place in its order, but for the rest of
// the frame that the session is in the middle of.
func (s *Session) cut() {
	partial := s.cursor.Rest()
	s.cursor = broadcast.Cursor{}
	if s.out != nil {
		s.out.dropPlaced()
	}
	if partial != nil {
		s.outbound().pushRest(partial)
	}
	s.dropOut()
}

// abandon gives up everything that is due.
func (s *Session) abandon() {
	s.dropAll()
	s.enter(over)
}

// dropAll gives up everything that waits for the socket.
func (s *Session) dropAll() {
	if s.out != nil {
		s.out.dropAll()
		s.out = nil
	}
}

// leave takes the session out of its room. What the Log still owes it stays
// due, but for what is more than may wait for one connection: a room that goes on
// would otherwise be held in memory by those that have left it.
func (s *Session) leave() {
	r := s.room
	if r == nil {
		return
	}
	if !s.cursor.IsZero() {
		closed := r.isClosed() || s.shard.hub.Draining()
		if !closed && s.behind() > uint64(s.shard.hub.Config().MaxPrivate) {
			s.cut()
		} else {
			s.settle(closed)
		}
	}
	s.room = nil
	if s.has(flagHost) {
		s.clear(flagHost | flagNewHost)
		r.hostLeft(s)
	} else {
		r.leave(s)
	}
}

// settle makes what the Log owes the session its own, at the present end of the
// Log, and gives its place in the Log up. What a closed room's viewers are due is one
// memory, however many they are.
func (s *Session) settle(closed bool) {
	end := s.log().End()
	s.outbound().settle(s.cursor, end.Position(), closed)
	s.cursor = broadcast.Cursor{}
	s.dropOut()
}

// Shutdown tells the session that the relay ends.
func (s *Session) Shutdown() {
	switch s.phase {
	case opening:
		s.refuse(ReasonShutdown, 503, "the relay is shutting down")
	case open:
		s.end(ReasonShutdown)
	}
}

// Closed is the last call: the connection is gone.
func (s *Session) Closed(error) {
	if s.phase == gone {
		return
	}
	s.leave()
	s.forget()
}

// forget drops everything that the session holds and counts its end.
func (s *Session) forget() {
	h := s.shard.hub
	h.connections.Add(-1)
	if s.dialect != 0 {
		h.upgraded.Add(-1)
		h.addresses.disconnect(s.from)
		s.from = 0
	}
	s.shard.counters.closes[s.reason].Add(1)
	s.dropInput()
	s.dropHead()
	s.dropAll()
	s.more = nil
	s.cursor = broadcast.Cursor{}
	s.enter(gone)
}
