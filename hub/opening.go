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
	m := s.extra()
	if m.handshake == nil {
		m.handshake = &frame.Handshake{MaxHead: h.Config().MaxHead, Subprotocol: subprotocol}
	}
	handshake := m.handshake
	buffered := handshake.Buffered()
	verdict := handshake.Feed(chunk)
	h.budget.Add(budget.Heads, int64(handshake.Buffered()-buffered))
	switch verdict {
	case frame.Pending:
		if !s.has(flagBegun) {
			s.shard.begun.add(s)
		}
	case frame.Refused:
		s.respond(ReasonHandshake, handshake.Reply())
	case frame.Plain:
		s.plain(handshake)
	case frame.Upgrade:
		s.upgrade(handshake)
	}
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
	s.decode(handshake.Rest())
}
