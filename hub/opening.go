package hub

import (
	"lectern/frame"
	"lectern/hub/budget"
)

// subprotocol is the WebSocket subprotocol that the relay accepts. Clients need
// not ask for it.
const subprotocol = "lectern.v1"

// open handles bytes of the request head.
func (s *Session) open(chunk []byte) {
	h := s.shard.hub
	s.shard.silent.remove(s)
	if h.budget.LevelWith(int64(len(chunk))) >= budget.Full {
		s.turnAway("memory", "the relay is short of memory; try again later")
		return
	}
	handshake := s.handshake()
	buffered := handshake.Buffered()
	verdict := handshake.Feed(chunk)
	h.budget.Add(budget.Heads, int64(handshake.Buffered()-buffered))
	if verdict != frame.Upgrade {
		handshake = s.keepHandshake()
	}
	switch verdict {
	case frame.Pending:
		if !s.has(flagBegun) {
			s.shard.begun.add(s)
		}
	case frame.Refused:
		s.respond(ReasonHandshake, handshake.Reply())
	case frame.Plain:
		switch {
		case s.shard.hub.IsEventRequest(handshake.Request()):
			s.openEvents(handshake)
		case h.draining.Load():
			s.refuse(ReasonShutdown, 503, "the relay is shutting down")
		default:
			s.plain(handshake)
		}
	case frame.Upgrade:
		s.upgrade(handshake)
	}
}

// handshake returns the session's handshake. While the session has kept none, it is
// the worker's: most heads arrive whole and ask for an upgrade, and leave nothing to
// keep.
func (s *Session) handshake() *frame.Handshake {
	if m := s.more; m != nil && m.handshake != nil {
		return m.handshake
	}
	s.shard.handshake = frame.Handshake{MaxHead: s.Config().MaxHead, Subprotocol: subprotocol, NoDeflate: s.Config().NoCompression}
	return &s.shard.handshake
}

// keepHandshake returns the session's handshake after taking it from the worker.
func (s *Session) keepHandshake() *frame.Handshake {
	m := s.extra()
	if m.handshake == nil {
		m.handshake = new(frame.Handshake)
		*m.handshake, s.shard.handshake = s.shard.handshake, frame.Handshake{}
	}
	return m.handshake
}

// dropHead frees an incomplete request head.
func (s *Session) dropHead() {
	if m := s.more; m != nil && m.handshake != nil {
		s.shard.hub.budget.Add(budget.Heads, -int64(m.handshake.Buffered()))
		m.handshake = nil
	}
}

// upgrade completes the handshake (RFC 6455 4.2.2).
func (s *Session) upgrade(handshake *frame.Handshake) {
	h := s.shard.hub
	request := handshake.Request()
	dialect, ok := h.paths[request.Path]
	if !ok {
		s.refuse(ReasonHandshake, 404, "no WebSocket is served at "+request.Path)
		return
	}
	// Only a request with an Origin needs the peer's address here, which takes
	// a system call.
	allowed := request.Origin == "" || h.Config().AllowsOrigin(request.Origin, request.Host, s.conn.Peer(), request.ForwardedFor)
	s.dialect = dialect
	if s.deflate = handshake.Deflate(); s.deflate != frame.NoDeflate {
		h.compression.agreed.Add(1)
	}
	h.Answered(101)
	s.push(private{frame: handshake.Reply(), kind: urgent})
	s.dropHead()
	s.more = nil
	f := s.enterAddress(request.ForwardedFor)
	s.enter(open)
	n := h.upgraded.Add(1)
	if h.draining.Load() {
		s.end(ReasonShutdown)
		return
	}
	if !allowed {
		s.turnAwayPage(request.Origin)
		return
	}
	if n > int64(h.Config().MaxConnections) {
		f = refused(ServerFull)
	}
	if f != nil {
		s.Report(f)
		s.end(ReasonServerFull)
		return
	}
	rest := handshake.Rest()
	s.shard.handshake = frame.Handshake{}
	s.decode(rest)
}
