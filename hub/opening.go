package hub

import (
	"lectern/frame"
)

// open takes bytes of the request's head.
func (s *Session) open(chunk []byte) {
	m := s.extra()
	if m.shake == nil {
		m.shake = &frame.Handshake{MaxHead: s.shard.hub.Config().MaxHead}
	}
	shake := m.shake
	switch shake.Feed(chunk) {
	case frame.Refused:
		s.respond(ReasonHandshake, shake.Reply())
	case frame.Plain:
		s.plain(shake.Head())
	case frame.Upgrade:
		s.upgrade(shake)
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
	s.more = nil
	f := s.enterAddress(request.ForwardedFor)
	s.enter(open)
	n := h.upgraded.Add(1)
	if h.draining.Load() {
		s.end(ReasonShutdown)
		return
	}
	if n > int64(h.Config().MaxConnections) {
		f = &fault{code: "server_full", message: "the relay has all the connections it may have; try again later"}
	}
	if f != nil {
		s.report(f)
		s.end(ReasonServerFull)
		return
	}
	s.decode(shake.Rest())
}
