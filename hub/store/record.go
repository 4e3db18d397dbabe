package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A file of a room's record begins with fileMagic. Entries follow:
//
//	4 bytes  length of the body, in big-endian order
//	4 bytes  CRC-32C of the length and the body
//	body     its kind, then the fields of that kind
//
// The broadcasts of one interval are a batch: one entry, or several if they are
// many, namely parts and the entry that completes them. A torn write shows in a
// checksum, or in the missing last entry, so the state and the broadcasts of a
// room can never disagree. Lengths inside are uvarints.
//
//	part   number of its first broadcast, broadcasts
//	state  broadcasts accepted from hosts, latest id, length of the state, state,
//	       number of its first broadcast, broadcasts
//	       (a broadcast is its length and its text; a state of length 0 is unchanged)
//	begin  the same
//	next   no fields; the file is sealed, and the record continues in the next one
//	stop   no fields; the file is sealed, and the relay stopped with everything written
//	gone   no fields; the file is sealed, and the room is closed
//
// A file's first state is never empty. With begin, it says that it does not
// matter how the previous file ended: that was judged at a start, or the file
// was given up. CRC-32C detects every burst error of up to 32 bits, and
// processors have an instruction for it.
type kind byte

const (
	part kind = iota + 1
	state
	begin
	next
	stop
	gone
)

const (
	fileMagic = "lectern1"
	headSize  = 8

	// maxPart is how many bytes of broadcasts an entry holds at most, unless a
	// single broadcast is larger.
	maxPart = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged reports data that no store wrote, or that was written only in
// part.
var errDamaged = errors.New("the file is damaged")

// An entry is a parsed entry of a file. Its slices alias the file's content.
type entry struct {
	kind     kind
	sent     uint64
	lastID   uint32
	state    []byte // empty if unchanged
	first    uint64 // number of the first message, or of the next message if there is none
	messages [][]byte
}

// beginEntry appends the beginning of an entry to b; endEntry completes it.
func beginEntry(b []byte, k kind) []byte {
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
}

// endEntry completes the entry that begins at start.
func endEntry(b []byte, start int) []byte {
	head, body := b[start:start+headSize], b[start+headSize:]
	binary.BigEndian.PutUint32(head, uint32(len(body)))
	binary.BigEndian.PutUint32(head[4:], checksum(head[:4], body))
	return b
}

// checksum returns the CRC-32C of an encoded length and a body.
func checksum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// appendState appends the part of a state that precedes its broadcasts.
func appendState(b []byte, sent uint64, lastID uint32, state []byte) []byte {
	b = binary.AppendUvarint(b, sent)
	b = binary.AppendUvarint(b, uint64(lastID))
	b = binary.AppendUvarint(b, uint64(len(state)))
	return append(b, state...)
}

func appendMessage(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// nextEntry parses the entry at the beginning of b, and returns the bytes that
// follow it.
func nextEntry(b []byte) (r entry, rest []byte, err error) { return new(slab).nextEntry(b) }

// A slab is memory for the messages slices of many entries, which is freed as a
// whole.
type slab struct{ messages [][]byte }

func (s *slab) nextEntry(b []byte) (r entry, rest []byte, err error) {
	if len(b) < headSize {
		return entry{}, nil, errDamaged
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n == 0 || n > uint64(len(b)-headSize) {
		return entry{}, nil, errDamaged
	}
	body, rest := b[headSize:headSize+n], b[headSize+n:]
	if checksum(b[:4], body) != binary.BigEndian.Uint32(b[4:]) {
		return entry{}, nil, errDamaged
	}
	r, err = s.parseBody(body)
	return r, rest, err
}

// parseBody parses the body of an entry. It checks the lengths although the
// checksum was right.
func (s *slab) parseBody(b []byte) (r entry, err error) {
	f := bodyReader{rest: b[1:]}
	r.kind = kind(b[0])
	switch r.kind {
	case state, begin:
		r.sent = f.number()
		id := f.number()
		r.lastID = uint32(id)
		f.bad = f.bad || uint64(r.lastID) != id
		r.state = f.bytes()
		fallthrough
	case part:
		r.first = f.number()
		f.bad = f.bad || r.first == 0
		start := len(s.messages)
		for !f.bad && len(f.rest) > 0 {
			s.messages = append(s.messages, f.bytes())
		}
		r.messages = s.messages[start:len(s.messages):len(s.messages)]
	case next, stop, gone:
		f.bad = len(f.rest) > 0
	default:
		f.bad = true
	}
	if f.bad {
		return entry{}, errDamaged
	}
	return r, nil
}

// A bodyReader reads the fields of a body.
type bodyReader struct {
	rest []byte
	bad  bool // the body is invalid, and everything read must be dropped
}

func (f *bodyReader) number() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *bodyReader) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}
