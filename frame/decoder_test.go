package frame

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/gobwas/ws"
)

// A testFrame is what the pieces of one frame add up to.
type testFrame struct {
	Op      ws.OpCode
	Fin     bool
	Length  int64
	Payload string
	Whole   bool // all of it came
}

// decodeFrames feeds d and joins the pieces, checking that they fit together.
func decodeFrames(t *testing.T, d *Decoder, chunks ...[]byte) []testFrame {
	t.Helper()
	var frames []testFrame
	for _, chunk := range chunks {
		pieces := 0
		for p := range d.Feed(chunk) {
			pieces++
			if p.First {
				frames = append(frames, testFrame{Op: p.Op, Fin: p.Fin, Length: p.Length})
			}
			f := &frames[len(frames)-1]
			f.Payload += string(p.Payload)
			f.Whole = p.Last
			switch {
			case f.Op != p.Op || f.Fin != p.Fin || f.Length != p.Length:
				t.Fatalf("piece %+v in frame %+v", p, f)
			case p.Last != (int64(len(f.Payload)) == p.Length):
				t.Fatalf("Last is %v after %d bytes of %d", p.Last, len(f.Payload), p.Length)
			case len(p.Payload) == 0 && p.Length > 0:
				t.Fatalf("empty piece of a frame of %d bytes", p.Length)
			}
		}
		if pieces > len(chunk) {
			t.Fatalf("%d pieces of %d bytes", pieces, len(chunk))
		}
	}
	return frames
}

func TestDecoderFrames(t *testing.T) {
	long := strings.Repeat("x", 126)
	longer := strings.Repeat("y", 1<<16)
	tests := map[string]struct {
		stream []byte
		want   []testFrame
	}{
		"empty text":          {client(ws.OpText, final, ""), []testFrame{{ws.OpText, true, 0, "", true}}},
		"the RFC's Hello":     {client(ws.OpText, final, "Hello"), []testFrame{{ws.OpText, true, 5, "Hello", true}}},
		"length in 16 bits":   {client(ws.OpBinary, final, long), []testFrame{{ws.OpBinary, true, 126, long, true}}},
		"control at its size": {client(ws.OpPing, final, long[:125]), []testFrame{{ws.OpPing, true, 125, long[:125], true}}},
		"fragments, pings in between": {
			join(client(ws.OpText, more, "a"), client(ws.OpPing, final, "p"), client(ws.OpContinuation, more, ""),
				client(ws.OpPong, final, ""), client(ws.OpContinuation, final, "b"), client(ws.OpBinary, final, "c")),
			[]testFrame{
				{ws.OpText, false, 1, "a", true},
				{ws.OpPing, true, 1, "p", true},
				{ws.OpContinuation, false, 0, "", true},
				{ws.OpPong, true, 0, "", true},
				{ws.OpContinuation, true, 1, "b", true},
				{ws.OpBinary, true, 1, "c", true},
			},
		},
		"frames and half of one": {
			join(client(ws.OpText, final, "one"), client(ws.OpText, final, "two"), client(ws.OpText, final, "three")[:8]),
			[]testFrame{{ws.OpText, true, 3, "one", true}, {ws.OpText, true, 3, "two", true}, {ws.OpText, true, 5, "th", false}},
		},
		"frames and half a header": {
			join(client(ws.OpText, final, "one"), client(ws.OpBinary, final, long)[:5]),
			[]testFrame{{ws.OpText, true, 3, "one", true}},
		},
		"frames after a close": { // to stop there is the assembler's business
			join(client(ws.OpClose, final, ""), client(ws.OpText, final, "x")),
			[]testFrame{{ws.OpClose, true, 0, "", true}, {ws.OpText, true, 1, "x", true}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for cut, chunks := range everyCut(test.stream) {
				var d Decoder
				if diff := cmp.Diff(test.want, decodeFrames(t, &d, chunks...)); diff != "" || d.Err() != nil {
					t.Fatalf("%s: error %v, frames (-want +got):\n%s", cut, d.Err(), diff)
				}
				if idle := test.want[len(test.want)-1].Whole && name != "frames and half a header"; d.Idle() != idle {
					t.Fatalf("%s: Idle is %v", cut, d.Idle())
				}
			}
		})
	}
	t.Run("length in 64 bits", func(t *testing.T) {
		var d Decoder
		stream := client(ws.OpBinary, final, longer)
		got := decodeFrames(t, &d, stream[:5], stream[5:9], stream[9:20], stream[20:])
		if diff := cmp.Diff([]testFrame{{ws.OpBinary, true, 1 << 16, longer, true}}, got); diff != "" || d.Err() != nil {
			t.Fatalf("error %v, frames (-want +got):\n%s", d.Err(), diff)
		}
	})
}

