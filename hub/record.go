package hub

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
	"lectern/hub/strictjson"
)

// The Log of the verbatim encoding is the record. The history that it tells is
// encoded at most every freshFor, aside from the workers, for all who wait for it.

// A record is a room's history while it is encoded. It is guarded by the room's
// lock.
type record struct {
	number  uint32        // counts them; those parked know theirs
	running bool          // it is being encoded
	begun   time.Duration // when
	upTo    ends          // while it runs, the places up to which it tells
	due     bool          // the next one waits for its time
}

// askRecord parks a viewer until the record is encoded, and has that done. It
// returns false if the room is closed, or the record no longer reaches back to
// the first broadcast in a room whose host would. It is called by the viewer's
// worker.
func (r *Room) askRecord(s *Session) bool {
	r.mu.Lock()
	oldest, c := r.log.Oldest(), &r.record
	if r.closed || oldest.Seq() > 0 && !r.options.relayTells {
		r.mu.Unlock()
		return false
	}
	number := c.number
	if !c.running || !c.upTo.fits(s) {
		number++
		r.encodeSoonLocked()
	}
	r.mu.Unlock()
	r.audience(s.shard).park(s, fromRecord, number)
	return true
}

// encodeSoonLocked has the next history encoded, now or when its time has come.
func (r *Room) encodeSoonLocked() {
	c := &r.record
	if c.due {
		return
	}
	c.due = true
	if wait := c.begun + freshFor - r.hub.now(); c.number > 0 && wait > 0 {
		time.AfterFunc(wait, func() { r.hub.encoders.do(r.encodeRecord) })
	} else {
		r.hub.encoders.do(r.encodeRecord)
	}
}

// encodeRecord encodes the history for those who wait for it.
func (r *Room) encodeRecord() {
	r.mu.Lock()
	c := &r.record
	c.due = false
	switch {
	case r.closed:
		r.mu.Unlock()
		return
	case c.running: // for longer than freshFor
		c.begun = r.hub.now()
		r.encodeSoonLocked()
		r.mu.Unlock()
		return
	}
	c.number++
	oldest, number, upTo := r.log.Oldest(), c.number, r.takeEndsLocked()
	c.running, c.begun, c.upTo = true, r.hub.now(), upTo
	r.mu.Unlock()

	useful := oldest.Seq() == 0 || r.options.relayTells
	fits := r.hub.fitsHistory(historySize(oldest, upTo[verbatim].end))
	var history *shared
	if useful && fits {
		history = r.hub.newShared(encodeHistory(oldest, upTo[verbatim].end))
	}

	r.mu.Lock()
	c.running, c.upTo = false, ends{}
	if history != nil {
		var frames [encodings]*shared // the same in all of them: it tells its number
		for e := range frames {
			frames[e] = history
		}
		r.keepLocked(frames, upTo)
	} else {
		r.dropEndsLocked()
	}
	r.mu.Unlock()
	r.unpark(fromRecord, number, func(s *Session) {
		switch {
		case history != nil:
			s.spliceHistory(history, upTo[s.encoding].end)
		case !fits:
			s.historyUnavailable(relayBusy())
		case !r.askHost(s):
			s.historyUnavailable(noHistory("the host is not there"))
		}
	}, history.release)
}

// spliceHistory queues a history and moves the session to the place up to which
// it tells, once the frame that it is in the middle of has gone out.
func (s *Session) spliceHistory(history *shared, upTo broadcast.Cursor) {
	partial := s.cursor.Rest()
	s.outbound().splice(private{frame: history.frame, shared: history.hold(), place: upTo.Position(), kind: bulky})
	s.out.since = s.shard.Now()
	s.cursor = upTo
	if partial != nil {
		s.out.pushRest(partial)
	}
	s.allowLag()
}

// encodeHistory makes a history of the messages between two places, as a frame.
func encodeHistory(from, end broadcast.Cursor) []byte {
	// Its length is known when it is written: its header then goes right before it.
	b := make([]byte, maxHeader, historySize(from, end))
	b = append(b, `{"type":"history","commands":[`...)
	b = appendList(b, from, end, func(b, text []byte) []byte {
		kind, data := kindAndData(text)
		if isCommand(kind) {
			b = append(b, data...)
		}
		return b
	})
	b = append(b, `],"messages":[`...)
	b = appendList(b, from, end, func(b, text []byte) []byte { return append(b, text...) })
	b = strconv.AppendUint(append(b, `],"seq":`...), end.Seq(), 10)
	if from.Seq() > 0 {
		b = append(b, `,"truncated":true`...)
	}
	b = append(b, '}')
	n := len(b) - maxHeader
	begin := maxHeader - frame.HeaderSize(n)
	frame.AppendHeader(b[begin:begin], ws.OpText, n)
	return b[begin:]
}

// historySize returns how many bytes a history takes at most: each broadcast is
// in it twice if it is a command.
func historySize(from, end broadcast.Cursor) int {
	return maxHeader + len(historyFrame) + 2*int(end.Position()-from.Position())
}

// historyFrame is about as long as what a history has besides what it tells.
const historyFrame = `{"type":"history","commands":[],"messages":[],"seq":12345678901234567890,"truncated":true}`

// appendList appends what f appends for each message between two places, with
// commas between. Where it appends nothing there is no comma.
func appendList(b []byte, from, end broadcast.Cursor, f func(b, text []byte) []byte) []byte {
	first, n := len(b), 0
	for from.Position() < end.Position() {
		whole, isMessage := from.NextFrame()
		if !isMessage {
			continue
		}
		before := len(b)
		if before > first {
			b = append(b, ',')
		}
		separated := len(b)
		if b = f(b, frame.Payload(whole)); len(b) == separated {
			b = b[:before]
		}
		if n++; n%yieldEvery == 0 {
			runtime.Gosched() // workers that were woken go first
		}
	}
	return b
}

// kindAndData returns the two fields of a broadcast, as they were sent.
func kindAndData(text []byte) (kind, data json.RawMessage) {
	object, _ := strictjson.NewObject(text)
	var err error // it was checked when it came
	for m := range object.Members(&err) {
		switch i := indexOf(m.Name); {
		case i == 0:
			kind = m.Value
		case i == 1:
			data = m.Value
		}
	}
	return kind, data
}

// yieldEvery is after how many messages an encoder lets others run: some 50 us.
const yieldEvery = 128

// isCommand reports whether a message's type is "command", however it is
// written.
func isCommand(kind json.RawMessage) bool {
	if string(kind) == `"command"` { // as nearly everybody writes it
		return true
	}
	if !bytes.Contains(kind, []byte{'\\'}) {
		return false
	}
	var text string
	return json.Unmarshal(kind, &text) == nil && text == "command"
}
