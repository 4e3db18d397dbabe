package hub

import (
	"fmt"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// echo sends every message back, so that conformance suites can be run against
// the relay's own reactor, decoder and assembler.
type echo struct{}

func (echo) Message(s *Session, m frame.Message) {
	if m.TooLarge {
		s.fail(&frame.Error{Code: ws.StatusMessageTooBig, Reason: fmt.Sprintf("message over the limit of %d bytes", echo{}.Limit(s))})
		return
	}
	s.push(private{frame: frame.AppendFrame(nil, m.Op, m.Payload)})
}

func (echo) Limit(s *Session) int { return s.shard.hub.Config().MaxHostMessage }

func (echo) Leave(*Session) {}
