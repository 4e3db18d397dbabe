package classroom

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strconv"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
	"lectern/hub/strictjson"
)

// framedHistory returns a frame with the history of the messages between two
// places in the record.
func framedHistory(_ string, from, end broadcast.Cursor) []byte {
	// Leave room for the header, whose size is known only when the payload is
	// complete. The header then goes directly before the payload.
	b := appendHistory(make([]byte, maxHeader, historySize(from, end)), from, end)
	n := len(b) - maxHeader
	begin := maxHeader - frame.HeaderSize(n)
	frame.AppendHeader(b[begin:begin], ws.OpText, n)
	return b[begin:]
}

// appendHistory appends the history of the messages between two places in the
// record.
func appendHistory(b []byte, from, end broadcast.Cursor) []byte {
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
	return append(b, '}')
}

// historySize returns an upper bound of the size of a history in bytes. A
// command is in it twice.
func historySize(from, end broadcast.Cursor) int {
	return maxHeader + len(historyFrame) + 2*int(end.Position()-from.Position())
}

// historyFrame is as long as everything in a history apart from its messages.
const historyFrame = `{"type":"history","commands":[],"messages":[],"seq":12345678901234567890,"truncated":true}`

// appendList appends what f appends for each message between two places,
// separated by commas. If f appends nothing for a message, there is no comma
// either.
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
			runtime.Gosched() // let workers that have something to do go first
		}
	}
	return b
}

// kindAndData returns the fields type and data of a broadcast, as they were
// sent.
func kindAndData(text []byte) (kind, data json.RawMessage) {
	object, _ := strictjson.NewObject(text)
	var err error // stays nil: the message was checked when it arrived
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

// yieldEvery is how many messages an encoder handles before it lets other
// goroutines run: some 50 us.
const yieldEvery = 128

// isCommand reports whether a message's type is "command", in whatever JSON
// spelling.
func isCommand(kind json.RawMessage) bool {
	if string(kind) == `"command"` { // the common spelling
		return true
	}
	if !bytes.Contains(kind, []byte{'\\'}) {
		return false
	}
	var text string
	return json.Unmarshal(kind, &text) == nil && text == "command"
}
