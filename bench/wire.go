package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// The opcodes of RFC 6455 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	bitFin  = 0x80
	bitMask = 0x80
)

// maxFrame is the largest frame that is taken from a server, in bytes.
const maxFrame = 32 << 20

// errGarbage is wrapped by what a server sent that is not WebSocket.
var errGarbage = errors.New("not WebSocket")

// A serverFrame is one frame that a server sent. Its payload is a part of the
// bytes that it was parsed from.
type serverFrame struct {
	op      byte
	fin     bool
	payload []byte
}

// parseFrame reads the frame that b begins with. used is its length, header
// included, 0 when b does not hold all of it; need is then how many bytes b
// must have at least before it is worth another look.
func parseFrame(b []byte) (f serverFrame, used, need int, err error) {
	if len(b) < 2 {
		return f, 0, 2, nil
	}
	f.op, f.fin = b[0]&0x0F, b[0]&bitFin != 0
	switch {
	case b[0]&0x70 != 0:
		return f, 0, 0, fmt.Errorf("%w: a reserved bit is set", errGarbage)
	case b[1]&bitMask != 0:
		return f, 0, 0, fmt.Errorf("%w: a masked frame from the server", errGarbage)
	case f.op > opBinary && (f.op < opClose || f.op > opPong):
		return f, 0, 0, fmt.Errorf("%w: opcode %d", errGarbage, f.op)
	}
	header, size := 2, uint64(b[1]&0x7F)
	switch size {
	case 126:
		if header = 4; len(b) < header {
			return f, 0, header, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if header = 10; len(b) < header {
			return f, 0, header, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	}
	switch {
	case f.op >= opClose && (size > 125 || !f.fin):
		return f, 0, 0, fmt.Errorf("%w: a control frame of %d bytes", errGarbage, size)
	case size > maxFrame:
		return f, 0, 0, fmt.Errorf("%w: a frame of %d bytes", errGarbage, size)
	}
	end := header + int(size)
	if len(b) < end {
		return f, 0, end, nil
	}
	f.payload = b[header:end]
	return f, end, 0, nil
}

// appendServerHeader adds the header of an unmasked, final frame.
func appendServerHeader(b []byte, op byte, size int) []byte {
	return appendHeader(b, op, size, 0)
}

func appendHeader(b []byte, op byte, size int, mask byte) []byte {
	b = append(b, bitFin|op)
	switch {
	case size < 126:
		return append(b, mask|byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(size))
	}
}

// appendClientFrame adds a final, masked frame as clients must send it.
func appendClientFrame(b []byte, op byte, payload []byte) []byte {
	b = appendHeader(b, op, len(payload), bitMask)
	key := rand.Uint32()
	b = binary.LittleEndian.AppendUint32(b, key)
	at := len(b)
	b = append(b, payload...)
	mask(b[at:], key)
	return b
}

// mask is RFC 6455 5.3, eight bytes at a time.
func mask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * (i & 3)))
	}
}
