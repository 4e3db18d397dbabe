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
	deflated        // to add to one of those: the same text, compressed (RFC 7692)
)

// Encodings returns the encodings verbatim and numbered, as they are and
// compressed.
func (*Dialect) Encodings() []hub.Encoding {
	return []hub.Encoding{
		verbatim: {Broadcast: appendVerbatim, Longer: maxHeader, History: framedHistory, HistorySize: historySize},
		numbered: {Broadcast: appendNumbered, Longer: maxHeader + maxNumber, CountsViewers: true},
		deflated + verbatim: {
			Broadcast: appendDeflated, Longer: maxHeader + frame.StoredOverhead + maxLead,
			Prepare: deflate, Pack: deflateHistory,
		},
		deflated + numbered: {
			Broadcast: appendNumberedDeflated, Longer: maxHeader + frame.StoredOverhead + maxNumber, CountsViewers: true,
			Prepare: deflate, Pack: deflateHistory,
		},
	}
}

const (
	// maxHeader is the length of the longest unmasked frame header (RFC 6455 5.2).
	maxHeader = 10
	// maxNumber is the length of the longest numberText.
	maxNumber = len(`{"seq":,`) + 20
	// maxLead is how many bytes of a broadcast may come before its object's first
	// field for it to be compressed. That is one byte, unless the host sends white
	// space.
	maxLead = 64
)

func appendVerbatim(b []byte, m hub.Broadcast) []byte {
	return frame.AppendFrame(b, ws.OpText, m.Payload)
}

// appendNumbered inserts the number as the first field. The message is a JSON
// object that is not empty, since it has a type.
func appendNumbered(b []byte, m hub.Broadcast) []byte {
	var room [maxNumber]byte
	first, rest := numberText(room[:0], m.Seq), m.Payload[lead(m.Payload):]
	b = frame.AppendHeader(b, ws.OpText, len(first)+len(rest))
	return append(append(b, first...), rest...)
}

// numberText appends the beginning of a numbered message.
func numberText(b []byte, seq uint64) []byte {
	return append(strconv.AppendUint(append(b, `{"seq":`...), seq, 10), ',')
}

// lead returns the length of what comes before the first field of an object.
func lead(payload []byte) int { return bytes.IndexByte(payload, '{') + 1 }

// The compressed encodings differ in what comes before the object's first field.
// It stands in a block that is not compressed, which costs frame.StoredOverhead.
// The rest is compressed once for both, before the room's lock is taken and the
// number is known.

// deflate compresses what follows a message's lead. It returns nil if the message
// does not become shorter.
func deflate(payload []byte, d *frame.Deflater) []byte {
	n := lead(payload)
	if n > maxLead {
		return nil
	}
	rest := d.Append(make([]byte, 0, len(payload)/2), payload[n:])
	if len(rest)+frame.StoredOverhead >= len(payload)-n {
		return nil
	}
	return rest
}

func appendDeflated(b []byte, m hub.Broadcast) []byte {
	if m.Prepared == nil {
		return appendVerbatim(b, m)
	}
	return appendCompressed(b, m.Payload[:lead(m.Payload)], m.Prepared)
}

func appendNumberedDeflated(b []byte, m hub.Broadcast) []byte {
	if m.Prepared == nil {
		return appendNumbered(b, m)
	}
	var room [maxNumber]byte
	return appendCompressed(b, numberText(room[:0], m.Seq), m.Prepared)
}

// appendCompressed appends a compressed message that begins with first.
func appendCompressed(b, first, rest []byte) []byte {
	b = frame.AppendCompressedHeader(b, ws.OpText, frame.StoredOverhead+len(first)+len(rest))
	return append(frame.AppendStored(b, first), rest...)
}

// deflateHistory compresses the frame of a history.
func deflateHistory(history []byte, d *frame.Deflater) []byte {
	text := frame.Payload(history)
	b := d.Append(make([]byte, maxHeader, maxHeader+len(text)/4), text)
	if n := len(b) - maxHeader; n < len(text) {
		begin := maxHeader - frame.HeaderSize(n)
		frame.AppendCompressedHeader(b[begin:begin], ws.OpText, n)
		return b[begin:]
	}
	return history
}
