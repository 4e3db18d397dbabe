package hub

import (
	"lectern/frame"
	"lectern/hub/budget"
)

// open takes bytes of the request's head.
func (s *Session) open(chunk []byte) {
	h := s.shard.hub
	s.shard.silent.remove(s)
	if h.budget.LevelWith(int64(len(chunk))) >= budget.Full {
		s.turnAway("memory", "the relay is short of memory; try again later")
		return
	}
	m := s.extra()
	if m.shake == nil {
		m.shake = &frame.Handshake{MaxHead: h.Config().MaxHead}
	}
	shake := m.shake
	kept := shake.Buffered()
	verdict := shake.Feed(chunk)
	h.budget.Add(budget.Heads, int64(shake.Buffered()-kept))
	switch verdict {
	case frame.Pending:
		if !s.has(markBegun) {
			s.shard.begun.add(s)
		}
	case frame.Refused:
		s.respond(ReasonHandshake, shake.Reply())
	case frame.Plain:
		s.plain(shake.Head())
	case frame.Upgrade:
		s.upgrade(shake)
	}
}

// dropHead gives up what was kept of the request's head.
func (s *Session) dropHead() {
	if m := s.more; m != nil && m.shake != nil {
		s.shard.hub.budget.Add(budget.Heads, -int64(m.shake.Buffered()))
		m.shake = nil
	}
}

// plain hands a request that is not a WebSocket upgrade to the HTTP server.
func (s *Session) plain(read []byte) {
	h := s.shard.hub
	plain := h.Config().Plain
	if plain == nil {
		s.refuse(ReasonHandshake, 404, "this relay serves WebSockets only")
		return
	}
	s.reason = ReasonPlain
	if err := plain(s.conn, read); err != nil {
		if s.phase != gone { // the hand-over can also fail by losing the connection
			s.refuse(ReasonPlain, 503, "the relay is short of descriptors; try again")
		}
		return
	}
	s.forget()
}

// upgrade finishes the handshake.
func (s *Session) upgrade(shake *frame.Handshake) {
	h := s.shard.hub
	request := shake.Request()
	speaks, ok := h.paths[request.Path]
	if !ok {
		s.refuse(ReasonHandshake, 404, "no WebSocket is served at "+request.Path)
		return
	}
	if !h.Config().allows(request) {
		s.refuse(ReasonHandshake, 403, "pages of the origin "+request.Origin+" may not connect to this relay")
		return
	}
	s.speaks = speaks
	s.push(private{frame: shake.Reply(), kind: urgent})
	s.dropHead()
	s.more = nil
	if c := h.Config(); len(c.TrustedProxies) > 0 && request.ForwardedFor != "" {
		if from := c.forwarded(s.conn.Peer(), request.ForwardedFor); from.IsValid() {
			s.extra().from = from
		}
	}
	s.enter(open)
	n := h.upgraded.Add(1)
	if h.draining.Load() {
		s.end(ReasonShutdown)
		return
	}
	if n > int64(h.Config().MaxConnections) {
		s.report(&fault{code: "server_full", message: "the relay has all the connections it may have; try again later"})
		s.end(ReasonServerFull)
		return
	}
	s.decode(shake.Rest())
}
