package broadcast

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A written is a frame of a Log, as the test wrote it.
type written struct {
	bytes []byte
	seq   uint64 // of a message; 0 for a notice
	twin  []byte // how a Log that follows has it
}

// An edition is a Log and all that was ever written to it, trimmed or not.
type edition struct {
	*Log
	first   uint64 // the number of the first message that it could have
	written []written
	readers []*follower
	whole   bool // reaches as far back as the record
}

// A follower is a reader and what is due to it.
type follower struct {
	Cursor
	due []written
	off int    // in the first of due
	seq uint64 // of the last message wholly read
}

// A recollection is a past that is being encoded.
type recollection struct {
	of          *edition
	front, from Cursor
	until       uint64
	past        *edition
}

// An archive is the model: a record, the Log that follows it now, and those that
// nobody writes to any more but some still read.
type archive struct {
	record, other *edition
	dropped       []*edition
	recalls       *recollection
	last          uint64
}

// TestFollowerIsTheRecordInAnotherEncoding writes messages and notices to a
// record and to Logs that follow it, some notices to these alone, trims both, and
// puts pasts in front that were begun before that. Readers that begin anywhere
// and stop anywhere get what was written, to the byte.
func TestFollowerIsTheRecordInAnotherEncoding(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		begin := rapid.SampledFrom([]uint64{0, 0, 9, 1 << 40}).Draw(rt, "begin")
		smallest := rapid.SampledFrom([]int{1, 40, 200, 600}).Draw(rt, "smallest segment")
		largest := rapid.IntRange(smallest, 2000).Draw(rt, "largest segment")
		a := &archive{record: &edition{Log: New(begin), first: begin + 1}, last: begin}
		a.record.Bound(smallest, largest)
		rt.Repeat(map[string]func(*rapid.T){
			"":        a.check,
			"message": a.message,
			"notice":  a.notice,
			"notice for one encoding": func(t *rapid.T) {
				if a.other != nil {
					a.other.notice(drawFrame(t, "own notice"))
				}
			},
			"follow": func(*rapid.T) {
				if a.other == nil {
					a.other = &edition{Log: a.record.Follow(), first: a.last + 1}
				}
			},
			"drop": func(t *rapid.T) {
				if a.other != nil && rapid.IntRange(0, 4).Draw(t, "dice") == 0 {
					a.dropped = append(a.dropped, a.other)
					a.other, a.recalls = nil, nil
				}
			},
			"recall": a.recall,
			"encode": func(t *rapid.T) { a.encode(rapid.IntRange(1, 10).Draw(t, "frames")) },
			"finish": a.finish,
			"join": func(t *rapid.T) {
				e := a.draw(t)
				e.readers = append(e.readers, &follower{Cursor: e.End(), seq: e.seq()})
			},
			"resume": func(t *rapid.T) {
				e := a.draw(t)
				oldest := e.Oldest()
				e.resume(t, rapid.Uint64Range(max(oldest.Seq(), 1)-1, e.seq()+2).Draw(t, "number"))
			},
			"read":       func(t *rapid.T) { a.reader(t).read(t) },
			"read frame": func(t *rapid.T) { a.reader(t).readFrame(t) },
			"trim":       a.trim,
			"release": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "dice") == 0 {
					a.record.Release()
					a.trimOther(t)
				}
			},
		})
		a.check(rt)
		for _, e := range append(a.dropped, a.record, a.other) {
			if e == nil {
				continue
			}
			oldest := e.Oldest()
			e.resume(rt, oldest.Seq()+1)
			for _, r := range e.readers {
				for len(r.due) > 0 {
					r.read(rt)
				}
				if p := r.Next(); len(p) > 0 {
					rt.Fatalf("after everything comes %q", p)
				}
			}
		}
	})
}

func drawFrame(t *rapid.T, kind string) []byte {
	frame := fmt.Appendf(nil, "[%s]", kind)
	for range rapid.SampledFrom([]int{0, 1, 30, 100, 500, 1500}).Draw(t, "filling") {
		frame = append(frame, 'x')
	}
	return frame
}

// message writes the next message to the Log that follows, and to the record.
func (a *archive) message(t *rapid.T) {
	a.last++
	w := written{bytes: drawFrame(t, fmt.Sprint(a.last)), seq: a.last}
	w.twin = append(fmt.Appendf(nil, "%d:", a.last), w.bytes...)
	for _, seq := range []uint64{a.other.append(w.forOther()), a.record.append(w)} {
		if seq != 0 && seq != a.last {
			t.Fatalf("message %d got the number %d", a.last, seq)
		}
	}
}

