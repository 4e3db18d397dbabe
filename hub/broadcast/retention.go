package broadcast

import "time"

// A Retention is how much of a Log is kept. It goes by whole segments: one is
// forgotten when any of the limits allows it. The zero Retention keeps all.
type Retention struct {
	Bytes    int64         // at least so many stay; 0 for all
	Buffers  int64         // at most so many bytes of buffers stay, and the last segment; 0 for all
	Messages uint64        // at least so many stay; 0 for all
	Since    time.Duration // what was committed at this time or later stays; 0 for all
	From     uint64        // this message and those after it stay; 0 for all
	Largest  int64         // what has more bytes than this goes when it is the oldest; 0 for none
}

// refuses reports whether s is not to be kept, whatever else the Log holds.
func (r Retention) refuses(s *segment) bool {
	return s.written < r.Since || s.nextNumber() <= r.From || r.Largest > 0 && int64(len(s.buf)) > r.Largest
}

// allows reports whether s may be forgotten, the oldest of several in a Log
// whose buffers have so many bytes, some of them unused, and whose last message
// is last.
func (r Retention) allows(s *segment, buffers, unused int64, last uint64) bool {
	return r.refuses(s) ||
		r.Bytes > 0 && buffers-unused-int64(len(s.buf)) >= r.Bytes ||
		r.Buffers > 0 && buffers > r.Buffers ||
		r.Messages > 0 && last-(s.nextNumber()-1) >= r.Messages
}

// Trim forgets the oldest segments that need not be kept, and the last one if
// all that is in it is too old, or it is too large. Cursors in what is forgotten
// remain valid.
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

// Release forgets everything: the next frame begins a new segment. Cursors
// remain valid, and hold what they are in until they move on.
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

// Retained returns the bytes that the Log itself holds on to. What slow
// cursors hold beyond that is not counted.
func (l *Log) Retained() int64 { return l.retained.Load() }
