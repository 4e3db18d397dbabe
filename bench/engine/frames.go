package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/gobwas/ws"

	"lectern/bench/stamp"
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

// parse is the slow way: it takes the frame that the chunk begins with, or goes
// on with the one that the viewer is in, and returns the rest of the chunk.
func (v *viewer) parse(chunk []byte, now int64) (rest []byte) {
	parse := v.crowd.transport.Parse
	if v.frame == nil {
		f, used, err := parse(chunk)
		switch {
		case err != nil:
			v.end(explain(err))
			return nil
		case used > 0:
			v.take(f, chunk[:used], now)
			return chunk[used:]
		}
		v.frame = v.lane.like(nil, chunk)
	}
	rest = chunk
	for {
		known := v.frame.bytes[v.matched:]
		n := min(len(known), len(rest))
		if !bytes.Equal(known[:n], rest[:n]) {
			v.frame = v.lane.like(v.frame.bytes[:v.matched], rest)
			continue
		}
		v.matched += uint32(n)
		rest = rest[n:]
		if n < len(known) {
			return nil
		}
		f, used, err := parse(v.frame.bytes)
		switch {
		case err != nil:
			v.end(explain(err))
			return nil
		case used > 0:
			whole, next := v.frame.bytes[:used], len(v.frame.bytes)-used // the chunk went beyond the frame
			v.frame.bytes, v.frame, v.matched = whole, nil, 0
			v.take(f, whole, now)
			return chunk[len(chunk)-len(rest)-next:]
		case len(rest) == 0:
			return nil
		}
		v.frame.bytes = append(v.frame.bytes, rest...)
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
	if l.frames = append(l.frames, f); len(l.frames) > maxShared {
		l.frames = slices.Delete(l.frames, 0, 1)
	}
	return f
}

// take acts on one frame. raw is all of it, nil if it came in one with others.
func (v *viewer) take(f wire.Frame, raw []byte, now int64) {
	if f.Events {
		v.events(f.Payload, raw, now)
		return
	}
	if f.Op != ws.OpContinuation && f.Op < ws.OpClose {
		v.deflated = f.Deflated
	}
	switch f.Op {
	case ws.OpPing:
		v.say(ws.OpPong, f.Payload)
	case ws.OpPong:
	case ws.OpClose:
		v.end(f.Closing())
		v.out = nil
		v.say(ws.OpClose, f.Payload[:min(len(f.Payload), 2)])
	case ws.OpContinuation:
		if v.message == nil {
			v.end(explain(fmt.Errorf("%w: a continuation of nothing", wire.ErrGarbage)))
			return
		}
		if len(*v.message)+len(f.Payload) > wire.MaxFrame {
			v.end(explain(fmt.Errorf("%w: a message of more than %d bytes", wire.ErrGarbage, wire.MaxFrame)))
			return
		}
		*v.message = append(*v.message, f.Payload...)
		if f.Fin {
			whole := *v.message
			v.message = nil
			v.whole(whole, nil, now)
		}
	default:
		if !f.Fin {
			part := bytes.Clone(f.Payload)
			v.message = &part
			return
		}
		v.whole(f.Payload, raw, now)
	}
}

// events acts on the response to a poll.
func (v *viewer) events(b, raw []byte, now int64) {
	for len(b) > 0 && v.state != ended {
		f, used, err := wire.EventStream{}.Parse(b)
		if err != nil {
			v.end(explain(err))
			return
		}
		if used < len(b) {
			raw = nil
		}
		b = b[used:]
		v.take(f, raw, now)
	}
	v.ask()
}

// whole acts on a message, which may be compressed.
func (v *viewer) whole(b, raw []byte, now int64) {
	if v.deflated {
		var err error
		if b, err = v.lane.inflater.Inflate(b); err != nil {
			v.end(explain(err))
			return
		}
	}
	v.text(b, raw, now)
}

// text acts on a message: published ones that it holds are counted, one or
// many; otherwise it is an answer to the join, a ping, or something else. raw is its
// frame, nil if it came in several.
func (v *viewer) text(b, raw []byte, now int64) {
	if v.membership != nil && isHistory(b) {
		v.history(b, now)
		return
	}
	if v.stamps(b, raw, now) {
		return
	}
	t := &v.crowd.options.Template
	if t.Ping != "" && string(b) == t.Ping {
		v.say(ws.OpText, []byte(t.Pong))
		return
	}
	if v.state == joining {
		switch {
		case bytes.Contains(b, []byte(t.Joined)):
			if v.membership == nil || v.admit(b, now) {
				v.join()
			}
		case t.Refused != "" && bytes.Contains(b, []byte(t.Refused)):
			v.end("refused", string(b[:min(len(b), 200)]))
		}
		return
	}
	// A frame just as long as a message, but without a stamp, is one whose
	// stamp was damaged.
	if _, rest, ok := cutNumber(b); ok {
		b = b[len(b)-len(rest)-1:] // a comma stands where the brace was
	}
	if e := v.room.record.at(v.next); e != nil && len(e.text) == len(b) {
		v.damagedAll()
		return
	}
	v.lane.others++
}

// stamps counts the published messages that b holds and says whether there was
// any.
func (v *viewer) stamps(b, raw []byte, now int64) (any bool) {
	message := b
	for {
		i := bytes.Index(b, []byte(stamp.Marker))
		if i < 0 {
			return any
		}
		any = true
		b = b[i:]
		s, verdict := stamp.Parse(b)
		whole := verdict == stamp.Intact
		switch {
		case verdict == stamp.AllDamaged:
			v.damagedAll()
			b = b[len(stamp.Marker):]
			continue
		case s.Room == v.room.tag || v.room.remote:
			if v.room.remote && s.Kind == stamp.Measured && v.lane.first == 0 {
				v.lane.first = s.Due
			}
			same, right := v.verbatim(s, message)
			if whole = whole && same; whole && right && raw != nil {
				v.room.record.keep(s.Seq, v.numbered, raw)
			}
			v.accept(s, whole, now)
		}
		b = b[min(max(s.Size, stamp.Len), len(b)):]
	}
}

// damagedAll counts a message whose number is lost.
func (v *viewer) damagedAll() {
	st := v.trouble()
	st.damaged++
	st.unknown++
}

// verbatim reports whether a message is what was published, as far as the
// record knows, and has the right number: the checksum does not cover the envelope.
func (v *viewer) verbatim(s stamp.Stamp, message []byte) (same, right bool) {
	number, same := v.room.published(s.Seq, message)
	if !v.numbered {
		right = number == unnumbered
		return same && (right || v.room.record == nil), right
	}
	right = number == int64(s.Seq)
	if !right && s.Kind == stamp.Measured && v.phase == v.lane.phase {
		v.trouble().misnumbered++
	}
	return same, right
}
