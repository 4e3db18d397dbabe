package frame

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gobwas/ws"
)

// streamSeeds are streams of frames, good and bad, for the fuzzers.
func streamSeeds() [][]byte {
	long := strings.Repeat("long ", 40)
	return [][]byte{
		nil,
		client(ws.OpText, final, "Hello"),
		join(client(ws.OpText, more, "a\xe2\x82"), client(ws.OpPing, final, "p"), client(ws.OpContinuation, final, "\xac")),
		join(client(ws.OpBinary, final, long), client(ws.OpText, final, ""), client(ws.OpClose, final, "\x03\xe8bye")),
		join(client(ws.OpText, more, long), client(ws.OpContinuation, more, long), client(ws.OpContinuation, final, "x")),
		join(client(ws.OpText, more, "\xf4\x8f"), client(ws.OpContinuation, final, "\x90")),
		header(bitFin|2, 126, 0, 125),
		header(bitFin|2, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF),
		header(bitFin|2, 127, 0x40, 0, 0, 0, 0, 0, 0, 0),
		client(ws.OpClose, final, "\x03\xed"),
		{0x81, 0x05, 'H'},
		{0xF3, 0xFF},
	}
}

func FuzzDecoder(f *testing.F) {
	for _, stream := range streamSeeds() {
		f.Add(stream, []byte{0}, int64(0))
		f.Add(stream, []byte{2, 0, 6}, int64(100))
	}
	f.Fuzz(func(t *testing.T, stream, how []byte, limit int64) {
		whole, cut := Decoder{MaxLength: limit}, Decoder{MaxLength: limit}
		want := decodeFrames(t, &whole, bytes.Clone(stream))
		got := decodeFrames(t, &cut, cutLike(stream, how)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("frames (-whole +cut):\n%s", diff)
		}
		if codeOf(t, whole.Err()) != codeOf(t, cut.Err()) || whole.Err() != nil && whole.Err().Error() != cut.Err().Error() {
			t.Fatalf("whole %v, cut %v", whole.Err(), cut.Err())
		}
		if whole.Idle() != cut.Idle() {
			t.Fatalf("Idle: whole %v, cut %v", whole.Idle(), cut.Idle())
		}
	})
}

func FuzzAssembler(f *testing.F) {
	for _, stream := range streamSeeds() {
		f.Add(stream, []byte{0}, uint8(0))
		f.Add(stream, []byte{2, 0, 6}, uint8(20))
	}
	f.Fuzz(func(t *testing.T, stream, how []byte, limit uint8) {
		a := Assembler{Limit: int(limit)}
		got := assemble(t, &a, cutLike(stream, how)...)
		want, code := naiveMessages(stream, int(limit))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("messages (-naive +got):\n%s", diff)
		}
		if got := codeOf(t, a.Err()); got != code {
			t.Fatalf("error %v, naive code %d", a.Err(), code)
		}
	})
}

// naiveMessages is the Assembler's twin: it has the whole stream before it, and
// keeps what it likes.
func naiveMessages(stream []byte, limit int) (messages []testMessage, code ws.StatusCode) {
	if limit == 0 {
		limit = DefaultLimit
	}
	var op ws.OpCode // of the message under way
	var message []byte
	var declared uint64
	for {
		h, size, code := naiveHeader(stream, op != 0)
		if code != 0 {
			return messages, code
		}
		if h.OpCode.IsData() && size > 0 && uint64(h.Length)+declared > uint64(FarTooLarge*limit) {
			return messages, ws.StatusMessageTooBig
		}
		if size < 0 || len(stream) < size {
			return messages, 0
		}
		rest := stream[size:]
		payload := bytes.Clone(rest[:min(int64(len(rest)), h.Length)])
		for i := range payload {
			payload[i] ^= stream[size-4+i%4]
		}
		cut := int64(len(rest)) < h.Length
		stream = rest[len(payload):]

		switch {
		case h.OpCode.IsControl() && cut:
			return messages, 0
		case h.OpCode == ws.OpClose:
			if code := naiveClose(payload); code != 0 {
				return messages, code
			}
			return append(messages, testMessage{ws.OpClose, string(payload), false}), 0
		case h.OpCode.IsControl():
			messages = append(messages, testMessage{h.OpCode, string(payload), false})
			continue
		case h.OpCode != ws.OpContinuation:
			op, message, declared = h.OpCode, nil, 0
		}
		message = append(message, payload...)
		declared += uint64(h.Length)
		end := h.Fin && !cut
		if op == ws.OpText && (!canGoOn(message) || end && !utf8.Valid(message)) {
			return messages, ws.StatusInvalidFramePayloadData
		}
		switch {
		case cut:
			return messages, 0
		case end && len(message) > limit:
			messages = append(messages, testMessage{op, "", true})
		case end:
			messages = append(messages, testMessage{op, string(message), false})
		}
		if end {
			op, declared = 0, 0
		}
	}
}

// naiveHeader reads a header as the RFC's 5.2 draws it. Its size is -1 if
// stream ends before the length, and counts the mask, which may be missing.
func naiveHeader(stream []byte, fragmented bool) (h ws.Header, size int, code ws.StatusCode) {
	if len(stream) == 0 {
		return h, -1, 0
	}
	first := stream[0]
	h.Fin, h.OpCode = first >= 0x80, ws.OpCode(first%16)
	known := []ws.OpCode{ws.OpContinuation, ws.OpText, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpPong}
	switch {
	case first&0x70 != 0, !slices.Contains(known, h.OpCode), h.OpCode >= 8 && !h.Fin,
		h.OpCode == 0 && !fragmented, (h.OpCode == 1 || h.OpCode == 2) && fragmented:
		return h, -1, ws.StatusProtocolError
	case len(stream) == 1:
		return h, -1, 0
	}
	short := stream[1] % 128
	if stream[1] < 128 || h.OpCode >= 8 && short > 125 {
		return h, -1, ws.StatusProtocolError
	}
	long, least := map[byte]int{126: 2, 127: 8}[short], map[byte]uint64{126: 126, 127: 1 << 16}[short]
	if len(stream) < 2+long {
		return h, -1, 0
	}
	length := uint64(short)
	if long > 0 {
		length = binary.BigEndian.Uint64(append(make([]byte, 8-long), stream[2:2+long]...))
	}
	if length < least || length >= 1<<63 {
		return h, -1, ws.StatusProtocolError
	}
	h.Length = int64(length)
	return h, 2 + long + 4, 0
}

func naiveClose(payload []byte) ws.StatusCode {
	switch {
	case len(payload) == 0:
		return 0
	case len(payload) == 1, !registered(int(payload[0])<<8 | int(payload[1])):
		return ws.StatusProtocolError
	case !utf8.Valid(payload[2:]):
		return ws.StatusInvalidFramePayloadData
	}
	return 0
}
