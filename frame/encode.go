package frame

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// HeaderSize returns the size in bytes of the header that [AppendHeader] writes
// for a payload of n bytes: 2, 4 or 10.
func HeaderSize(n int) int {
	switch {
	case n < length16:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

// AppendHeader appends the header of an unfragmented, unmasked frame with a
// payload of n bytes (RFC 6455 5.2), which the caller appends next. A control
// frame's n must be at most 125.
func AppendHeader(dst []byte, op ws.OpCode, n int) []byte {
	return appendHeader(dst, bitFin|byte(op), 0, n)
}

// AppendFrame appends an unfragmented, unmasked frame. A control frame's
// payload must be at most 125 bytes.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = slices.Grow(dst, HeaderSize(len(payload))+len(payload))
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendCompressedHeader is [AppendHeader] for a data message whose payload is
// compressed (RFC 7692 6).
func AppendCompressedHeader(dst []byte, op ws.OpCode, n int) []byte {
	return appendHeader(dst, bitFin|bitRSV1|byte(op), 0, n)
}

// AppendClose appends a close frame, always a valid one: the reason is cut at a
// character's border to the 123 bytes that a control frame leaves it, and has
// what is not UTF-8 replaced. 1005 stands for a frame without code and reason;
// any other code that [SendableCode] refuses goes out as 1011.
func AppendClose(dst []byte, code ws.StatusCode, reason string) []byte {
	if code == ws.StatusNoStatusRcvd {
		return AppendHeader(dst, ws.OpClose, 0)
	}
	if !SendableCode(code) {
		code = ws.StatusInternalServerError
	}
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	if len(reason) > maxReason {
		end := maxReason
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = AppendHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// AppendMasked appends a frame as a client sends it (RFC 6455 5.3). It masks
// its copy and leaves payload as it is. Nothing is checked, so that tests can
// make what no client should send.
func AppendMasked(dst []byte, op ws.OpCode, fin bool, mask [4]byte, payload []byte) []byte {
	first := byte(op)
	if fin {
		first |= bitFin
	}
	dst = appendHeader(dst, first, bitMask, len(payload))
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// appendHeader appends a header up to the mask, if any, with the length in the
// fewest bytes.
func appendHeader(dst []byte, first, mask byte, n int) []byte {
	switch HeaderSize(n) {
	case 2:
		return append(dst, first, mask|byte(n))
	case 4:
		return append(dst, first, mask|length16, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, mask|length64), uint64(n))
}

// IsCompressed reports whether a whole data message in one frame is compressed.
func IsCompressed(whole []byte) bool { return whole[0]&bitRSV1 != 0 }

// Payload returns the payload of a frame that AppendFrame made.
func Payload(whole []byte) []byte {
	switch whole[1] {
	case 126:
		return whole[4:]
	case 127:
		return whole[10:]
	default:
		return whole[2:]
	}
}