func (a *archive) notice(t *rapid.T) {
	w := written{bytes: drawFrame(t, "notice")}
	w.twin = append([]byte("other"), w.bytes...)
	a.other.append(w.forOther())
	a.record.append(w)
}

// forOther returns the frame as a Log that follows has it.
func (w written) forOther() written { return written{bytes: w.twin, seq: w.seq} }

func (e *edition) notice(frame []byte) { e.append(written{bytes: frame}) }

// append writes a frame, and returns its number.
func (e *edition) append(w written) (seq uint64) {
	if e == nil {
		return 0
	}
	buf := e.Reserve(len(w.bytes) + 7) // more than it takes
	n := copy(buf, w.bytes)
	if w.seq > 0 {
		seq = e.Commit(n, 0)
	} else {
		e.CommitNotice(n, 0)
	}
	e.written = append(e.written, w)
	for _, r := range e.readers {
		r.due = append(r.due, w)
	}
	return seq
}

// seq returns the number of the last message.
func (e *edition) seq() uint64 {
	for _, w := range slices.Backward(e.written) {
		if w.seq > 0 {
			return w.seq
		}
	}
	return e.first - 1
}

// draw returns the record or the Log that follows.
func (a *archive) draw(t *rapid.T) *edition {
	if a.other != nil && rapid.Bool().Draw(t, "other") {
		return a.other
	}
	return a.record
}

// reader returns any of the readers.
func (a *archive) reader(t *rapid.T) *follower {
	all := slices.Clone(a.record.readers)
	for _, e := range append(a.dropped, a.other) {
		if e != nil {
			all = append(all, e.readers...)
		}
	}
	if len(all) == 0 {
		t.Skip("nobody reads")
	}
	return rapid.SampledFrom(all).Draw(t, "reader")
}

// resume begins to read at a message, if the Log still has it.
func (e *edition) resume(t *rapid.T, seq uint64) {
	c, ok := e.At(seq)
	oldest, last := e.Oldest(), e.seq()
	if want := seq > oldest.Seq() && seq <= last+1; ok != want {
		t.Fatalf("At(%d) of %d to %d: %v", seq, oldest.Seq()+1, last, ok)
	}
	if !ok {
		return
	}
	r := &follower{Cursor: c, seq: seq - 1}
	if i := slices.IndexFunc(e.written, func(w written) bool { return w.seq == seq }); i >= 0 {
		r.due = slices.Clone(e.written[i:])
	}
	e.readers = append(e.readers, r)
}

// trim forgets what it may of the record, and of the other as much.
func (a *archive) trim(t *rapid.T) {
	keep := Retention{Bytes: int64(rapid.IntRange(0, 4000).Draw(t, "bytes")), Messages: uint64(rapid.IntRange(0, 30).Draw(t, "messages"))}
	if rapid.Bool().Draw(t, "all of them together have too many") {
		keep.Buffers = int64(rapid.IntRange(1, 4000).Draw(t, "buffers"))
	}
	a.record.Trim(keep)
	a.trimOther(t)
}

// trimOther forgets of the Log that follows what the record has forgotten, and
// nothing else.
func (a *archive) trimOther(t *rapid.T) {
	if a.other == nil {
		return
	}
	oldest, before := a.record.Oldest(), a.other.Oldest()
	a.other.Trim(Retention{From: oldest.Seq() + 1})
	after := a.other.Oldest()
	if after.Seq() > max(before.Seq(), oldest.Seq()) {
		t.Fatalf("trimmed up to %d, the record has all after %d", after.Seq(), oldest.Seq())
	}
	if next := after.seg.next.Load(); next != nil && next.first <= oldest.Seq()+1 {
		t.Fatalf("still from %d, the record has nothing before %d", after.Seq(), oldest.Seq())
	}
}

// recall begins to encode the past.
func (a *archive) recall(t *rapid.T) {
	if a.other == nil || a.recalls != nil {
		t.Skip("nothing to recall")
	}
	r := &recollection{of: a.other, front: a.other.Oldest(), until: a.other.Before(), from: a.record.Oldest()}
	if r.from.Position() >= r.until {
		a.other.whole = true
		return
	}
	r.past = &edition{Log: New(r.from.Seq()), first: r.from.Seq() + 1}
	r.past.Bound(a.record.smallest, a.record.largest)
	a.recalls = r
}

// encode goes on with it, by so many frames.
func (a *archive) encode(frames int) {
	r := a.recalls
	for ; r != nil && frames > 0 && r.from.Position() < r.until; frames-- {
		whole, isMessage := r.from.NextFrame()
		i := slices.IndexFunc(a.record.written, func(w written) bool { return bytes.Equal(w.bytes, whole) && (!isMessage || w.seq == r.from.Seq()) })
		r.past.append(a.record.written[i].forOther())
	}
}

