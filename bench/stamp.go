package bench

import (
	"hash/crc32"
	"math"
)

// A stamp is the head of every payload. It is text that survives in a JSON
// string unescaped, of fixed width, its numbers in base 64, high digit first:
//
//	@LB  marker
//	k    kind: warm-up, message or fence
//	rrrr room tag, random for each run: other runs' messages are nobody's fault
//	nnnnnn          number of the message in its room, from 1
//	ddddddddddd     when it was due, nanoseconds of the run's clock
//	llll            bytes of the whole payload, stamp included
//	hhh             check of the stamp so far
//	cccccc          CRC-32C of the body that follows
//
// The two checks tell a message whose body was damaged, which still counts as
// arrived, from one whose number cannot be trusted.
type stamp struct {
	kind byte
	room uint32 // 24 bits
	seq  uint32
	due  int64 // nanoseconds of the run's clock
	size int   // bytes of the payload
}

// The kinds of messages.
const (
	kindWarm  = 'w' // checked, but not measured
	kindTrue  = 'm' // measured
	kindFence = 'e' // the measured phase is over: all before it should be there

	kindWarmFence = 'x' // the warm-up is over
)

const (
	marker = "@LB"

	kindAt   = len(marker)
	roomAt   = kindAt + 1
	seqAt    = roomAt + 4
	dueAt    = seqAt + 6
	sizeAt   = dueAt + 11
	headAt   = sizeAt + 4
	bodySum  = headAt + 3
	stampLen = bodySum + 6

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

// append adds the payload to b: the stamp, and a body that fills it up to
// s.size bytes, which must be stampLen at least.
func (s stamp) append(b []byte) []byte {
	at := len(b)
	b = append(b, marker...)
	b = append(b, s.kind)
	b = appendDigits(b, uint64(s.room), 4)
	b = appendDigits(b, uint64(s.seq), 6)
	b = appendDigits(b, uint64(s.due), 11)
	b = appendDigits(b, uint64(s.size), 4)
	b = appendDigits(b, uint64(crc32.Checksum(b[at:], castagnoli))&headBits, 3)
	sumAt := len(b)
	b = append(b, "cccccc"...)
	bodyAt := len(b)
	b = appendBody(b, s.seq, s.size-stampLen)
	appendDigits(b[:sumAt], uint64(crc32.Checksum(b[bodyAt:], castagnoli)), 6)
	return b
}

// A verdict is what a stamp's checks say.
type verdict byte

const (
	intact      verdict = iota
	bodyDamaged         // the number is right, the body is not
	allDamaged          // nothing of it can be trusted
)

// parseStamp reads the payload that b begins with. size is the number of bytes
// it occupies.
func parseStamp(b []byte) (s stamp, v verdict) {
	if len(b) < stampLen {
		return s, allDamaged
	}
	room, ok1 := parseDigits(b[roomAt:seqAt])
	seq, ok2 := parseDigits(b[seqAt:dueAt])
	due, ok3 := parseDigits(b[dueAt:sizeAt])
	size, ok4 := parseDigits(b[sizeAt:headAt])
	head, ok5 := parseDigits(b[headAt:bodySum])
	sum, ok6 := parseDigits(b[bodySum:stampLen])
	if !(ok1 && ok2 && ok3 && ok4 && ok5) || head != uint64(crc32.Checksum(b[:headAt], castagnoli))&headBits || seq > math.MaxUint32 {
		return s, allDamaged
	}
	s = stamp{kind: b[kindAt], room: uint32(room), seq: uint32(seq), due: int64(due), size: int(size)}
	if !ok6 || s.size < stampLen || s.size > len(b) || sum != uint64(crc32.Checksum(b[stampLen:s.size], castagnoli)) {
		return s, bodyDamaged
	}
	return s, intact
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

// appendBody adds n bytes that differ from one message to the next.
func appendBody(b []byte, seq uint32, n int) []byte {
	for at := int(seq * 31 & (1<<13 - 1)); n > 0; at = 0 {
		part := filler[at:min(at+n, len(filler))]
		b = append(b, part...)
		n -= len(part)
	}
	return b
}
