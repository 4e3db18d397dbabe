package broadcast

import (
	"sync/atomic"
	"time"
)

// A Log is a broadcast: frames in the order in which they were appended. Some
// frames are messages, which are numbered consecutively; the others are
// notices. New creates a Log, and Follow a Log in another encoding.
//
// Reserve, Commit, CommitNotice, Oldest, At, Trim, Release, Bound, Follow,
// Before and Prepend are for the appender, and must not be called concurrently.
// All other methods may be called from any goroutine.
type Log struct {
	tail     atomic.Pointer[segment]
	retained atomic.Int64 // atomic; bytes of the buffers from oldest to tail

	smallest, largest int // owned by the appender; bounds of a segment's size in bytes

	backfillEnd uint64   // owned by the appender; see Before
	oldest      *segment // owned by the appender
	fresh       *segment // owned by the appender; the segment of the reserved frame if tail had no room
}

// New returns an empty Log whose first message gets the number after seq. An
// empty Log takes about a hundred bytes.
func New(seq uint64) *Log {
	return newLog(newSegment(0, seq+1, 0))
}

// Reserve returns n bytes of the Log's memory, at least 1, for the caller to
// write the next frame into. Readers do not see them before Commit or
// CommitNotice. Another Reserve takes them back. A frame must be shorter than
// 4 GiB.
func (l *Log) Reserve(n int) []byte {
	s := l.tail.Load()
	l.fresh = nil
	_, bytes := s.published()
	if !s.fits(n) {
		l.fresh = s.after(l.following(s, n))
		s, bytes = l.fresh, 0
	}
	return s.buf[bytes : int(bytes)+n : int(bytes)+n]
}

// following returns the size of the segment after s, given that its first frame
// has n bytes.
func (l *Log) following(s *segment, n int) int {
	return max(n, min(max(2*len(s.buf), l.smallest), l.largest))
}

// Commit publishes the first n of the reserved bytes as a message, and returns
// its number. now is on the caller's clock, see Retention.
func (l *Log) Commit(n int, now time.Duration) (seq uint64) { return l.commit(n, now, 1) }

// CommitNotice publishes the first n of the reserved bytes as a notice, which
// has no number.
func (l *Log) CommitNotice(n int, now time.Duration) { l.commit(n, now, 0) }

// commit publishes the reserved frame and returns the number of the last
// message.
func (l *Log) commit(n int, now time.Duration, messages uint32) (seq uint64) {
	tail := l.tail.Load()
	s := tail
	if l.fresh != nil {
		s = l.fresh
	}
	frames, bytes := s.published()
	bytes += uint32(n)
	messages += s.messages(frames)
	s.index[frames] = frame{end: bytes, messages: messages}
	s.written = now
	s.mark.Store(uint64(frames+1)<<32 | uint64(bytes))
	if s != tail {
		// The segment has its first frame before readers can reach it.
		l.retained.Add(int64(len(s.buf)))
		tail.next.Store(s)
		l.tail.Store(s)
	}
	l.fresh = nil
	return s.first + uint64(messages) - 1
}

// End returns the place after everything published.
func (l *Log) End() Cursor {
	s := l.tail.Load()
	frames, bytes := s.published()
	return Cursor{seg: s, off: bytes, frame: frames}
}

// Oldest returns the place before everything that the Log still holds.
func (l *Log) Oldest() Cursor { return Cursor{seg: l.oldest} }

// At returns the place before message seq, and whether the Log still reaches
// back that far. For the number of the next message to come, it returns the
// end.
func (l *Log) At(seq uint64) (Cursor, bool) {
	if seq < l.oldest.first {
		return Cursor{}, false
	}
	for s := l.oldest; s != nil; s = s.next.Load() {
		frames, _ := s.published()
		nth := seq - s.first + 1
		if nth > uint64(s.messages(frames)) {
			continue
		}
		c := Cursor{seg: s, frame: s.frameOf(uint32(nth), frames)}
		if c.frame > 0 {
			c.off = s.index[c.frame-1].end
		}
		return c, true
	}
	end := l.End()
	if end.Seq()+1 != seq {
		return Cursor{}, false
	}
	return end, true
}
