package broadcast

import (
	"sort"
	"sync/atomic"
	"time"
)

// A new segment is twice as large as the previous one, within these bounds, or
// as large as its first frame.
const (
	// MinSegment is the size in bytes of the first segment.
	MinSegment = 512
	// MaxSegment is the largest size in bytes of a segment with several frames.
	MaxSegment = 64 << 10

	// bytesPerFrame determines how many frames a segment can index. If frames
	// are shorter on average, the segment is sealed before its buffer is full.
	bytesPerFrame = 64
)

// Bound sets the smallest and largest size in bytes of new segments with
// several frames, in l and in Logs that Follow creates from it later. The
// defaults are MinSegment and MaxSegment. Only the appender may call it.
func (l *Log) Bound(smallest, largest int) {
	l.smallest, l.largest = smallest, largest
}

// A segment is a sequence of whole frames.
type segment struct {
	base  uint64  // immutable once linked; the Log's position of its first byte
	first uint64  // immutable; the number of its first message
	buf   []byte  // fixed length; allocated apart, so that the rest of a frame does not hold the chain of segments
	index []frame // fixed length; the frames in buf

	written time.Duration // owned by the appender; when the last frame was committed

	mark atomic.Uint64           // frames<<32 | bytes, published together
	next atomic.Pointer[segment] // set when this segment is sealed
}

// A frame is the end of a frame in its segment, and the number of messages in
// the segment up to and including it. A notice does not add to that number.
type frame struct {
	end      uint32 // in buf
	messages uint32
}

// newSegment returns a segment for size bytes. A size of 0 makes a sentinel,
// which has no room for anything.
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

// messages returns how many of the given number of first frames are messages.
func (s *segment) messages(frames uint32) uint32 {
	if frames == 0 {
		return 0
	}
	return s.index[frames-1].messages
}

// nextNumber returns the number of the next message.
func (s *segment) nextNumber() uint64 {
	frames, _ := s.published()
	return s.first + uint64(s.messages(frames))
}

// after returns a segment for size bytes that continues where s ends.
func (s *segment) after(size int) *segment {
	_, bytes := s.published()
	return newSegment(s.base+uint64(bytes), s.nextNumber(), size)
}

// fits reports whether one more frame of n bytes has room.
func (s *segment) fits(n int) bool {
	frames, bytes := s.published()
	return int(frames) < len(s.index) && n <= len(s.buf)-int(bytes)
}

// frameAt returns the index of the frame that contains the byte at off, among
// the frames from low up to high.
func (s *segment) frameAt(off, low, high uint32) uint32 {
	return low + uint32(sort.Search(int(high-low), func(i int) bool { return s.index[int(low)+i].end > off }))
}

// frameOf returns the index of the frame that is the segment's nth message,
// counted from 1, among the given number of first frames.
func (s *segment) frameOf(nth, frames uint32) uint32 {
	return uint32(sort.Search(int(frames), func(i int) bool { return s.index[i].messages >= nth }))
}
