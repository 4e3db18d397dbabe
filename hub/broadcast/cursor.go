package broadcast

// A Cursor is a reader's place in a Log. The zero Cursor is nowhere: it never
// has anything to read. A Cursor belongs to one goroutine at a time; copies are
// independent.
type Cursor struct {
	seg   *segment
	off   uint32 // in seg.buf
	index uint32 // messages of seg that are wholly before off
}

// Next returns what is published from here on, up to the end of a segment; it
// is empty when there is nothing. The bytes never change; they are the Log's.
func (c *Cursor) Next() []byte {
	for c.seg != nil {
		next := c.seg.next.Load() // before the mark: then the mark is final
		if _, bytes := c.seg.published(); c.off < bytes {
			return c.seg.buf[c.off:bytes:bytes]
		}
		if next == nil {
			return nil
		}
		*c = Cursor{seg: next}
	}
	return nil
}

// Advance moves n bytes on, at most the length of what Next returned, and says
// how many messages that completed.
func (c *Cursor) Advance(n int) (messages int) {
	if n == 0 {
		return 0
	}
	before := c.index
	c.off += uint32(n)
	published, bytes := c.seg.published()
	if c.off == bytes {
		c.index = published
	} else {
		c.index = c.seg.message(c.off, c.index, published)
	}
	return int(c.index - before)
}

// AtBoundary reports whether the place is between two frames.
func (c *Cursor) AtBoundary() bool {
	return c.off == 0 || c.index > 0 && c.off == c.seg.ends[c.index-1]
}

// Rest returns what is left of the frame that the place is in the middle of,
// nil at a boundary. It stays valid without the Cursor, and then holds only its
// own segment's buffer.
func (c *Cursor) Rest() []byte {
	if c.AtBoundary() {
		return nil
	}
	end := c.seg.ends[c.index]
	return c.seg.buf[c.off:end:end]
}

// Position returns how many bytes the Log had before this place.
func (c *Cursor) Position() uint64 {
	if c.seg == nil {
		return 0
	}
	return c.seg.base + uint64(c.off)
}

// Seq returns the number of the last message wholly before this place.
func (c *Cursor) Seq() uint64 {
	if c.seg == nil {
		return 0
	}
	return c.seg.first + uint64(c.index) - 1
}

// IsZero reports whether the Cursor is nowhere.
func (c *Cursor) IsZero() bool { return c.seg == nil }
