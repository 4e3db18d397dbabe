package frame

import (
	"bufio"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// An Inflater decompresses messages. It keeps no context from one message to the
// next, and at most 64 KiB of memory for text. It belongs to one goroutine at a
// time. Use [NewInflater].
type Inflater struct {
	source  source
	input   *bufio.Reader // of source; the library reads this type fast, and no byte too many
	inflate interface {   // of input
		io.Reader
		flate.Resetter
	}
	text []byte
}

// InflaterSize is about how many bytes of memory an Inflater takes at most.
const InflaterSize = 48<<10 + maxKeptBuffer

const (
	// inputStep is how many bytes of a message the library gets at once.
	inputStep = 512
	// firstText is the first size of the memory for text, in bytes.
	firstText = 1 << 10
)

// NewInflater returns an Inflater.
func NewInflater() *Inflater {
	in := new(Inflater)
	in.input = bufio.NewReaderSize(&in.source, inputStep)
	in.inflate = flate.NewReader(in.input).(interface {
		io.Reader
		flate.Resetter
	})
	return in
}

// Message decompresses a message. If the result has more than limit bytes, it is
// TooLarge and has no payload; nothing beyond the limit is kept, and at most a
// window of 32 KiB is computed. The payload is valid until the next call unless
// it is Owned. m is not changed.
//
// The error is an [*Error] with code 1007 if the data is not a deflate stream, or
// if the result should be text and is not UTF-8.
func (in *Inflater) Message(m Message, limit int) (Message, error) {
	text, err := in.append(in.text[:0], m.Payload, limit)
	in.text = text[:0]
	m = Message{Op: m.Op, Payload: text}
	switch {
	case err == errTooLong:
		m.Payload, m.TooLarge = nil, true
	case err != nil:
		return Message{}, &Error{ws.StatusInvalidFramePayloadData, "the compressed data is not valid: " + err.Error()}
	case m.Op == ws.OpText && !utf8.Valid(text):
		return Message{}, &Error{ws.StatusInvalidFramePayloadData, "text is not UTF-8"}
	}
	if cap(in.text) > maxKeptBuffer {
		m.Owned = len(m.Payload) > 0
		in.text = nil // given away, or given back
	}
	return m, nil
}

var errTooLong = errors.New("frame: the inflated message is over the limit")

// inflateTail is what follows a message: what its sender left out, and a final
// block, so that the library reports the end.
const inflateTail = syncTail + "\x01\x00\x00\xff\xff"

// append appends what a message inflates to, at most limit bytes and one more.
func (in *Inflater) append(dst, payload []byte, limit int) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil // should be a byte of 0 (RFC 7692 7.2.3.6), but nothing has no other meaning
	}
	in.source = source{payload, inflateTail}
	defer func() { in.source = source{} }()
	in.input.Reset(&in.source)
	for {
		_ = in.inflate.Reset(in.input, nil) // never fails
		var err error
		if dst, err = in.block(dst, limit); err != io.EOF {
			return dst, err
		}
		// A sender may end a block as final, and begin another stream behind it
		// (RFC 7692 7.2.3.4).
		if len(in.source.payload)+len(in.source.tail)+in.input.Buffered() <= len(inflateTail) {
			return dst, nil
		}
	}
}

// block appends what the input inflates to, up to a final block. The error is
// never nil; it is io.EOF after a final block.
func (in *Inflater) block(dst []byte, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			grown := max(2*cap(dst), firstText)
			if limit < grown {
				grown = max(limit+1, len(dst)+1)
			}
			dst = append(make([]byte, 0, grown), dst...)
		}
		room := dst[len(dst):cap(dst)]
		if most := limit + 1 - len(dst); most < len(room) {
			room = room[:most]
		}
		n, err := in.inflate.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errTooLong
		case err == io.ErrUnexpectedEOF:
			return dst, errors.New("it ends in the middle of a block")
		case err != nil:
			return dst, err
		}
	}
}

// A source is a message and its tail, as far as they were not read.
type source struct {
	payload []byte
	tail    string
}

func (s *source) Read(p []byte) (n int, err error) {
	if len(s.payload) > 0 {
		n = copy(p, s.payload)
		s.payload = s.payload[n:]
		return n, nil
	}
	if len(s.tail) > 0 {
		n = copy(p, s.tail)
		s.tail = s.tail[n:]
		return n, nil
	}
	return 0, io.EOF
}
