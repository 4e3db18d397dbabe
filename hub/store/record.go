package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A file of a room's record begins with fileMagic. Then come records:
//
//	4 bytes  length of the body, in big-endian order
//	4 bytes  CRC-32C of the length and the body
//	body     its kind, and then as the kind has it
//
// The broadcasts of one interval are one record, or several when they are many:
// parts, and then the one that completes them. What was torn is known by its
// checksum, or by the record that is missing, and so the state and the
// broadcasts of a room can never disagree. Lengths inside are uvarints.
//
//	part   number of its first broadcast, broadcasts
//	state  broadcasts taken from hosts, latest id, length of the state, state, number, broadcasts
//	       (a broadcast is its length and its text; a state of length 0 is as before)
//	begin  the same
//	next   nothing; it is sealed, and goes on in the file with the next number
//	stop   nothing; it is sealed, and the relay was stopped with all of it written
//	gone   nothing; it is sealed, and the room was closed
//
// A file's first state is whole. With begin it says that how the file
// before it ended does not matter: that was judged, or was given up. CRC-32C finds
// every error of up to 32 bits in a row, and has an instruction of its own.
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

	// maxPart is how many bytes of broadcasts one record holds at most, unless
	// one alone is larger.
	maxPart = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is what a record's reader says of everything that no writer
// wrote, or wrote only in part.
var errDamaged = errors.New("the file is damaged")

// A record is one, read. Its slices are those of the file.
type record struct {
	kind     kind
	sent     uint64
	lastID   uint32
	state    []byte // nil as before
	first    uint64 // number of the first message, or the next that will come
	messages [][]byte
}

// beginRecord begins a record behind what is in b; endRecord ends it.
func beginRecord(b []byte, k kind) []byte {
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(k))
}

// endRecord completes the record that begins at start.
func endRecord(b []byte, start int) []byte {
	head, body := b[start:start+headSize], b[start+headSize:]
	binary.BigEndian.PutUint32(head, uint32(len(body)))
	binary.BigEndian.PutUint32(head[4:], checksum(head[:4], body))
	return b
}

// checksum is of the length as it is written, and the body.
func checksum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// appendState appends what stands before the broadcasts of a state.
func appendState(b []byte, sent uint64, lastID uint32, state []byte) []byte {
	b = binary.AppendUvarint(b, sent)
	b = binary.AppendUvarint(b, uint64(lastID))
	b = binary.AppendUvarint(b, uint64(len(state)))
	return append(b, state...)
}

func appendMessage(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// nextRecord reads the record at the beginning of b, and returns what follows it.
func nextRecord(b []byte) (r record, rest []byte, err error) { return new(slab).nextRecord(b) }

// A slab is memory for records' slices of messages, all of which are given up at
// once.
type slab struct{ messages [][]byte }

func (s *slab) nextRecord(b []byte) (r record, rest []byte, err error) {
	if len(b) < headSize {
		return record{}, nil, errDamaged
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n == 0 || n > uint64(len(b)-headSize) {
		return record{}, nil, errDamaged
	}
	body, rest := b[headSize:headSize+n], b[headSize+n:]
	if checksum(b[:4], body) != binary.BigEndian.Uint32(b[4:]) {
		return record{}, nil, errDamaged
	}
	r, err = s.parseBody(body)
	return r, rest, err
}

// parseBody reads what is in a record. Its lengths are checked all the same,
// although the checksum was right.
func (s *slab) parseBody(b []byte) (r record, err error) {
	f := fields{rest: b[1:]}
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
		return record{}, errDamaged
	}
	return r, nil
}

// fields reads a body.
type fields struct {
	rest []byte
	bad  bool // something was not as it must be; everything read is to be dropped
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}
