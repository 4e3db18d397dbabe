package classroom

import (
	"bytes"
	"strconv"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub"
)

// The encodings of the stream, as indexes into the result of Encodings.
const (
	verbatim = iota // the bytes that the host sent
	numbered        // the same object with its number inserted as the first field
)

// Encodings returns the encodings verbatim and numbered.
func (*Dialect) Encodings() []hub.Encoding {
	return []hub.Encoding{
		verbatim: {Broadcast: appendVerbatim, Longer: maxHeader, History: framedHistory, HistorySize: historySize},
		numbered: {Broadcast: appendNumbered, Longer: maxHeader + len(`{"seq":,`) + 20, History: framedHistory, HistorySize: historySize, CountsViewers: true},
	}
}

// maxHeader is the length of the longest unmasked frame header (RFC 6455 5.2).
const maxHeader = 10

func appendVerbatim(b []byte, m hub.Broadcast) []byte {
	return frame.AppendFrame(b, ws.OpText, m.Payload)
}

// appendNumbered inserts the number as the first field. The message is a JSON
// object that is not empty, since it has a type.
func appendNumbered(b []byte, m hub.Broadcast) []byte {
	var room [len(`{"seq":,`) + 20]byte
	first := append(strconv.AppendUint(append(room[:0], `{"seq":`...), m.Seq, 10), ',')
	rest := m.Payload[bytes.IndexByte(m.Payload, '{')+1:]
	b = frame.AppendHeader(b, ws.OpText, len(first)+len(rest))
	return append(append(b, first...), rest...)
}