// finish puts the past in front.
func (a *archive) finish(t *rapid.T) {
	r := a.recalls
	if r == nil {
		t.Skip("no past is encoded")
	}
	a.encode(1 << 30)
	a.recalls = nil
	front := r.of.frontOf(r.front)
	r.of.Prepend(r.past.Log, r.front)
	r.of.whole = true
	reads := &follower{Cursor: r.past.Oldest(), due: append(slices.Clone(r.past.written), r.of.written[front:]...), seq: r.past.first - 1}
	r.of.readers = append(r.of.readers, reads)
	if oldest := r.of.Oldest(); oldest == r.past.Oldest() {
		r.of.written = append(r.past.written, r.of.written[front:]...)
		r.of.first = r.past.first
	}
	a.trimOther(t)
}

// frontOf returns how many frames were written before a place.
func (e *edition) frontOf(c Cursor) int {
	end := e.End()
	bytes := end.Position() - c.Position()
	n := len(e.written)
	for ; bytes > 0; n-- {
		bytes -= uint64(len(e.written[n-1].bytes))
	}
	return n
}

// read takes some bytes.
func (r *follower) read(t *rapid.T) {
	p := r.Next()
	if len(p) == 0 && len(r.due) > 0 {
		t.Fatalf("nothing to read where %q is due", r.due[0].bytes[r.off:])
	}
	p = p[:rapid.IntRange(min(1, len(p)), len(p)).Draw(t, "taken")]
	r.take(t, p, r.Advance(len(p)))
}

// readFrame takes a whole frame.
func (r *follower) readFrame(t *rapid.T) {
	if !r.AtBoundary() {
		return
	}
	whole, isMessage := r.NextFrame()
	if whole == nil && len(r.due) == 0 {
		return
	}
	if len(r.due) == 0 || len(whole) != len(r.due[0].bytes) || isMessage != (r.due[0].seq > 0) {
		t.Fatalf("frame %q, message %v", whole, isMessage)
	}
	messages := 0
	if isMessage {
		messages = 1
	}
	r.take(t, whole, messages)
}

// take compares bytes with those that are due.
func (r *follower) take(t *rapid.T, p []byte, messages int) {
	before := r.seq
	for len(p) > 0 {
		if len(r.due) == 0 {
			t.Fatalf("read %q after everything", p)
		}
		w := r.due[0]
		n := min(len(p), len(w.bytes)-r.off)
		if !bytes.Equal(p[:n], w.bytes[r.off:r.off+n]) {
			t.Fatalf("read %q, due is %q", p[:n], w.bytes[r.off:])
		}
		p = p[n:]
		r.off += n
		if r.off == len(w.bytes) {
			r.due, r.off = r.due[1:], 0
			r.seq = max(r.seq, w.seq)
		}
	}
	if r.seq-before != uint64(messages) {
		t.Fatalf("%d messages from %d to %d", messages, before, r.seq)
	}
}

// check looks at all places and sizes.
func (a *archive) check(t *rapid.T) {
	for _, e := range append(slices.Clone(a.dropped), a.record, a.other) {
		if e == nil {
			continue
		}
		held, end := int64(0), e.End()
		for s := e.oldest; s != nil; s = s.next.Load() {
			held += int64(len(s.buf))
		}
		if e.Retained() != held || end.Seq() != e.seq() {
			t.Fatalf("retains %d bytes of %d, ends at %d of %d", e.Retained(), held, end.Seq(), e.seq())
		}
		for _, r := range e.readers {
			left := -r.off
			for _, w := range r.due {
				left += len(w.bytes)
			}
			if r.Seq() != r.seq || r.AtBoundary() != (r.off == 0) || end.Position()-r.Position() != uint64(left) {
				t.Fatalf("a reader is at %d, boundary %v, with %d bytes to come; want %d, %v, %d",
					r.Seq(), r.AtBoundary(), end.Position()-r.Position(), r.seq, r.off == 0, left)
			}
			if rest := r.Rest(); r.off > 0 && !bytes.Equal(rest, r.due[0].bytes[r.off:]) {
				t.Fatalf("rest %q, want %q", rest, r.due[0].bytes[r.off:])
			}
		}
	}
	if a.other == nil || !a.other.whole {
		return
	}
	record, other := a.record.Oldest(), a.other.Oldest()
	if other.Seq() > record.Seq() {
		t.Fatalf("the record has all after %d, the Log that follows it, %d", record.Seq(), other.Seq())
	}
}
