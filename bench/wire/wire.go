// Package wire is the client's side of WebSocket (RFC 6455) for the load
// generator, as values: the handshake, and frames that a server sends. It also reads the
// relay's event streams, whose events it hands out as frames.
//
// Package frame encodes what clients send. It cannot decode what a server sends,
// because it is a server's and insists on masks, and because it hands out pieces
// of messages. The load generator wants a frame as it came, with all its bytes:
// it compares most deliveries with what it expects, and parses only the others.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/gobwas/ws"

	"lectern/frame"
)

const (
	bitFin     = 0x80
	bitDeflate = 0x40 // RSV1, RFC 7692 6
	bitsRSV    = 0x70
	bitMask    = 0x80
)

// MaxFrame is the largest frame that is taken from a server, in bytes.
const MaxFrame = 32 << 20

// ErrGarbage is wrapped by what a server sent that its protocol does not allow.
var ErrGarbage = errors.New("breaks the protocol")

// ErrDeclined is wrapped by the error about a server that does not agree to compress each
// message by itself.
var ErrDeclined = errors.New("declines compression")

// A Frame is one frame that a server sent. Its payload is a part of the
// bytes that it was parsed from.
type Frame struct {
	Op       ws.OpCode
	Fin      bool
	Deflated bool // the message that it begins is compressed
	Payload  []byte
	Event    string // the type of an event, empty over WebSocket
	Events   bool   // the payload is events, each to be parsed by [EventStream.Parse]
}

// Closing returns why a server closes the connection with a frame, and what it says
// about it.
func (f Frame) Closing() (reason, text string) {
	switch {
	case f.Event != "":
		return "event " + f.Event, string(f.Payload)
	case len(f.Payload) < 2:
		return "close frame without a code", ""
	default:
		return fmt.Sprintf("close frame %d", binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])
	}
}

// Parse reads the frame that b begins with. used is its length, header
// included, 0 when b does not hold all of it.
func (w WebSocket) Parse(b []byte) (f Frame, used int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	f.Op, f.Fin = ws.OpCode(b[0]&0x0F), b[0]&bitFin != 0
	f.Deflated = w.deflates && b[0]&bitsRSV == bitDeflate && (f.Op == ws.OpText || f.Op == ws.OpBinary)
	switch {
	case b[0]&bitsRSV != 0 && !f.Deflated:
		return f, 0, fmt.Errorf("%w: a reserved bit is set", ErrGarbage)
	case b[1]&bitMask != 0:
		return f, 0, fmt.Errorf("%w: a masked frame from the server", ErrGarbage)
	case f.Op > ws.OpBinary && (f.Op < ws.OpClose || f.Op > ws.OpPong):
		return f, 0, fmt.Errorf("%w: opcode %d", ErrGarbage, f.Op)
	}
	header, size := 2, uint64(b[1]&0x7F)
	switch size {
	case 126:
		if header = 4; len(b) < header {
			return f, 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if header = 10; len(b) < header {
			return f, 0, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	switch {
	case f.Op >= ws.OpClose && (size > 125 || !f.Fin):
		return f, 0, fmt.Errorf("%w: a control frame of %d bytes", ErrGarbage, size)
	case size > MaxFrame:
		return f, 0, fmt.Errorf("%w: a frame of %d bytes", ErrGarbage, size)
	}
	end := header + int(size)
	if len(b) < end {
		return f, 0, nil
	}
	f.Payload = b[header:end]
	return f, end, nil
}

// AppendClient adds a final, masked frame as clients must send it.
func (WebSocket) AppendClient(b []byte, op ws.OpCode, payload []byte) []byte {
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	return frame.AppendMasked(b, op, true, key, payload)
}
