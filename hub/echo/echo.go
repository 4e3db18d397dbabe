// Package echo is a dialect that sends every message back, so that conformance
// suites can test the relay's reactor, decoder and assembler. It has no rooms.
package echo

import (
	"fmt"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub"
)

// Dialect is a [hub.Dialect]. The zero value works.
type Dialect struct{}

// Message sends a message back. A message that is too large closes the
// connection with 1009.
func (d Dialect) Message(s *hub.Session, m frame.Message) {
	if m.TooLarge {
		s.Fail(&frame.Error{Code: ws.StatusMessageTooBig, Reason: fmt.Sprintf("message over the limit of %d bytes", d.Limit(s))})
		return
	}
	s.Send(frame.AppendFrame(nil, m.Op, m.Payload))
}

// Limit returns the size limit of hosts' messages.
func (Dialect) Limit(s *hub.Session) int { return s.Config().MaxHostMessage }

// AppendEvent appends nothing. The client receives nothing but its own
// messages.
func (Dialect) AppendEvent(b []byte, _ hub.Event) []byte { return b }

// Encodings returns none, because the dialect has no rooms.
func (Dialect) Encodings() []hub.Encoding { return nil }
