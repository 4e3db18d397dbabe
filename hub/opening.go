package hub

import (
	"lectern/frame"
	"lectern/hub/budget"
)

// subprotocol is agreed to when a client asks for it. It need not.
const subprotocol = "lectern.v1"

// open takes bytes of the request's head.
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
	shake := m.handshake
	kept := shake.Buffered()
	verdict := shake.Feed(chunk)
	h.budget.Add(budget.Heads, int64(shake.Buffered()-kept))
	switch verdict {
	case frame.Pending:
		if !s.has(flagBegun) {
			s.shard.begun.add(s)
		}
	case frame.Refused:
		s.respond(ReasonHandshake, shake.Reply())
	case frame.Plain:
		s.plain(shake)
	case frame.Upgrade:
		s.upgrade(shake)
	}
}

// dropHead gives up what was kept of the request's head.
func (s *Session) dropHead() {
	if m := s.more; m != nil && m.handshake != nil {
		s.shard.hub.budget.Add(budget.Heads, -int64(m.handshake.Buffered()))
		m.handshake = nil
	}
}

// upgrade finishes the handshake.
func (s *Session) upgrade(shake *frame.Handshake) {
	h := s.shard.hub
	request := shake.Request()
	dialect, ok := h.paths[request.Path]
	if !ok {
		s.refuse(ReasonHandshake, 404, "no WebSocket is served at "+request.Path)
		return
	}
	// Only a page needs the peer's address for this, which takes a system call.
	allowed := request.Origin == "" || h.Config().AllowsOrigin(request.Origin, request.Host, s.conn.Peer(), request.ForwardedFor)
	s.dialect = dialect
	h.Answered(101)
	s.push(private{frame: shake.Reply(), kind: urgent})
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
	s.decode(shake.Rest())
}
