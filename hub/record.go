package hub

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// In a room whose history the relay keeps, the Log is the record. What it still
// holds is encoded as one message for all who ask within freshFor, and each of
// them goes on live from the place up to which it tells.

// freshFor is how long an encoded history serves those who ask.
const freshFor = time.Second

// A record is a room's history as it was lately encoded.
type record struct {
	mu      sync.Mutex // held while it is encoded, so that this is done once
	history []byte     // guarded by mu; a frame, nil if there is none
	upTo    broadcast.Cursor
	forget  *time.Timer
}

// tellHistory gives a viewer the relay's record, and then the Log from its end.
// It is called by the viewer's worker.
func (r *Room) tellHistory(s *Session) {
	history, upTo := r.encodedHistory(s.cursor.Position())
	s.spliceHistory(history, upTo)
}

// spliceHistory queues a history and moves the session to the place up to which
// it tells, once the frame that it is in the middle of has gone out.
func (s *Session) spliceHistory(history []byte, upTo broadcast.Cursor) {
	half := s.cursor.Rest()
	s.cursor = upTo
	s.push(private{frame: history, place: upTo.Position()})
	if half != nil {
		s.out.pushRest(half)
	}
}

// encodedHistory returns a history that reaches at least to position.
func (r *Room) encodedHistory(position uint64) (history []byte, upTo broadcast.Cursor) {
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	c := &r.record
	if c.history == nil || c.upTo.Position() < position {
		r.mu.Lock()
		from, end := r.log.Oldest(), r.log.End()
		r.mu.Unlock()
		c.history, c.upTo = encodeHistory(from, end), end
		if c.forget != nil {
			c.forget.Stop()
		}
		c.forget = time.AfterFunc(freshFor, c.drop)
	}
	return c.history, c.upTo
}

// drop gives the memory back.
func (c *record) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history, c.upTo = nil, broadcast.Cursor{}
}

// encodeHistory makes a history of the messages between two places.
func encodeHistory(from, end broadcast.Cursor) []byte {
	var commands, messages []byte
	truncated := from.Seq() > 0
	for from.Position() < end.Position() {
		whole, isMessage := from.NextFrame()
		if !isMessage {
			continue
		}
		text := frame.Payload(whole)
		messages = append(append(messages, ','), text...)
		var m map[string]json.RawMessage
		if json.Unmarshal(text, &m) == nil && isCommand(m["type"]) {
			commands = append(append(commands, ','), m["data"]...)
		}
	}
	b := append([]byte(`{"type":"history","commands":[`), withoutComma(commands)...)
	b = append(append(b, `],"messages":[`...), withoutComma(messages)...)
	b = strconv.AppendUint(append(b, `],"seq":`...), end.Seq(), 10)
	if truncated {
		b = append(b, `,"truncated":true`...)
	}
	return frame.AppendFrame(nil, ws.OpText, append(b, '}'))
}

// isCommand reports whether a message's type is "command", however it is
// written.
func isCommand(kind json.RawMessage) bool {
	var text string
	return json.Unmarshal(kind, &text) == nil && text == "command"
}

func withoutComma(list []byte) []byte {
	if len(list) == 0 {
		return nil
	}
	return list[1:]
}
