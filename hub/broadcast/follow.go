package broadcast

// A Log can follow another Log, the record: it is the same broadcast in another
// encoding. The appender appends each frame to the followers first and to the
// record last, so that messages have the same numbers in all of them. A
// follower begins where the record was when somebody first wanted its encoding.
// What came before is encoded from the record when it is needed, and prepended.

// followBase is the position at which a follower begins. The positions below it
// are for what is prepended.
const followBase = 1 << 62

// Follow returns an empty Log that continues from l's end in another encoding.
// Only the appender may call it.
func (l *Log) Follow() *Log {
	end := l.End()
	follower := newLog(newSegment(followBase, end.Seq()+1, 0))
	follower.backfillEnd = end.Position()
	follower.Bound(l.smallest, l.largest)
	return follower
}

func newLog(first *segment) *Log {
	l := &Log{oldest: first, smallest: MinSegment, largest: MaxSegment}
	l.tail.Store(first)
	return l
}

// Before returns the position in the record at which the follower began, and 0
// once Prepend has filled in the past. Only the appender may call it.
func (l *Log) Before() (position uint64) { return l.backfillEnd }

// Prepend puts past before front, which was l's oldest place when the caller
// began to write past. The last message of past must be the one before front.
// If l has been trimmed since, l does not hold past itself, but a reader in
// past continues into l.
//
// Only the appender may call Prepend. No reader may have a cursor in past yet,
// and nothing may be appended to past any more.
func (l *Log) Prepend(past *Log, front Cursor) {
	last := past.tail.Load()
	_, bytes := last.published()
	shift := front.seg.base - (last.base + uint64(bytes))
	for s := past.oldest; s != nil; s = s.next.Load() {
		s.base += shift // may wrap around: past began at 0
	}
	last.next.Store(front.seg)
	if l.oldest == front.seg {
		l.oldest, l.backfillEnd = past.oldest, 0
		l.retained.Add(past.retained.Load())
	}
}
