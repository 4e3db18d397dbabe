package frame

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/gobwas/ws"
)

// The decoder is in one of three states:
//
//	between frames   kept == 0, left == 0
//	in a header      kept > 0:  header[:kept] has come, the rest has not
//	in a payload     left > 0:  so many of the frame's length bytes are to come
//
// Bytes are its only events. Beside that it notes whether a fragmented message
// is under way, which control frames may interrupt (RFC 6455 5.4).

// Parts of a frame's header, RFC 6455 5.2.
const (
	bitFin  = 0x80 // first byte: FIN; RSV1-3 and the opcode follow
	bitRSV1 = 0x40 // first byte: RSV1, which says that a message is compressed (RFC 7692 6)
	bitMask = 0x80 // second byte: MASK; the 7-bit length follows

	length16 = 126 // 7-bit length that says: two bytes of length follow
	length64 = 127 // 7-bit length that says: eight bytes of length follow

	maxHeader = 14 // 2 + 8 bytes of length + 4 of mask
)

// A Piece is a part of a frame's payload, or all of it.
type Piece struct {
	Op          ws.OpCode
	Fin         bool   // FIN of its frame: the last one of its message
	Compressed  bool   // RSV1 of its frame, the first one of its message
	First, Last bool   // first and last piece of its frame
	Length      int64  // payload length that its frame declared, in bytes
	Payload     []byte // unmasked; a part of the chunk that was fed
}

// A Decoder cuts a client's bytes into frames and unmasks them. Its zero value
// is ready. It is meant to exist only while there is input, so it is small, and
// it never allocates except for an error.
type Decoder struct {
	// MaxLength bounds the payload, in bytes, that a data frame may declare: a
	// longer one is an error with code 1009 as soon as its length is known. 0
	// means no bound; a negative one lets only empty frames pass. It may be
	// changed at any time and is looked at once for each frame.
	MaxLength int64

	err    *Error
	rest   []byte // of the chunk under way, when its loop was left
	length int64  // what the frame under way declared
	left   int64  // how much of that is to come
	mask   [4]byte
	header [maxHeader]byte
	kept   uint8 // bytes in header
	op     ws.OpCode
	fin    bool
	rsv1   bool
	state  ws.State // StateFragmented between the frames of a message

	// Deflate lets messages be compressed: the first frame of a data message may
	// have RSV1 set (RFC 7692 6). Otherwise that is an error with code 1002.
	Deflate bool
}

// Feed returns the pieces that chunk completes, in order; range over it once. A
// frame that lies wholly in chunk is one piece, an empty frame is one piece
// with an empty payload, and any other payload is handed out as it comes: all
// that the Decoder keeps of chunk is the beginning of a header. The payload is
// unmasked in place, so chunk must be the caller's to change; pieces alias it.
//
// Pieces end early when there is an error: look at [Decoder.Err] after the
// loop. If you leave the loop, [Decoder.Rest] is what you have to feed next.
func (d *Decoder) Feed(chunk []byte) iter.Seq[Piece] {
	// Small enough to be inlined, so that neither closure reaches the heap.
	return func(yield func(Piece) bool) { d.drain(chunk, yield) }
}

// Err returns the error that ended decoding, an [*Error] with code 1002 or
// 1009, or nil.
func (d *Decoder) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// Rest returns what of the last chunk has not been looked at, because its loop
// was left; nil if all has been. It aliases that chunk.
func (d *Decoder) Rest() []byte { return d.rest }

// Idle reports whether the Decoder is between two frames, keeps no bytes and
// has not failed. A fragmented message may be under way.
func (d *Decoder) Idle() bool { return d.kept == 0 && d.left == 0 && d.err == nil }

func (d *Decoder) drain(chunk []byte, yield func(Piece) bool) {
	d.rest = nil
	for len(chunk) > 0 && d.err == nil {
		if d.left == 0 {
			n, complete := d.begin(chunk)
			chunk = chunk[n:]
			if !complete || d.left > 0 && len(chunk) == 0 {
				continue
			}
		}
		n := int(min(int64(len(chunk)), d.left))
		piece := Piece{
			Op: d.op, Fin: d.fin, Compressed: d.rsv1, First: d.left == d.length, Last: d.left == int64(n),
			Length: d.length, Payload: chunk[:n:n],
		}
		ws.Cipher(piece.Payload, d.mask, int(d.length-d.left)&3)
		d.left -= int64(n)
		chunk = chunk[n:]
		if !yield(piece) {
			d.rest = chunk
			return
		}
	}
}

