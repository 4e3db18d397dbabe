package broadcast

import "time"

// A Retention limits how much of a Log is kept. It applies to whole segments: a
// segment is dropped as soon as one of the limits allows it. The zero Retention
// keeps everything.
type Retention struct {
	Bytes    int64         // keep at least this many bytes; 0 for no limit
	Buffers  int64         // keep at most this many bytes of buffers, and the last segment; 0 for no limit
	Messages uint64        // keep at least this many messages; 0 for no limit
	Since    time.Duration // keep what was committed at this time or later; 0 for no limit
	From     uint64        // keep this message and those after it; 0 for no limit
	Largest  int64         // drop a segment of more bytes than this when it is the oldest; 0 for no limit
}

// refuses reports whether s must be dropped, whatever else the Log holds.
func (r Retention) refuses(s *segment) bool {
	return s.written < r.Since || s.nextNumber() <= r.From || r.Largest > 0 && int64(len(s.buf)) > r.Largest
}

// allows reports whether s may be dropped. s is the oldest of several segments
// of a Log whose buffers have the given number of bytes, some of them unused,
// and whose last message is last.
func (r Retention) allows(s *segment, buffers, unused int64, last uint64) bool {
	return r.refuses(s) ||
		r.Bytes > 0 && buffers-unused-int64(len(s.buf)) >= r.Bytes ||
		r.Buffers > 0 && buffers > r.Buffers ||
		r.Messages > 0 && last-(s.nextNumber()-1) >= r.Messages
}

// Trim drops the oldest segments that need not be kept. It drops the last one
// only if everything in it is too old or it is too large. Cursors in dropped
// segments stay valid.
func (l *Log) Trim(keep Retention) {
	tail, end := l.tail.Load(), l.End()
	unused := int64(len(tail.buf)) - int64(end.off)
	for l.oldest != tail {
		if !keep.allows(l.oldest, l.retained.Load(), unused, end.Seq()) {
			return
		}
		l.retained.Add(-int64(len(l.oldest.buf)))
		l.oldest = l.oldest.next.Load()
	}
	if keep.refuses(tail) {
		l.Release()
	}
}

// Release drops everything; the next frame begins a new segment. Cursors stay
// valid, and hold their segments in memory until they move on.
func (l *Log) Release() {
	s := l.tail.Load()
	if len(s.buf) > 0 {
		fresh := s.after(0)
		s.next.Store(fresh)
		l.tail.Store(fresh)
	}
	l.oldest = l.tail.Load()
	l.retained.Store(0)
}

// Retained returns the bytes of the buffers that the Log itself holds. It does
// not include what slow cursors hold beyond that.
func (l *Log) Retained() int64 { return l.retained.Load() }
