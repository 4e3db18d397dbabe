package broadcast

// A Cursor is a reader's place in a Log. The zero Cursor is nowhere: it never
// has anything to read. A Cursor belongs to one goroutine at a time; copies are
// independent.
type Cursor struct {
	seg   *segment
	off   uint32 // in seg.buf
	frame uint32 // how many frames of seg are wholly before off
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
	before := c.seg.messages(c.frame)
	c.off += uint32(n)
	frames, bytes := c.seg.published()
	if c.off == bytes {
		c.frame = frames
	} else {
		c.frame = c.seg.frameAt(c.off, c.frame, frames)
	}
	return int(c.seg.messages(c.frame) - before)
}

// NextFrame moves on by one frame and returns it, and whether it is a message;
// nil if there is none. The place must be at a boundary.
func (c *Cursor) NextFrame() (whole []byte, message bool) {
	p := c.Next()
	if len(p) == 0 {
		return nil, false
	}
	n := int(c.seg.index[c.frame].end - c.off)
	return p[:n:n], c.Advance(n) > 0
}

// AtBoundary reports whether the place is between two frames.
func (c *Cursor) AtBoundary() bool {
	return c.off == 0 || c.frame > 0 && c.off == c.seg.index[c.frame-1].end
}

// Rest returns what is left of the frame that the place is in the middle of,
// nil at a boundary. It stays valid without the Cursor, and then holds only its
// own segment's buffer.
func (c *Cursor) Rest() []byte {
	if c.AtBoundary() {
		return nil
	}
	end := c.seg.index[c.frame].end
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
	return c.seg.first + uint64(c.seg.messages(c.frame)) - 1
}

// IsZero reports whether the Cursor is nowhere.
func (c *Cursor) IsZero() bool { return c.seg == nil }
