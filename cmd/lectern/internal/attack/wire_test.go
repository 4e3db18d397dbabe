//go:build linux

package attack

import "encoding/binary"

const upgradeRequest = "GET / HTTP/1.1\r\nHost: lectern\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// RFC 6455 5.2
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// appendHead appends the head of a client's frame whose masking key is zero, so
// that its payload goes as it is.
func appendHead(b []byte, op byte, size int) []byte {
	b = append(b, 0x80|op)
	switch {
	case size < 126:
		b = append(b, 0x80|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(size))
	}
	return append(b, 0, 0, 0, 0)
}

func textFrame(text string) []byte {
	return append(appendHead(nil, opText, len(text)), text...)
}

// cutFrame returns the first of a server's frames in b and what follows it; not
// ok if there is no whole one.
func cutFrame(b []byte) (op byte, payload, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, b, false
	}
	at, size := 2, uint64(b[1]&0x7f)
	switch size {
	case 126:
		if at = 4; len(b) < at {
			return 0, nil, b, false
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if at = 10; len(b) < at {
			return 0, nil, b, false
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	if uint64(len(b)-at) < size {
		return 0, nil, b, false
	}
	return b[0] & 0x0f, b[at:][:size], b[at+int(size):], true
}
