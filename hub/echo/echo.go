// Package echo is a dialect that sends every message back, so that conformance
// suites can be run against the relay's own reactor, decoder and assembler. It has no
// rooms.
package echo

import (
	"fmt"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub"
)

// Dialect is a [hub.Dialect]. Its zero value works.
type Dialect struct{}

// Message sends a message back. One that is too large ends the connection with
// 1009.
func (d Dialect) Message(s *hub.Session, m frame.Message) {
	if m.TooLarge {
		s.Fail(&frame.Error{Code: ws.StatusMessageTooBig, Reason: fmt.Sprintf("message over the limit of %d bytes", d.Limit(s))})
		return
	}
	s.Send(frame.AppendFrame(nil, m.Op, m.Payload))
}

// Limit is the one of hosts.
func (Dialect) Limit(s *hub.Session) int { return s.Config().MaxHostMessage }

// AppendEvent appends nothing: there is nothing to tell but what was sent.
func (Dialect) AppendEvent(b []byte, _ hub.Event) []byte { return b }

// Encodings returns none.
func (Dialect) Encodings() []hub.Encoding { return nil }
