package broadcast

import (
	"sort"
	"sync/atomic"
	"time"
)

// A new segment is twice as large as the one before, within these bounds, or
// as large as its first frame needs.
const (
	// MinSegment is the size in bytes of the first segment.
	MinSegment = 512
	// MaxSegment is the size in bytes of a segment of many frames.
	MaxSegment = 64 << 10

	// bytesPerFrame sets how many frames a segment can index. If they are
	// shorter than that on average, it is sealed before its buffer is full.
	bytesPerFrame = 64
)

// Bound sets the sizes in bytes between which segments of many frames are made
// from now on, in l and in those that follow it later; default 512 and
// [MaxSegment]. It is the appender's.
func (l *Log) Bound(smallest, largest int) {
	l.smallest, l.largest = smallest, largest
}

// A segment is a run of whole frames.
type segment struct {
	base  uint64  // immutable once linked; the Log's position of its first byte
	first uint64  // immutable; the number of its first message
	buf   []byte  // fixed length; allocated apart, so that a frame's rest pins no chain
	index []frame // fixed length; the frames in buf

	written time.Duration // owned by the appender; when the last frame came

	mark atomic.Uint64           // frames<<32 | bytes, published together
	next atomic.Pointer[segment] // set when this segment is sealed
}

// A frame is where one ends, and how many messages the segment has up to and
// with it: a notice is a frame that is no message and has no number.
type frame struct {
	end      uint32 // in buf
	messages uint32
}

// newSegment makes a segment for size bytes. A size of 0 makes a sentinel: a
// place without room for anything.
func newSegment(base, first uint64, size int) *segment {
	s := &segment{base: base, first: first}
	if size > 0 {
		s.buf = make([]byte, size)
		s.index = make([]frame, size/bytesPerFrame+1)
	}
	return s
}

// published returns how many frames and bytes may be read.
func (s *segment) published() (frames, bytes uint32) {
	m := s.mark.Load()
	return uint32(m >> 32), uint32(m)
}

// messages returns how many messages the first frames are.
func (s *segment) messages(frames uint32) uint32 {
	if frames == 0 {
		return 0
	}
	return s.index[frames-1].messages
}

// nextNumber returns the number of the message that would come next.
func (s *segment) nextNumber() uint64 {
	frames, _ := s.published()
	return s.first + uint64(s.messages(frames))
}

// after returns a segment for size bytes that goes on where s ends.
func (s *segment) after(size int) *segment {
	_, bytes := s.published()
	return newSegment(s.base+uint64(bytes), s.nextNumber(), size)
}

// fits reports whether one more frame of n bytes has room.
func (s *segment) fits(n int) bool {
	frames, bytes := s.published()
	return int(frames) < len(s.index) && n <= len(s.buf)-int(bytes)
}

// frameAt returns the index of the frame that the byte at off belongs to, among
// those from index low up to high.
func (s *segment) frameAt(off, low, high uint32) uint32 {
	return low + uint32(sort.Search(int(high-low), func(i int) bool { return s.index[int(low)+i].end > off }))
}

// frameOf returns the index of the frame that is the segment's nth message,
// counted from 1, among its first frames.
func (s *segment) frameOf(nth, frames uint32) uint32 {
	return uint32(sort.Search(int(frames), func(i int) bool { return s.index[i].messages >= nth }))
}
