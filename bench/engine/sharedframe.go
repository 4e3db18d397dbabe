package engine

import (
	"bytes"

	"lectern/bench/wire"
)

// Late viewers all get the same long history at about the same time. If each of
// them kept what has come so far, the bench would need more memory than the
// server. So each lane keeps a frame once, as far as it has come to any viewer,
// and a viewer knows its place in it.

// maxShared bounds the frames that a lane compares with; the oldest give way,
// and live on for viewers in the middle of one.
const maxShared = 16

// A sharedFrame is a frame as far as it has come to any viewer. Its bytes do not
// change any more.
type sharedFrame struct{ bytes []byte }

// shares reports whether the viewer is to take what comes as a shared frame.
func (v *viewer) shares() bool {
	return v.membership != nil && v.membership.waits && v.partial == nil && v.message == nil && v.state == live
}

// share takes bytes of the frame that the viewer is in, acts on it when it is
// complete, and returns the rest of the chunk.
func (v *viewer) share(chunk []byte, now int64) (rest []byte) {
	s := v.membership
	for {
		if s.frame == nil {
			s.frame = v.lane.like(nil, chunk)
		}
		known := s.frame.bytes[v.matched:]
		n := min(len(known), len(chunk))
		if !bytes.Equal(known[:n], chunk[:n]) {
			s.frame = v.lane.like(s.frame.bytes[:v.matched], chunk)
			continue
		}
		v.matched += uint32(n)
		chunk = chunk[n:]
		if n < len(known) {
			return nil
		}
		f, used, need, err := wire.Parse(s.frame.bytes)
		switch {
		case err != nil:
			v.end(explain(err))
			return nil
		case used > 0:
			whole := s.frame.bytes
			s.frame, v.matched = nil, 0
			v.frame(f, whole, now)
			return chunk
		case len(chunk) == 0:
			return nil
		}
		more := min(need-len(s.frame.bytes), len(chunk))
		s.frame.bytes = append(s.frame.bytes, chunk[:more]...)
	}
}

// like returns a frame that begins with head and goes on with chunk, as far as
// it has come, or begins one.
func (l *lane) like(head, chunk []byte) *sharedFrame {
	for _, f := range l.frames {
		if rest, ok := bytes.CutPrefix(f.bytes, head); ok {
			n := min(len(rest), len(chunk))
			if bytes.Equal(rest[:n], chunk[:n]) {
				return f
			}
		}
	}
	f := &sharedFrame{bytes: bytes.Clone(head)}
	l.frames = append(l.frames, f)
	if len(l.frames) > maxShared {
		l.frames[0] = nil
		l.frames = l.frames[1:]
	}
	return f
}
