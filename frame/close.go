package frame

import (
	"encoding/binary"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Close codes beyond those that RFC 6455 7.4.1 names and gobwas/ws has. A peer
// that gets one of the first four must not come back by itself; after any
// other it may.
const (
	CloseRoomClosed  ws.StatusCode = 4000 // the room has ended
	CloseKicked      ws.StatusCode = 4002 // the host removed this viewer
	CloseReplaced    ws.StatusCode = 4003 // a newer connection took this one's place
	CloseOrigin      ws.StatusCode = 4403 // pages of this origin may not connect
	CloseTooSlow     ws.StatusCode = 4100 // the peer fell too far behind
	CloseIdle        ws.StatusCode = 4102 // the peer gave no sign of life
	CloseMessageSlow ws.StatusCode = 4408 // a message did not come whole in time
	CloseTooMany     ws.StatusCode = 4429 // the peer made too many mistakes, or too many wrong guesses came from its address
	CloseTryLater    ws.StatusCode = 1013 // the server is full (IANA registry: Try Again Later)
)

const (
	maxControl = ws.MaxControlFramePayloadSize // RFC 6455 5.5
	maxReason  = maxControl - 2                // what the close code leaves of it
)

// An Error is a peer's breach of the protocol or of a limit.
type Error struct {
	Code   ws.StatusCode // the close code that the peer should be told
	Reason string        // fits for the close frame's reason
}

// Error returns the code and the reason.
func (e *Error) Error() string {
	return "websocket error " + strconv.Itoa(int(e.Code)) + ": " + e.Reason
}

// CloseCode returns the close code for err: that of the [*Error] in its chain,
// 1011 (internal error) if there is none, and 1000 for nil.
func CloseCode(err error) ws.StatusCode {
	if err == nil {
		return ws.StatusNormalClosure
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ws.StatusInternalServerError
}

// SendableCode reports whether code may stand in a close frame: 1000 to 1003,
// 1007 to 1014 and 3000 to 4999. 1004 has no meaning yet; 1005, 1006 and 1015
// exist only to be reported to an application (RFC 6455 7.4). 1012 to 1014 were
// registered after the RFC.
func SendableCode(code ws.StatusCode) bool {
	return 1000 <= code && code <= 1003 || 1007 <= code && code <= 1014 || 3000 <= code && code <= 4999
}

// ParseClose reads the payload of a close frame. An empty one has the code 1005
// (RFC 6455 7.1.5). The error is an [*Error]: 1002 for one byte and for a code
// that may not be sent, 1007 for a reason that is not UTF-8; code and reason
// are then 0 and empty.
func ParseClose(payload []byte) (code ws.StatusCode, reason string, err error) {
	if err := checkClose(payload); err != nil {
		return 0, "", err
	}
	if len(payload) == 0 {
		return ws.StatusNoStatusRcvd, "", nil
	}
	return ws.StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
}

// checkClose checks the payload of a close frame, RFC 6455 5.5.1 and 7.4.
func checkClose(payload []byte) *Error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return &Error{ws.StatusProtocolError, "close frame with half a code"}
	}
	if code := ws.StatusCode(binary.BigEndian.Uint16(payload)); !SendableCode(code) {
		return &Error{ws.StatusProtocolError, "close frame with code " + strconv.Itoa(int(code))}
	}
	if !utf8.Valid(payload[2:]) {
		return &Error{ws.StatusInvalidFramePayloadData, "close reason is not UTF-8"}
	}
	return nil
}
