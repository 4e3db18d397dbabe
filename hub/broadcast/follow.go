package broadcast

// A Log that follows another one, the record, is the same broadcast in another
// encoding. Whoever appends to the record first appends the frame, encoded
// otherwise, to those that follow it, so their messages have the same numbers.
// Such a Log begins where the record was when somebody first wanted it; what
// came before is encoded from the record when it is needed, and put in front.

// followBase is the position at which a Log that follows begins: there is room
// below it for what is put in front.
const followBase = 1 << 62

// Follow returns an empty Log that goes on from l's end in another encoding. It
// is the appender's.
func (l *Log) Follow() *Log {
	end := l.End()
	follower := newLog(newSegment(followBase, end.Seq()+1, 0))
	follower.lacks = end.Position()
	follower.Bound(l.smallest, l.largest)
	return follower
}

func newLog(first *segment) *Log {
	l := &Log{oldest: first, smallest: MinSegment, largest: MaxSegment}
	l.tail.Store(first)
	return l
}

// Before returns the record's position up to which a Log that follows it has
// never had anything. It is the appender's.
func (l *Log) Before() (position uint64) { return l.lacks }

// Prepend makes past what stands before front, which was l's oldest place when
// past was begun; past's last message is the one before front. If l has moved on
// since, it does not hold past itself, but whoever reads past goes on into l.
// Nobody may have a place in past yet, and nothing may be appended to it any
// more.
func (l *Log) Prepend(past *Log, front Cursor) {
	last := past.tail.Load()
	_, bytes := last.published()
	shift := front.seg.base - (last.base + uint64(bytes))
	for s := past.oldest; s != nil; s = s.next.Load() {
		s.base += shift // wraps around: past began at 0
	}
	last.next.Store(front.seg)
	if l.oldest == front.seg {
		l.oldest, l.lacks = past.oldest, 0
		l.retained.Add(past.retained.Load())
	}
}
