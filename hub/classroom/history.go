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
