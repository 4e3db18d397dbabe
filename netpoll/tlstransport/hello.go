//go:build linux

package tlstransport

const (
	recordHeader  = 5
	messageHeader = 4
	typeHandshake = 22
	typeHello     = 1

	// maxHello is how many bytes a ClientHello may have. Those of browsers have some
	// two thousand; crypto/tls would take four times as many.
	maxHello = 16 << 10
	// maxCollected bounds the bytes of its records: a client may cut it into small ones.
	maxCollected = maxHello + maxHello/2
)

// judgeHello reports whether b begins with the records of a whole ClientHello (RFC 8446
// 4.1.2 and 5.1). The error says why it cannot.
func judgeHello(b []byte) (complete bool, err error) {
	if len(b) > 0 && 'A' <= b[0] && b[0] <= 'Z' {
		return false, ErrPlain
	}
	if len(b) > 0 && b[0] != typeHandshake || len(b) > 1 && b[1] != 3 {
		return false, ErrNotTLS
	}
	var message [messageHeader]byte
	had, collected := 0, len(b)
	for len(b) >= recordHeader {
		size := int(b[3])<<8 | int(b[4])
		if b[0] != typeHandshake || size == 0 || size > maxHello+messageHeader {
			return false, ErrHello
		}
		body := b[recordHeader:]
		whole := len(body) >= size
		if whole {
			body = body[:size]
		}
		if had < messageHeader {
			copy(message[had:], body)
		}
		if had += len(body); had > 0 && message[0] != typeHello {
			return false, ErrNotTLS
		}
		if had >= messageHeader {
			length := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
			switch {
			case length > maxHello:
				return false, ErrHello
			case whole && had >= messageHeader+length:
				return true, nil
			}
		}
		if !whole {
			break
		}
		b = b[recordHeader+size:]
	}
	if collected > maxCollected {
		return false, ErrHello
	}
	return false, nil
}
