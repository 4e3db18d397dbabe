package frame

import (
	"fmt"
	"iter"
	"math"

	"github.com/gobwas/ws"
)

const (
	// DefaultLimit is an [Assembler]'s limit in bytes unless it is given one.
	DefaultLimit = 1 << 20

	// FarTooLarge times the limit is where a data message is no longer skipped
	// but ends the connection: whoever sends that much will not listen either.
	FarTooLarge = 16

	maxKeptBuffer = 64 << 10 // a buffer that grew beyond is given back after its message
)

// A Message is a whole data message, or a control frame.
type Message struct {
	Op         ws.OpCode // OpText, OpBinary, OpClose, OpPing or OpPong
	Payload    []byte    // valid until the loop's next round; text is UTF-8
	TooLarge   bool      // a data message over the limit: its payload was skipped and is nil
	Owned      bool      // the payload is a buffer of its own, and yours: it stays valid
	Compressed bool      // the payload is compressed, see [Inflater]; nothing is known of its text
}

// An Assembler makes a client's messages of its bytes. Its zero value is ready.
// It collects payload only of a message that is fragmented or cut, and then
// grows with what has come, not with what was declared; so its memory is at
// most about twice the limit.
type Assembler struct {
	// Limit bounds a data message's payload in bytes; 0 means [DefaultLimit]. A
	// message over it is skipped, and handed out at its end with TooLarge. One
	// over [FarTooLarge] times the limit, declared by one frame or by all of its
	// fragments so far, is an error with code 1009 at once. A change has effect
	// from the next message on.
	Limit int
	// Deflate lets messages be compressed, as the handshake agreed. They are
	// handed out as they came. The limit is for their compressed bytes.
	Deflate bool

	decoder  Decoder
	err      *Error
	limit    int64     // of the message under way
	declared int64     // by its frames so far
	buffer   []byte    // its payload so far, if it did not come in one piece
	control  []byte    // the payload so far of a control frame that was cut
	op       ws.OpCode // of the message under way, 0 between messages
	text     validator
	skip     bool // the message under way is over the limit
	deflated bool // the message under way is compressed
	closed   bool // a close frame has come
}

// Feed returns the messages that chunk completes, in order, with the control
// frames that came between a message's fragments before it; range over it once.
// It unmasks in place, so chunk must be the caller's to change, and a message
// that lies wholly in it aliases it.
//
// Text is checked as it comes, and fails with 1007 at the first byte that
// cannot be UTF-8 (RFC 6455 8.1). A close frame is handed out when [ParseClose]
// accepts its payload, and is the last message: whatever follows is ignored
// (RFC 6455 5.5.1). Look at [Assembler.Err] after the loop. If you leave the
// loop, [Assembler.Rest] is what you have to feed next.
func (a *Assembler) Feed(chunk []byte) iter.Seq[Message] {
	return func(yield func(Message) bool) { a.drain(chunk, yield) }
}

// Err returns the error that ended decoding, an [*Error] with code 1002, 1007
// or 1009, or nil.
func (a *Assembler) Err() error {
	if a.err == nil {
		return nil
	}
	return a.err
}

// Rest returns what of the last chunk has not been looked at, because its loop
// was left; empty if all has been. It aliases that chunk.
func (a *Assembler) Rest() []byte { return a.decoder.Rest() }

// Held returns how many bytes of memory the Assembler holds for what is
// incomplete.
func (a *Assembler) Held() int { return cap(a.buffer) + cap(a.control) }

// Idle reports whether the Assembler is between two messages and two frames,
// has not failed and has seen no close frame: then it holds nothing, and
// another one may take its place for the bytes to come.
func (a *Assembler) Idle() bool {
	return a.op == 0 && a.decoder.Idle() && a.err == nil && !a.closed
}

// Reset makes the Assembler idle, whatever it was doing, so that it can serve
// another connection. It keeps Limit and Deflate, and a buffer of at most 64 KiB.
func (a *Assembler) Reset() {
	a.release()
	*a = Assembler{Limit: a.Limit, Deflate: a.Deflate, buffer: a.buffer, control: a.control}
}

func (a *Assembler) drain(chunk []byte, yield func(Message) bool) {
	if a.err != nil || a.closed {
		return
	}
	a.allow()
	for piece := range a.decoder.Feed(chunk) {
		message, complete := a.take(piece)
		if a.err != nil {
			return
		}
		if !complete {
			continue
		}
		more := yield(message)
		if message.Op.IsControl() {
			a.control = a.control[:0]
		} else {
			a.release()
		}
		if !more || a.closed {
			return
		}
		a.allow()
	}
	if a.decoder.err != nil {
		a.fail(a.explain(a.decoder.err))
	}
}

