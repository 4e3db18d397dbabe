package broadcast

// A Cursor is a reader's place in a Log. The zero Cursor is in no Log and never
// has anything to read. A Cursor belongs to one goroutine at a time; copies are
// independent.
type Cursor struct {
	seg   *segment
	off   uint32 // in seg.buf
	frame uint32 // number of frames of seg that end at or before off
}

// Next returns the published bytes from the cursor on, up to the end of a
// segment at most. It returns nil if there are none. The bytes are the Log's
// memory and never change.
func (c *Cursor) Next() []byte {
	for c.seg != nil {
		next := c.seg.next.Load() // load next before the mark: if it is set, the mark is final
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

// Advance moves the cursor on by n bytes, at most the length of what Next
// returned, and returns how many messages that completes.
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

// NextFrame returns the next frame and whether it is a message, and moves the
// cursor past it. It returns nil if there is none. The cursor must be at a
// boundary.
func (c *Cursor) NextFrame() (whole []byte, message bool) {
	p := c.Next()
	if len(p) == 0 {
		return nil, false
	}
	n := int(c.seg.index[c.frame].end - c.off)
	return p[:n:n], c.Advance(n) > 0
}

// AtBoundary reports whether the cursor is between two frames.
func (c *Cursor) AtBoundary() bool {
	return c.off == 0 || c.frame > 0 && c.off == c.seg.index[c.frame-1].end
}

// Rest returns the rest of the frame that the cursor is in the middle of, nil
// at a boundary. The slice stays valid without the Cursor, and then holds only
// its own segment's buffer in memory.
func (c *Cursor) Rest() []byte {
	if c.AtBoundary() {
		return nil
	}
	end := c.seg.index[c.frame].end
	return c.seg.buf[c.off:end:end]
}

// Position returns the number of bytes of the Log before the cursor.
func (c *Cursor) Position() uint64 {
	if c.seg == nil {
		return 0
	}
	return c.seg.base + uint64(c.off)
}

// Seq returns the number of the last message that is completely before the
// cursor.
func (c *Cursor) Seq() uint64 {
	if c.seg == nil {
		return 0
	}
	return c.seg.first + uint64(c.seg.messages(c.frame)) - 1
}

// IsZero reports whether the Cursor is in no Log.
func (c *Cursor) IsZero() bool { return c.seg == nil }