// One frame in one chunk is one piece, which lies in the chunk.
func TestDecoderAliasesItsChunk(t *testing.T) {
	var d Decoder
	chunk := client(ws.OpText, final, "Hello")
	for p := range d.Feed(chunk) {
		if !p.First || !p.Last || unsafe.SliceData(p.Payload) != &chunk[6] || cap(p.Payload) != 5 {
			t.Errorf("piece %+v, capacity %d", p, cap(p.Payload))
		}
	}
}

func TestDecoderErrors(t *testing.T) {
	const protocol = ws.StatusProtocolError
	text, ping := byte(bitFin|ws.OpText), byte(bitFin|ws.OpPing)
	type test struct {
		stream []byte
		code   ws.StatusCode
		at     int // so many bytes of stream are enough
	}
	tests := map[string]test{
		"unmasked":                     {[]byte{text, 5}, protocol, 2},
		"unmasked, empty":              {[]byte{text, 0}, protocol, 2},
		"RSV1":                         {header(text|0x40, 1), protocol, 1},
		"RSV2":                         {header(text|0x20, 1), protocol, 1},
		"RSV3":                         {header(ping|0x10, 1), protocol, 1},
		"ping that is not final":       {header(byte(ws.OpPing), 1), protocol, 1},
		"close that is not final":      {header(byte(ws.OpClose), 1), protocol, 1},
		"ping of 126 bytes":            {header(ping, 126, 0, 126), protocol, 2},
		"ping of 2^16 bytes":           {header(ping, 127, 0, 0, 0, 0, 0, 1, 0, 0), protocol, 2},
		"continuation of nothing":      {client(ws.OpContinuation, final, ""), protocol, 1},
		"continuation after the final": {join(client(ws.OpText, more, ""), client(ws.OpContinuation, final, ""), client(ws.OpContinuation, final, "")), protocol, 13},
		"text within a text":           {join(client(ws.OpText, more, "a"), client(ws.OpText, final, "b")), protocol, 8},
		"binary after a ping within":   {join(client(ws.OpText, more, ""), client(ws.OpPing, final, ""), client(ws.OpBinary, final, "")), protocol, 13},
		"0 in 16 bits":                 {header(text, 126, 0, 0), protocol, 4},
		"125 in 16 bits":               {header(text, 126, 0, 125), protocol, 4},
		"1 in 64 bits":                 {header(text, 127, 0, 0, 0, 0, 0, 0, 0, 1), protocol, 10},
		"2^16-1 in 64 bits":            {header(text, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF), protocol, 10},
		"2^63 in 64 bits":              {header(text, 127, 0x80, 0, 0, 0, 0, 0, 0, 0), protocol, 10},
		"1 over the limit":             {header(text, 126, 0x04, 0x01), ws.StatusMessageTooBig, 4},
		"2^40":                         {header(text, 127, 0, 0, 1, 0, 0, 0, 0, 0), ws.StatusMessageTooBig, 10},
		"2^62":                         {header(text, 127, 0x40, 0, 0, 0, 0, 0, 0, 0), ws.StatusMessageTooBig, 10},
	}
	for op := range ws.OpCode(16) {
		if op.IsReserved() {
			tests[fmt.Sprintf("opcode %d", op)] = test{header(bitFin|byte(op), 1), protocol, 1}
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var reason string
			for cut, chunks := range everyCut(join(test.stream, client(ws.OpText, final, "never seen"))) {
				d := Decoder{MaxLength: 1024}
				for _, f := range decodeFrames(t, &d, chunks...) {
					if strings.Contains(f.Payload, "never") {
						t.Fatalf("%s: went on after the error", cut)
					}
				}
				if code := codeOf(t, d.Err()); code != test.code || d.Idle() {
					t.Fatalf("%s: error %v, want code %d; Idle %v", cut, d.Err(), test.code, d.Idle())
				}
				if reason == "" {
					reason = d.Err().Error()
				}
				if d.Err().Error() != reason {
					t.Fatalf("%s: %q, but whole %q", cut, d.Err(), reason)
				}
			}
			d := Decoder{MaxLength: 1024}
			decodeFrames(t, &d, join(test.stream)[:test.at-1])
			if d.Err() != nil {
				t.Errorf("error after %d bytes: %v", test.at-1, d.Err())
			}
			d = Decoder{MaxLength: 1024}
			decodeFrames(t, &d, join(test.stream)[:test.at])
			if d.Err() == nil {
				t.Errorf("no error after %d bytes", test.at)
			}
		})
	}
}

