package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gobwas/ws"

	"lectern/bench/stamp"
	"lectern/bench/wire"
)

// parse is the slow way: it takes the frame that the chunk begins with, or goes
// on with one that is not complete, and returns the rest of the chunk.
func (v *viewer) parse(chunk []byte, now int64) (rest []byte) {
	if v.partial == nil {
		f, used, _, err := wire.Parse(chunk)
		switch {
		case err != nil:
			v.end(explain(err))
			return nil
		case used == 0:
			v.keep(chunk)
			return nil
		}
		v.frame(f, chunk[:used], now)
		return chunk[used:]
	}
	// Only as much is taken as the one frame needs.
	for {
		f, used, need, err := wire.Parse(*v.partial)
		if err != nil {
			v.end(explain(err))
			return nil
		}
		if used > 0 {
			whole := *v.partial
			v.partial = nil
			v.frame(f, whole, now)
			return chunk
		}
		n := min(need-len(*v.partial), len(chunk))
		if n == 0 {
			return nil
		}
		*v.partial = append(*v.partial, chunk[:n]...)
		chunk = chunk[n:]
	}
}

// frame acts on one frame. raw is all of it.
func (v *viewer) frame(f wire.Frame, raw []byte, now int64) {
	switch f.Op {
	case ws.OpPing:
		v.say(ws.OpPong, f.Payload)
	case ws.OpPong:
	case ws.OpClose:
		v.closed(f.Payload)
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
			v.text(whole, len(whole), now)
		}
	default:
		if !f.Fin {
			part := bytes.Clone(f.Payload)
			v.message = &part
			return
		}
		v.text(f.Payload, len(raw), now)
	}
}

// closed acts on the server's close frame.
func (v *viewer) closed(payload []byte) {
	reason := "close frame without a code"
	var text string
	if len(payload) >= 2 {
		reason = fmt.Sprintf("close frame %d", binary.BigEndian.Uint16(payload))
		text = string(payload[2:])
	}
	v.end(reason, text)
	v.out = nil
	v.say(ws.OpClose, payload[:min(len(payload), 2)])
}

// text acts on a message: published ones that it holds are counted, one or
// many; otherwise it is an answer to the join, a ping, or something else.
func (v *viewer) text(b []byte, size int, now int64) {
	if v.membership != nil && isHistory(b) {
		v.history(b, now)
		return
	}
	if v.stamps(b, now) {
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
	if e := v.expected(); e != nil && len(e.as(v.numbered)) == size {
		v.damagedAll()
		return
	}
	v.lane.others++
}

func (v *viewer) expected() *entry {
	if v.room.record == nil || v.next == 0 {
		return nil
	}
	return v.room.record.at(v.next)
}

// stamps counts the published messages that b holds and says whether there was
// any.
func (v *viewer) stamps(b []byte, now int64) (any bool) {
	message := b
	for {
		i := bytes.Index(b, []byte(stamp.Marker))
		if i < 0 {
			return any
		}
		any = true
		b = b[i:]
		s, verdict := stamp.Parse(b)
		switch {
		case verdict == stamp.AllDamaged:
			v.damagedAll()
			b = b[len(stamp.Marker):]
			continue
		case s.Room == v.room.tag || v.room.remote:
			if v.room.remote && s.Kind == stamp.Measured && v.lane.first == 0 {
				v.lane.first = s.Due
			}
			v.accept(s, v.verbatim(s, message) && verdict == stamp.Intact, now)
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
// record knows: the checksum does not cover the envelope.
func (v *viewer) verbatim(s stamp.Stamp, message []byte) bool {
	if v.room.record == nil {
		return true
	}
	e := v.room.record.at(s.Seq)
	if !v.numbered {
		return e == nil || bytes.Equal(message, e.text())
	}
	n, rest, ok := cutNumber(message)
	if (!ok || n != s.Seq) && s.Kind == stamp.Measured && v.phase == v.lane.phase {
		v.trouble().misnumbered++
	}
	if !ok {
		return e == nil || bytes.Equal(message, e.text())
	}
	return e == nil || bytes.Equal(rest, e.text()[1:])
}