// explain returns an error of the decoder in terms of the message: the decoder
// knows only what is left of the limit for the present frame.
func (a *Assembler) explain(err *Error) *Error {
	if err.Code != ws.StatusMessageTooBig {
		return err
	}
	if a.op == 0 {
		a.declared = 0
	}
	return &Error{err.Code, fmt.Sprintf("message of at least %d bytes, over %d times the limit of %d",
		uint64(a.declared)+uint64(a.decoder.length), FarTooLarge, a.limit)}
}

// allow sets what the decoder lets pass before a message begins.
func (a *Assembler) allow() {
	if a.op != 0 {
		return
	}
	a.decoder.Deflate = a.Deflate
	a.limit = int64(a.Limit)
	if a.limit <= 0 {
		a.limit = DefaultLimit
	}
	a.decoder.MaxLength = a.farTooLarge()
}

func (a *Assembler) farTooLarge() int64 {
	if a.limit > math.MaxInt64/FarTooLarge {
		return math.MaxInt64
	}
	return a.limit * FarTooLarge
}

// take adds a piece to the message that it belongs to, and returns that once it
// is complete.
func (a *Assembler) take(piece Piece) (message Message, complete bool) {
	if piece.Op.IsControl() {
		return a.takeControl(piece)
	}
	return a.takeData(piece)
}

func (a *Assembler) takeData(piece Piece) (message Message, complete bool) {
	if piece.First {
		a.beginFrame(piece)
	}
	isText := a.op == ws.OpText && !a.deflated
	if isText && !a.text.feed(piece.Payload) {
		a.fail(&Error{ws.StatusInvalidFramePayloadData, "text is not UTF-8"})
		return Message{}, false
	}
	end := piece.Fin && piece.Last
	if end && isText && !a.text.done() {
		a.fail(&Error{ws.StatusInvalidFramePayloadData, "text ends in the middle of a UTF-8 character"})
		return Message{}, false
	}

	payload := piece.Payload
	switch inOnePiece := piece.First && end && piece.Op != ws.OpContinuation; {
	case a.skip:
		payload = nil
	case !inOnePiece:
		a.collect(payload)
		payload = a.buffer
	}
	if !end {
		return Message{}, false
	}
	message = Message{Op: a.op, Payload: payload, TooLarge: a.skip, Compressed: a.deflated}
	if cap(a.buffer) > maxKeptBuffer {
		message.Owned = len(payload) > 0
		a.buffer = nil // given away, or given back
	}
	a.op = 0
	return message, true
}

// collect adds to the buffer. A buffer that is full makes way for one of a half, a
// quarter and so on of what the frames so far have declared, the smallest in which
// what has come has room: so it is at most twice as large as that, and all buffers
// of a message in one frame together have at most twice its bytes.
func (a *Assembler) collect(payload []byte) {
	if need := len(a.buffer) + len(payload); need > cap(a.buffer) {
		grown := max(need, 2*cap(a.buffer))
		if a.declared > int64(need) {
			for grown = int(a.declared); grown/2 >= need; grown /= 2 {
			}
		}
		a.buffer = append(make([]byte, 0, grown), a.buffer...)
	}
	a.buffer = append(a.buffer, payload...)
}

// beginFrame counts what a data frame declares. The decoder has made sure that
// it may come now, and that it is not far too large.
func (a *Assembler) beginFrame(piece Piece) {
	if piece.Op != ws.OpContinuation {
		a.op, a.deflated = piece.Op, piece.Compressed
		a.declared, a.skip = 0, false // text is between characters: no message ends otherwise
	}
	a.declared += piece.Length
	if a.declared > a.limit {
		a.skip = true
		a.buffer = nil
	}
	// What the message's next fragment may declare. None at all is negative: 0
	// would mean that there is no bound.
	if a.decoder.MaxLength = a.farTooLarge() - a.declared; a.decoder.MaxLength == 0 {
		a.decoder.MaxLength = -1
	}
}

func (a *Assembler) takeControl(piece Piece) (message Message, complete bool) {
	payload := piece.Payload
	if !piece.First || !piece.Last {
		a.control = append(a.control, payload...)
		payload = a.control
	}
	if !piece.Last {
		return Message{}, false
	}
	if piece.Op == ws.OpClose {
		if err := checkClose(payload); err != nil {
			a.fail(err)
			return Message{}, false
		}
		a.closed = true
	}
	return Message{Op: piece.Op, Payload: payload}, true
}

// release empties the buffer, and gives it back if it grew for a large message.
func (a *Assembler) release() {
	a.buffer = a.buffer[:0]
	if cap(a.buffer) > maxKeptBuffer {
		a.buffer = nil
	}
	a.control = a.control[:0]
}

// fail ends the assembling and gives back its memory.
func (a *Assembler) fail(err *Error) {
	a.err = err
	a.buffer, a.control = nil, nil
}
