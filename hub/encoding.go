package hub

import (
	"bytes"
	"math"
	"runtime"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// An encoding is a way in which broadcasts are written for one kind of viewer.
// A room writes each broadcast once in each encoding that somebody in it wants,
// however many they are.
type encoding uint8

// The encodings. The verbatim one is always written: it is the record.
const (
	verbatim  encoding = iota // the very bytes that the host sent
	numbered                  // the same object with its number put first
	encodings                 // how many there are
)

// A writer is how an encoding is written.
type writer struct {
	// append appends the frame for a text that has a number, or unnumbered.
	append func(frame []byte, seq uint64, text []byte) []byte
	// longer is how many bytes more than the text a frame has at most.
	longer int
	// counted has those who want it told how many viewers there are.
	counted bool
}

var writers = [encodings]writer{
	verbatim: {append: appendVerbatim, longer: maxHeader},
	numbered: {append: appendNumbered, longer: maxHeader + len(`{"seq":,`) + 20, counted: true},
}

// unnumbered stands for the number of a text that has none.
const unnumbered = math.MaxUint64

// maxHeader is the length of the longest header of a frame, unmasked.
const maxHeader = 10

func appendVerbatim(b []byte, _ uint64, text []byte) []byte {
	return frame.AppendFrame(b, ws.OpText, text)
}

// appendNumbered puts the number first. A text is a JSON object that is not
// empty: it has a type.
func appendNumbered(b []byte, seq uint64, text []byte) []byte {
	if seq == unnumbered {
		return appendVerbatim(b, seq, text)
	}
	var room [len(`{"seq":,`) + 20]byte
	first := append(strconv.AppendUint(append(room[:0], `{"seq":`...), seq, 10), ',')
	rest := text[bytes.IndexByte(text, '{')+1:]
	b = frame.AppendHeader(b, ws.OpText, len(first)+len(rest))
	return append(append(b, first...), rest...)
}

// in returns the room's Log in an encoding, nil if nobody wants it.
func (r *Room) in(e encoding) *broadcast.Log {
	if e == verbatim {
		return r.log
	}
	return r.others[e].Load()
}

// wantLocked counts one more who wants an encoding. If nobody did there is a Log
// in it from now on.
func (r *Room) wantLocked(e encoding) *broadcast.Log {
	r.wants[e]++
	if r.in(e) == nil {
		r.others[e].Store(r.log.Follow())
	}
	return r.in(e)
}

// unwant counts one less who wants an encoding.
func (r *Room) unwant(e encoding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwantLocked(e)
}

// unwantLocked counts one less. What nobody wants is no longer written.
func (r *Room) unwantLocked(e encoding) {
	r.wants[e]--
	if r.wants[e] == 0 && e != verbatim {
		r.others[e].Store(nil)
		r.countBytesLocked()
	}
}

// appendLocked writes a text into the Logs of all encodings that somebody wants:
// the broadcast with a number, or an event.
func (r *Room) appendLocked(seq uint64, text []byte) {
	now := r.hub.now()
	for e := encodings - 1; e > verbatim; e-- { // the record last: they follow it
		if l := r.in(e); l != nil {
			write(l, writers[e], seq, text, now)
		}
	}
	write(r.log, writers[verbatim], seq, text, now)
	r.trimLocked(now)
	r.grown.Add(1)
}

// write appends a text to a Log in its encoding.
func write(l *broadcast.Log, w writer, seq uint64, text []byte, now time.Duration) {
	frame := w.append(l.Reserve(len(text) + w.longer)[:0], seq, text)
	if seq == unnumbered {
		l.CommitNotice(len(frame), now)
	} else {
		l.Commit(len(frame), now)
	}
}

// A backfill is the encoding of a room's past for those who come back in an
// encoding that was not written all the time.
type backfill struct {
	running bool
	waiting []func() // what is to be done after it
}

// backfill sees to it that the Log in an encoding that is wanted, and not the
// verbatim one, reaches as far back as the record, and then calls done. The past
// is encoded once however many come back, by no worker, and without the room's
// lock: the host speaks on meanwhile. It may be called from anywhere.
func (r *Room) backfill(e encoding, done func()) {
	r.mu.Lock()
	b := &r.backfills[e]
	b.waiting = append(b.waiting, done)
	first := !b.running
	b.running = true
	r.mu.Unlock()
	if first {
		r.hub.encoders.do(func() {
			r.encodePast(e)
			r.mu.Lock()
			waiting := b.waiting
			*b = backfill{}
			r.mu.Unlock()
			for _, done := range waiting {
				done()
			}
		})
	}
}

// encodePast encodes what the Log in an encoding lacks.
func (r *Room) encodePast(e encoding) {
	r.mu.Lock()
	l := r.in(e)
	if l == nil || r.closed { // those who wanted it have gone
		r.mu.Unlock()
		return
	}
	front, until, from := l.Oldest(), l.Before(), r.log.Oldest()
	r.mu.Unlock()
	if from.Position() >= until {
		return
	}
	past := r.hub.newLog(from.Seq())
	for n := 1; from.Position() < until; n++ {
		whole, isMessage := from.NextFrame()
		seq := uint64(unnumbered)
		if isMessage {
			seq = from.Seq()
		}
		write(past, writers[e], seq, frame.Payload(whole), r.hub.now())
		if n%yieldEvery == 0 {
			runtime.Gosched() // workers that were woken go first
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in(e) == l && !r.closed {
		l.Prepend(past, front)
		r.trimLocked(r.hub.now())
	}
}