func TestDecoderMaxLength(t *testing.T) {
	tests := map[string]struct {
		limit int64
		frame []byte
		code  ws.StatusCode
	}{
		"at the limit":          {5, client(ws.OpText, final, "12345"), 0},
		"one over":              {5, client(ws.OpText, final, "123456"), ws.StatusMessageTooBig},
		"control frames go by":  {5, client(ws.OpPing, final, "123456"), 0},
		"negative, empty":       {-1, client(ws.OpText, final, ""), 0},
		"negative, one byte":    {-1, client(ws.OpText, final, "1"), ws.StatusMessageTooBig},
		"none, the longest":     {0, header(bitFin|2, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF), 0},
		"2^63-1, as long":       {math.MaxInt64, header(bitFin|2, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF), 0},
		"2^63-2, one more byte": {math.MaxInt64 - 1, header(bitFin|2, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF), ws.StatusMessageTooBig},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := Decoder{MaxLength: test.limit}
			decodeFrames(t, &d, test.frame)
			if code := codeOf(t, d.Err()); code != test.code {
				t.Errorf("error %v, want code %d", d.Err(), test.code)
			}
		})
	}
}

// An endless payload goes through without being kept.
func TestDecoderPassesLongPayloads(t *testing.T) {
	var d Decoder
	decodeFrames(t, &d, header(bitFin|2, 127, 0x40, 0, 0, 0, 0, 0, 0, 0))
	chunk := make([]byte, 1000)
	for i := range 100 {
		clear(chunk)
		n := 0
		for p := range d.Feed(chunk) {
			n++
			if p.First != (i == 0) || p.Last || len(p.Payload) != 1000 || p.Payload[1] != testMask[1] {
				t.Fatalf("chunk %d: piece First %v, Last %v, %d bytes", i, p.First, p.Last, len(p.Payload))
			}
		}
		if n != 1 {
			t.Fatalf("chunk %d: %d pieces", i, n)
		}
	}
}

func TestDecoderDoesNotAllocate(t *testing.T) {
	var d Decoder
	stream := join(AppendMasked(nil, ws.OpText, more, [4]byte{}, []byte("one")), AppendMasked(nil, ws.OpPing, final, [4]byte{}, nil),
		AppendMasked(nil, ws.OpContinuation, final, [4]byte{}, make([]byte, 70000)))
	seen := 0
	allocs := testing.AllocsPerRun(100, func() {
		for _, part := range [][]byte{stream[:4], stream[4:30], stream[30:]} {
			for p := range d.Feed(part) {
				seen += len(p.Payload)
			}
		}
	})
	if allocs != 0 || d.Err() != nil || seen != 101*70003 {
		t.Errorf("%v allocations for three frames, error %v, %d bytes seen", allocs, d.Err(), seen)
	}
}

func TestDecoderSize(t *testing.T) {
	if size := unsafe.Sizeof(Decoder{}); size > 80 {
		t.Errorf("a Decoder has %d bytes", size)
	}
}

func TestDecoderLeftLoop(t *testing.T) {
	var d Decoder
	for range d.Feed(join(client(ws.OpText, final, "a"), client(ws.OpText, final, "b"))) {
		break
	}
	if d.Err() != nil {
		t.Errorf("leaving the loop is an error: %v", d.Err())
	}
}

// The order of a Decoder's errors does not depend on the cut even where a
// header has several faults.
func TestDecoderJudgesBytesInOrder(t *testing.T) {
	var whole, cut Decoder
	stream := []byte{byte(ws.OpPing) | 0x40, 126, 0, 1} // not final, RSV1, unmasked, too long, not minimal
	decodeFrames(t, &whole, join(stream))
	decodeFrames(t, &cut, stream[:1], stream[1:])
	if whole.Err().Error() != cut.Err().Error() {
		t.Errorf("whole %q, cut %q", whole.Err(), cut.Err())
	}
}
