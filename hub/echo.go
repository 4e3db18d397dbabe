package hub

import (
	"github.com/gobwas/ws"

	"lectern/frame"
)

// echo sends every message back, so that conformance suites can be run against
// the relay's own reactor, decoder and assembler.
type echo struct{}

func (echo) Message(s *Session, m frame.Message) {
	if m.TooLarge {
		s.fail(&frame.Error{Code: ws.StatusMessageTooBig, Reason: "message over the limit"})
		return
	}
	s.push(private{frame: frame.AppendFrame(nil, m.Op, m.Payload)})
}

func (echo) Limit(s *Session) int { return s.shard.hub.Config().MaxHostMessage }

func (echo) Leave(*Session) {}
