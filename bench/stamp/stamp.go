// Package stamp makes and checks the payloads of a load test's messages. Each says
// itself which message it is, when it was due, and whether it is undamaged.
package stamp

import (
	"hash/crc32"
	"math"
)

// A Stamp is the head of every payload. It is text that survives in a JSON
// string unescaped, of fixed width, its numbers in base 64, high digit first:
//
//	@LB  marker
//	k    kind: warm-up, message or fence
//	rrrr room tag, random for each run: messages of other runs are not counted
//	nnnnnn          number of the message in its room, from 1
//	ddddddddddd     when it was due, nanoseconds of the run's clock
//	llll            bytes of the whole payload, stamp included
//	hhh             check of the stamp so far
//	cccccc          CRC-32C of the body that follows
//
// The two checks tell a message whose body was damaged, which still counts as
// arrived, from one whose number cannot be trusted.
type Stamp struct {
	Kind byte
	Room uint32 // 24 bits
	Seq  uint32
	Due  int64 // nanoseconds of the run's clock
	Size int   // bytes of the payload
}

// The kinds of messages.
const (
	Warm     = 'w' // checked, but not measured
	Measured = 'm' // measured
	Fence    = 'e' // the measured phase is over: all before it should be there

	WarmFence = 'x' // the warm-up is over
)

const (
	Marker = "@LB"

	kindAt  = len(Marker)
	roomAt  = kindAt + 1
	SeqAt   = roomAt + 4
	dueAt   = SeqAt + 6
	sizeAt  = dueAt + 11
	headAt  = sizeAt + 4
	bodySum = headAt + 3
	Len     = bodySum + 6

	maxStamped = 1<<24 - 1 // bytes of a payload: four digits
	headBits   = 1<<18 - 1 // what three digits hold
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

var digitOf = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(digits) {
		t[digits[i]] = byte(i)
	}
	return t
}()

func appendDigits(b []byte, v uint64, n int) []byte {
	for shift := 6 * (n - 1); shift >= 0; shift -= 6 {
		b = append(b, digits[v>>shift&63])
	}
	return b
}

func parseDigits(b []byte) (v uint64, ok bool) {
	var bad byte
	for _, c := range b {
		d := digitOf[c]
		bad |= d
		v = v<<6 | uint64(d&63)
	}
	return v, bad < 64
}

// Append adds the payload to b: the stamp, and a body that fills it up to
// s.Size bytes, which must be [Len] at least. The body does not compress.
func (s Stamp) Append(b []byte) []byte { return s.AppendWith(b, nil) }

// AppendWith is Append with a body from a text, which it may not cut between a backslash
// and what follows. nil means the body of Append.
func (s Stamp) AppendWith(b, text []byte) []byte {
	if text == nil {
		text = filler
	}
	at := len(b)
	b = append(b, Marker...)
	b = append(b, s.Kind)
	b = appendDigits(b, uint64(s.Room), 4)
	b = appendDigits(b, uint64(s.Seq), 6)
	b = appendDigits(b, uint64(s.Due), 11)
	b = appendDigits(b, uint64(s.Size), 4)
	b = appendDigits(b, uint64(crc32.Checksum(b[at:], castagnoli))&headBits, 3)
	sumAt := len(b)
	b = append(b, "cccccc"...)
	bodyAt := len(b)
	b = appendBody(b, text, s.Seq, s.Size-Len)
	appendDigits(b[:sumAt], uint64(crc32.Checksum(b[bodyAt:], castagnoli)), 6)
	return b
}

// A verdict is what a stamp's checks say.
type verdict byte

const (
	Intact      verdict = iota
	bodyDamaged         // the number is right, the body is not
	AllDamaged          // nothing of it can be trusted
)

// Parse reads the payload that b begins with. size is the number of bytes
// it occupies.
func Parse(b []byte) (s Stamp, v verdict) {
	if len(b) < Len {
		return s, AllDamaged
	}
	room, ok1 := parseDigits(b[roomAt:SeqAt])
	seq, ok2 := parseDigits(b[SeqAt:dueAt])
	due, ok3 := parseDigits(b[dueAt:sizeAt])
	size, ok4 := parseDigits(b[sizeAt:headAt])
	head, ok5 := parseDigits(b[headAt:bodySum])
	sum, ok6 := parseDigits(b[bodySum:Len])
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || head != uint64(crc32.Checksum(b[:headAt], castagnoli))&headBits || seq > math.MaxUint32 {
		return s, AllDamaged
	}
	s = Stamp{Kind: b[kindAt], Room: uint32(room), Seq: uint32(seq), Due: int64(due), Size: int(size)}
	if !ok6 || s.Size < Len || s.Size > len(b) || sum != uint64(crc32.Checksum(b[Len:s.Size], castagnoli)) {
		return s, bodyDamaged
	}
	return s, Intact
}

// filler is printable text without quotes or backslashes that does not repeat
// within a message and holds no marker.
var filler = func() []byte {
	b := make([]byte, 1<<14)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = digits[x&63]
	}
	return b
}()

// appendBody adds n bytes of a text that differ from one message to the next.
func appendBody(b, text []byte, seq uint32, n int) []byte {
	at := int(seq*31) % (len(text) / 2)
	if at > 0 && text[at-1] == '\\' {
		at++
	}
	for ; n > 0; at = 0 {
		part := text[at:min(at+n, len(text))]
		b = append(b, part...)
		n -= len(part)
	}
	if b[len(b)-1] == '\\' {
		b[len(b)-1] = ' '
	}
	return b
}
