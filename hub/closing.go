package hub

import (
	"errors"
	"strconv"

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
	place := s.place()
	s.leave()
	s.pushText(s.closedEvent(why), place)
	s.push(private{frame: frame.AppendClose(nil, endings[why].code, why.String()), place: place, kind: farewell})
	s.reason = why
	s.enter(closing)
}

// closedEvent is what a session is told before the relay closes it.
func (s *Session) closedEvent(why Reason) []byte {
	b := append([]byte(`{"type":"closed","reason":"`), why.String()...)
	b = append(b, '"')
	if why == ReasonShutdown {
		b = append(b, `,"retry_ms":`...)
		b = strconv.AppendInt(b, s.shard.hub.retryAfter().Milliseconds(), 10)
	}
	return append(b, '}')
}

// closedByPeer answers a close frame, whose payload the assembler has checked.
// Whoever says goodbye does not want to hear what is still due of the room, but
// the answers to what it said before, not least the handshake's.
func (s *Session) closedByPeer(payload []byte) {
	if s.phase == open {
		s.reason = ReasonClient
		s.leave()
	}
	if s.phase == open || s.out != nil && !s.out.parting() {
		s.cut()
		// RFC 6455 5.5.1: the code is echoed; 1005 makes an empty frame.
		code, _, _ := frame.ParseClose(payload)
		s.push(private{frame: frame.AppendClose(nil, code, ""), kind: farewell})
	}
	s.enter(over)
}

// fail ends a connection whose peer broke the protocol. What is due goes out
// before the close frame: it answers what came before the mistake.
func (s *Session) fail(err error) {
	if s.phase == open {
		place := s.place()
		s.reason = ReasonProtocol
		s.leave()
		// The reason is for a person; the code is what counts.
		reason := err.Error()
		if e := (*frame.Error)(nil); errors.As(err, &e) {
			reason = e.Reason
		}
		s.push(private{frame: frame.AppendClose(nil, frame.CloseCode(err), reason), place: place, kind: farewell})
	}
	s.enter(finishing)
}

// refuse answers a request that will not become a WebSocket.
func (s *Session) refuse(why Reason, status int, message string) {
	s.respond(why, frame.AppendRefusal(nil, status, message))
}

// respond ends the opening phase with an HTTP response.
func (s *Session) respond(why Reason, response []byte) {
	s.reason = why
	s.push(private{frame: response, kind: urgent})
	s.dropInput()
	s.more = nil
	s.enter(finishing)
}

// cut gives up the Log and what has a place in its order, but for the rest of
// the frame that the session is in the middle of.
func (s *Session) cut() {
	half := s.cursor.Rest()
	s.cursor = broadcast.Cursor{}
	if s.out != nil {
		s.out.dropPlaced()
	}
	if half != nil {
		if s.out == nil {
			s.out = new(outbound)
		}
		s.out.pushRest(half)
	}
	if s.out != nil && len(s.out.items) == 0 {
		s.out = nil
	}
}

// abandon gives up everything that is due.
func (s *Session) abandon() {
	s.out = nil
	s.cursor = broadcast.Cursor{}
	s.clear(markParked)
	s.enter(over)
}

// leave takes the session out of its room. What the Log still owes it stays
// due.
func (s *Session) leave() {
	if p := s.protocol(); p != nil {
		p.Leave(s)
	}
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
	if s.speaks != 0 {
		h.upgraded.Add(-1)
	}
	s.shard.counters.closes[s.reason].Add(1)
	s.dropInput()
	s.dropWaiting()
	s.more, s.out = nil, nil
	s.cursor = broadcast.Cursor{}
	s.enter(gone)
}
