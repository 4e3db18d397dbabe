package hub

import (
	"errors"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// end tells the client why the relay closes the connection, queues the close
// frame behind everything that is due, and waits for the peer's close frame. A
// session that is kicked or too slow loses everything that is due, except the
// rest of the frame that it is in the middle of.
func (s *Session) end(why Reason) {
	if s.phase != open {
		return
	}
	if why == ReasonTooSlow || why == ReasonKicked {
		s.cut()
	}
	s.leave()
	s.answersNoMore()
	s.beginResponse()
	s.tellAt(s.closedEvent(why), 0)
	s.reason = why
	if s.isEvents() {
		s.enter(finishing) // the response ends
		return
	}
	s.push(private{frame: frame.AppendClose(nil, endings[why].code, why.String()), kind: closeFrame})
	s.enter(closing)
}

// tooManyErrors closes a connection that has made more errors than the relay
// reports, and says how many messages were ignored.
func (s *Session) tooManyErrors() {
	s.shard.hub.Refused("too_many_errors", s.address())
	s.sendUrgent(Refused{&Refusal{Kind: TooManyErrors, Limit: s.more.rate.omitted}})
	s.endNow(ReasonTooManyErrors)
}

// endNow closes the connection and ignores everything more that the peer sends.
func (s *Session) endNow(why Reason) {
	if s.phase == open {
		s.end(why)
		s.dropInput()
		s.enter(finishing)
	}
}

// closedEvent returns the event that precedes the relay's close frame.
func (s *Session) closedEvent(why Reason) Closed {
	e := Closed{Why: why}
	if why == ReasonShutdown {
		e.Retry = s.shard.hub.retryAfter()
	}
	return e
}

// closedByPeer answers a close frame, whose payload the assembler has checked.
// A peer that closes no longer wants the room's broadcasts, but it still
// receives the replies to what it sent before, above all the response to its
// handshake.
func (s *Session) closedByPeer(payload []byte) {
	if s.phase == open || s.out != nil && !s.out.parting() {
		s.cut()
		if s.phase == open {
			s.reason = ReasonClient
			s.leave()
		}
		// RFC 6455 5.5.1: echo the code; 1005 makes an empty close frame.
		code, _, _ := frame.ParseClose(payload)
		s.push(private{frame: frame.AppendClose(nil, code, ""), kind: closeFrame})
	}
	s.enter(over)
}

// Fail closes a connection whose peer broke the protocol. Everything that is
// due goes out before the close frame because it answers what came before the
// error.
func (s *Session) Fail(err error) {
	if s.phase == open {
		s.reason = ReasonProtocol
		s.leave()
		// The reason is for people; programs go by the code.
		reason := err.Error()
		if e := (*frame.Error)(nil); errors.As(err, &e) {
			reason = e.Reason
		}
		s.push(private{frame: frame.AppendClose(nil, frame.CloseCode(err), reason), kind: closeFrame})
	}
	s.enter(finishing)
}

// refuse answers a request that does not become a WebSocket with an HTTP error.
func (s *Session) refuse(why Reason, status int, message string) {
	if s.isIdle() {
		s.enter(over)
		return
	}
	s.respond(why, frame.AppendRefusal(nil, status, message))
}

// maxLingering is how many refused connections the relay keeps open at once,
// each for at most CloseTimeout, so that the client can read the response:
// closing while the peer still sends may reset the connection first. Beyond it,
// refused connections close as soon as their sockets have accepted the
// response.
const maxLingering = 256

// lingering returns the number of connections that are past their handshake but
// are not WebSockets, which means that they were refused.
func (h *Hub) lingering() int64 {
	return h.connections.Load() - h.handshaking.Load() - h.upgraded.Load() - h.polls.Load()
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

// cut drops what the Log still owes the session and every frame with a place in
// the room's order, except the rest of the frame that the session is in the
// middle of.
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

// abandon drops everything that is due.
func (s *Session) abandon() {
	s.dropAll()
	s.enter(over)
}

// dropAll drops everything that waits for the socket.
func (s *Session) dropAll() {
	if s.out != nil {
		s.out.dropAll()
		s.out = nil
	}
}

// leave takes the session out of its room. The session still receives what the
// Log owes it, unless that is more than MaxPrivate and the room goes on:
// sessions that have left must not hold an open room's Log in memory.
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

// settle queues everything up to the Log's current end as frames of the
// session, and gives up the session's cursor. closed says that the room's
// viewers all do the same: the Log's memory is then counted once for all of
// them.
func (s *Session) settle(closed bool) {
	end := s.log().End()
	s.outbound().settle(s.cursor, end.Position(), closed)
	s.cursor = broadcast.Cursor{}
	s.dropOut()
}

// Shutdown closes the session because the relay is shutting down.
func (s *Session) Shutdown() {
	switch s.phase {
	case opening:
		s.shutdownOpening()
	case polling:
		s.shutdownPoll()
	case open:
		s.end(ReasonShutdown)
	}
}

// shutdownOpening ends the opening phase because the relay is shutting down. A newcomer
// has a moment for its request, which may be unread. A connection without a request is
// closed without a response: browsers open some in advance, and would take it for the
// response to the next request that they send there. They do not come back for an event
// stream after an HTTP error.
func (s *Session) shutdownOpening() {
	switch begun := s.more != nil && s.more.handshake != nil; {
	case begun:
		s.refuse(ReasonShutdown, 503, "the relay is shutting down")
	case s.past(s.since, silentTime):
		s.reason = ReasonShutdown
		s.enter(over)
	}
}

// Closed tells the session that its connection is closed. It is the last call.
func (s *Session) Closed(error) {
	if s.phase == gone {
		return
	}
	if s.phase == polling {
		s.withdrawPoll()
	}
	s.leave()
	s.forget()
}

// forget frees everything that the session holds and counts its end.
func (s *Session) forget() {
	h := s.shard.hub
	h.connections.Add(-1)
	if s.isEvents() && !s.isUnanswered() && !s.isStanding() {
		h.streaming.Add(-1)
	}
	s.uncount()
	s.shard.counters.closes[s.reason].Add(1)
	if s.more != nil {
		s.more.handled = 0
	}
	s.dropInput()
	s.dropHead()
	s.dropAll()
	s.more = nil
	s.cursor = broadcast.Cursor{}
	s.enter(gone)
}

// uncount no longer counts the session as a WebSocket or event stream of its address.
func (s *Session) uncount() {
	if s.dialect != 0 {
		s.shard.hub.upgraded.Add(-1)
		s.shard.hub.addresses.Disconnect(s.from)
		s.from = 0
	}
}
