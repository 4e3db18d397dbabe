package tlsrecord

import "encoding/binary"

// The handshake messages that may come after the handshake (RFC 8446 4.6).
const (
	typeNewSessionTicket = 4
	typeKeyUpdate        = 24
)

const messageHeader = 4 // a type and three bytes of length

// handshake takes bytes of handshake messages.
func (c *Conn) handshake(content []byte) error {
	if len(content) == 0 {
		return &Alert{Code: unexpectedMessage, Ours: true} // RFC 8446 5.1
	}
	c.message = append(c.message, content...)
	for len(c.message) >= messageHeader {
		size := messageHeader + int(binary.BigEndian.Uint32(c.message)&0xffffff)
		if size > maxMessage {
			return &Alert{Code: decodeError, Ours: true}
		}
		if len(c.message) < size {
			return nil
		}
		message := c.message[:size]
		c.message = c.message[size:]
		switch message[0] {
		case typeNewSessionTicket: // of a server: nothing is resumed with it
		case typeKeyUpdate:
			if err := c.keyUpdate(message[messageHeader:]); err != nil {
				return err
			}
		default:
			return &Alert{Code: unexpectedMessage, Ours: true}
		}
	}
	if len(c.message) == 0 {
		c.message = nil
	}
	return nil
}

// keyUpdate changes the peer's key, and this side's if that is asked for (RFC 8446
// 4.6.3). A flood of them is bounded, also between data, and earns one answer, however
// many ask before it is sent.
func (c *Conn) keyUpdate(body []byte) error {
	switch {
	case len(body) != 1 || body[0] > 1:
		return &Alert{Code: decodeError, Ours: true}
	case len(c.message) > 0: // RFC 8446 5.1: a new key begins with a record
		return &Alert{Code: unexpectedMessage, Ours: true}
	}
	if c.updates += dataPerUpdate; c.updates > maxUpdates*dataPerUpdate {
		return ErrTooManyUseless
	}
	c.in.next()
	c.update = c.update || body[0] == 1
	return nil
}
