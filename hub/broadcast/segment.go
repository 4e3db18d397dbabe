package broadcast

import (
	"sort"
	"sync/atomic"
)

// A new segment is twice as large as the one before, within these bounds, or
// as large as its first frame needs.
const (
	minSegment = 512
	maxSegment = 64 << 10

	// bytesPerEnd sets how many frames a segment can index. Short of that many
	// bytes a frame on average, it is sealed before its buffer is full.
	bytesPerEnd = 32
)

// A segment is a run of whole frames.
type segment struct {
	base  uint64   // immutable; the Log's position of its first byte
	first uint64   // immutable; the number of its first message
	buf   []byte   // fixed length; allocated apart, so that a frame's rest pins no chain
	ends  []uint32 // fixed length; where each message ends in buf

	mark atomic.Uint64           // messages<<32 | bytes, published together
	next atomic.Pointer[segment] // set when this segment is sealed
}

// newSegment makes a segment for size bytes. A size of 0 makes a sentinel: a
// place without room for anything.
func newSegment(base, first uint64, size int) *segment {
	s := &segment{base: base, first: first}
	if size > 0 {
		s.buf = make([]byte, size)
		s.ends = make([]uint32, size/bytesPerEnd+1)
	}
	return s
}

// published returns how many messages and bytes may be read.
func (s *segment) published() (messages, bytes uint32) {
	m := s.mark.Load()
	return uint32(m >> 32), uint32(m)
}

// fits reports whether one more frame of n bytes has room.
func (s *segment) fits(n int) bool {
	messages, bytes := s.published()
	return int(messages) < len(s.ends) && n <= len(s.buf)-int(bytes)
}

// message returns the index of the message that the byte at off belongs to,
// among those from index low up to high.
func (s *segment) message(off, low, high uint32) uint32 {
	return low + uint32(sort.Search(int(high-low), func(i int) bool { return s.ends[int(low)+i] > off }))
}
