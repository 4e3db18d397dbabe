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

// Message sends a message back, compressed if that was agreed. A message that is
// too large closes the connection with 1009.
func (d Dialect) Message(s *hub.Session, m frame.Message) {
	if m.TooLarge {
		s.Fail(&frame.Error{Code: ws.StatusMessageTooBig, Reason: fmt.Sprintf("message over the limit of %d bytes", d.Limit(s))})
		return
	}
	if len(m.Payload) < hub.MinOffload {
		s.Send(encode(s, m))
		return
	}
	var answer []byte
	s.Offload(func() { answer = encode(s, m) }, func(there bool) {
		if there {
			s.Send(answer)
		}
	})
}

// encode returns the frame that sends a message back. Short messages are
// compressed too, so that suites have more to test.
func encode(s *hub.Session, m frame.Message) (answer []byte) {
	if s.Deflate(func(d *frame.Deflater) {
		text := d.Append(nil, m.Payload)
		answer = append(frame.AppendCompressedHeader(nil, m.Op, len(text)), text...)
	}) {
		return answer
	}
	return frame.AppendFrame(nil, m.Op, m.Payload)
}

// Limit returns the size limit of hosts' messages.
func (Dialect) Limit(s *hub.Session) int { return s.Config().MaxHostMessage }

// AppendEvent appends nothing. The client receives nothing but its own
// messages.
func (Dialect) AppendEvent(b []byte, _ hub.Event) []byte { return b }

// Encodings returns none, because the dialect has no rooms.
func (Dialect) Encodings() []hub.Encoding { return nil }