// begin takes header bytes from the front of chunk, n of them. It keeps them
// if the header is not complete.
func (d *Decoder) begin(chunk []byte) (n int, complete bool) {
	b := chunk
	if d.kept > 0 {
		n := copy(d.header[d.kept:], chunk)
		b = d.header[:int(d.kept)+n]
	}
	size := d.parse(b)
	if size == 0 {
		if d.err == nil {
			d.kept = uint8(copy(d.header[:], b)) // fewer than maxHeader, or it were complete
		}
		return len(chunk), false
	}
	n = size - int(d.kept)
	d.kept = 0
	return n, true
}

// parse reads the header at the front of b and returns its size, 0 if b ends
// before it. Each part is judged as soon as it is there, the first byte apart
// from the second, so that an error comes as early as it can and is the same
// however the bytes were cut.
func (d *Decoder) parse(b []byte) (size int) {
	h := ws.Header{
		Fin:    b[0]&bitFin != 0,
		Rsv:    b[0] >> 4 & 7,
		OpCode: ws.OpCode(b[0] & 0xf),
		Masked: true,
	}
	compressed := d.Deflate && b[0]&bitRSV1 != 0 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
	if compressed {
		h.Rsv &^= bitRSV1 >> 4
	}
	if !d.check(h) || len(b) < 2 {
		return 0
	}
	h.Masked = b[1]&bitMask != 0
	h.Length = int64(b[1] &^ bitMask) // 126 and 127 are too long for a control frame either way
	if !d.check(h) {
		return 0
	}

	// The minimal number of bytes must be used to encode the length, and the
	// most significant of 64 bits must be 0 (RFC 6455 5.2).
	masked := 2
	switch h.Length {
	case length16:
		if masked += 2; len(b) < masked {
			return 0
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.Length < length16 {
			return d.fail(ws.StatusProtocolError, "frame length is not encoded in the fewest bytes")
		}
	case length64:
		if masked += 8; len(b) < masked {
			return 0
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
		if h.Length < 0 {
			return d.fail(ws.StatusProtocolError, "frame length has its most significant bit set")
		}
		if h.Length <= 1<<16-1 {
			return d.fail(ws.StatusProtocolError, "frame length is not encoded in the fewest bytes")
		}
	}
	if d.MaxLength != 0 && h.Length > max(d.MaxLength, 0) && h.OpCode.IsData() {
		d.length = h.Length
		return d.fail(ws.StatusMessageTooBig, fmt.Sprintf("frame of %d bytes, %d are allowed", h.Length, max(d.MaxLength, 0)))
	}
	if len(b) < masked+len(d.mask) {
		return 0
	}

	copy(d.mask[:], b[masked:])
	d.op, d.fin, d.rsv1, d.length, d.left = h.OpCode, h.Fin, compressed, h.Length, h.Length
	if h.OpCode.IsData() {
		d.state = d.state.Clear(ws.StateFragmented)
		if !h.Fin {
			d.state = d.state.Set(ws.StateFragmented)
		}
	}
	return masked + len(d.mask)
}

// check judges what is known of a header: reserved bits and opcodes (RFC 6455
// 5.2), the mask (5.1), the order of fragments (5.4), and that a control frame
// is final and short (5.5).
func (d *Decoder) check(h ws.Header) bool {
	if err := ws.CheckHeader(h, d.state.Set(ws.StateServerSide)); err != nil {
		d.fail(ws.StatusProtocolError, err.Error())
		return false
	}
	return true
}

// fail ends decoding. It returns 0, what parse says of a header that it cannot
// use.
func (d *Decoder) fail(code ws.StatusCode, reason string) int {
	d.err = &Error{Code: code, Reason: reason}
	return 0
}
