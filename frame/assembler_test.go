package frame

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/gobwas/ws"
)

// A testMessage is a Message that may be kept.
type testMessage struct {
	Op       ws.OpCode
	Payload  string
	TooLarge bool
}

// assemble feeds a and copies the messages. What came is overwritten after each
// round of the loop, as a caller's buffer would be.
func assemble(t *testing.T, a *Assembler, chunks ...[]byte) []testMessage {
	t.Helper()
	var messages []testMessage
	for _, chunk := range chunks {
		for m := range a.Feed(chunk) {
			if m.TooLarge && m.Payload != nil {
				t.Fatalf("payload of %d bytes in a message that is too large", len(m.Payload))
			}
			messages = append(messages, testMessage{m.Op, string(m.Payload), m.TooLarge})
			for i := range m.Payload {
				m.Payload[i] = '#'
			}
		}
	}
	return messages
}

func TestAssemblerMessages(t *testing.T) {
	tests := map[string]struct {
		stream []byte
		want   []testMessage
		code   ws.StatusCode
	}{
		"text":         {client(ws.OpText, final, "Hello"), []testMessage{{ws.OpText, "Hello", false}}, 0},
		"empty binary": {client(ws.OpBinary, final, ""), []testMessage{{ws.OpBinary, "", false}}, 0},
		"several": {
			join(client(ws.OpText, final, "one"), client(ws.OpBinary, final, "\xff"), client(ws.OpPong, final, ""), client(ws.OpText, final, "two")),
			[]testMessage{{ws.OpText, "one", false}, {ws.OpBinary, "\xff", false}, {ws.OpPong, "", false}, {ws.OpText, "two", false}}, 0,
		},
		"fragments, pings in between": {
			join(client(ws.OpText, more, "fra"), client(ws.OpPing, final, "11"), client(ws.OpContinuation, more, ""),
				client(ws.OpPing, final, "22"), client(ws.OpContinuation, more, "gmen"), client(ws.OpContinuation, final, "ts"), client(ws.OpText, final, "next")),
			[]testMessage{{ws.OpPing, "11", false}, {ws.OpPing, "22", false}, {ws.OpText, "fragments", false}, {ws.OpText, "next", false}}, 0,
		},
		"fragments, all empty": {
			join(client(ws.OpBinary, more, ""), client(ws.OpContinuation, more, ""), client(ws.OpContinuation, final, "")),
			[]testMessage{{ws.OpBinary, "", false}}, 0,
		},
		"a character cut over fragments": {
			join(client(ws.OpText, more, "\xf0\x9f"), client(ws.OpPing, final, "\xff"), client(ws.OpContinuation, more, "\x98"), client(ws.OpContinuation, final, "\x80!")),
			[]testMessage{{ws.OpPing, "\xff", false}, {ws.OpText, "\U0001f600!", false}}, 0,
		},
		"bad text": {
			join(client(ws.OpText, final, "ok"), client(ws.OpText, final, "b\xffad"), client(ws.OpText, final, "late")),
			[]testMessage{{ws.OpText, "ok", false}}, ws.StatusInvalidFramePayloadData,
		},
		"bad text in the second fragment": {
			join(client(ws.OpText, more, "a\xe2"), client(ws.OpContinuation, more, "\x28"), client(ws.OpPing, final, "late")),
			nil, ws.StatusInvalidFramePayloadData,
		},
		"text cut in a character":             {client(ws.OpText, final, "a\xe2\x82"), nil, ws.StatusInvalidFramePayloadData},
		"cut character before an empty final": {join(client(ws.OpText, more, "a\xe2\x82"), client(ws.OpContinuation, final, "")), nil, ws.StatusInvalidFramePayloadData},
		"a cut character ends with its message": {
			join(client(ws.OpText, more, "\xe2"), client(ws.OpContinuation, final, "\x82\xac"), client(ws.OpText, final, "\xac")),
			[]testMessage{{ws.OpText, "\u20ac", false}}, ws.StatusInvalidFramePayloadData,
		},
		"binary need not be UTF-8": {join(client(ws.OpBinary, more, "\xff"), client(ws.OpContinuation, final, "\xe2")), []testMessage{{ws.OpBinary, "\xff\xe2", false}}, 0},
		"close, then anything":     {join(client(ws.OpClose, final, "\x03\xe8bye"), []byte{0xFF, 0xFF}, client(ws.OpText, final, "late")), []testMessage{{ws.OpClose, "\x03\xe8bye", false}}, 0},
		"close without code":       {client(ws.OpClose, final, ""), []testMessage{{ws.OpClose, "", false}}, 0},
		"close within a message":   {join(client(ws.OpText, more, "a"), client(ws.OpClose, final, "\x0f\xa0")), []testMessage{{ws.OpClose, "\x0f\xa0", false}}, 0},
		"close with half a code":   {client(ws.OpClose, final, "\x03"), nil, ws.StatusProtocolError},
		"close with 1005":          {client(ws.OpClose, final, "\x03\xed"), nil, ws.StatusProtocolError},
		"close with 1012":          {client(ws.OpClose, final, "\x03\xf4"), []testMessage{{ws.OpClose, "\x03\xf4", false}}, 0},
		"close with a bad reason":  {client(ws.OpClose, final, "\x03\xe8\xe2\x82"), nil, ws.StatusInvalidFramePayloadData},
		"error of a frame":         {join(client(ws.OpText, final, "ok"), client(ws.OpContinuation, final, "")), []testMessage{{ws.OpText, "ok", false}}, ws.StatusProtocolError},
		"pings at their size":      {client(ws.OpPing, final, strings.Repeat("p", 125)), []testMessage{{ws.OpPing, strings.Repeat("p", 125), false}}, 0},
		"half a message":           {client(ws.OpText, final, "half")[:8], nil, 0},
		"half a fragmented message": {
			join(client(ws.OpText, more, "ha"), client(ws.OpContinuation, more, "lf")), nil, 0,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var reason string
			for cut, chunks := range everyCut(test.stream) {
				var a Assembler
				if diff := cmp.Diff(test.want, assemble(t, &a, chunks...)); diff != "" {
					t.Fatalf("%s: messages (-want +got):\n%s", cut, diff)
				}
				if code := codeOf(t, a.Err()); code != test.code {
					t.Fatalf("%s: error %v, want code %d", cut, a.Err(), test.code)
				}
				if idle := test.code == 0 && !strings.HasPrefix(name, "close") && !strings.HasPrefix(name, "half"); a.Idle() != idle {
					t.Fatalf("%s: Idle is %v", cut, a.Idle())
				}
				if a.Err() != nil && reason == "" {
					reason = a.Err().Error()
				}
				if a.Err() != nil && a.Err().Error() != reason {
					t.Fatalf("%s: %q, but whole %q", cut, a.Err(), reason)
				}
			}
		})
	}
}

// Text fails at its first bad byte, wherever fragments and chunks end.
func TestAssemblerFailsAtFirstBadByte(t *testing.T) {
	const good, bad = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x8f", "\x90" // no: U+110000 would be f4 90
	texts := map[string]struct {
		text string
		bad  int
	}{
		"beyond U+10FFFF": {"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80edited", 8},
		"surrogate":       {"ok\xed\xa0\x80", 3},
		"bad third byte":  {"ok\xe2\x82z", 4},
		"late":            {strings.Repeat("x", 100) + "\xff" + strings.Repeat("x", 20), 100},
		"late in a rune":  {good + bad + "\x41\x41", 14},
	}
	for name, test := range texts {
		t.Run(name, func(t *testing.T) {
			for split := range len(test.text) {
				stream := join(client(ws.OpText, more, test.text[:split]), client(ws.OpContinuation, more, test.text[split:]))
				// The bad byte's place in the stream: behind one header or two.
				at := 6 + test.bad
				if split <= test.bad {
					at += 6
				}
				var a Assembler
				assemble(t, &a, join(stream)[:at])
				if a.Err() != nil {
					t.Fatalf("split at %d: refused the %d bytes before the bad one", split, test.bad)
				}
				var b Assembler
				assemble(t, &b, join(stream)[:at+1])
				if codeOf(t, b.Err()) != ws.StatusInvalidFramePayloadData {
					t.Fatalf("split at %d: the bad byte passed", split)
				}
			}
		})
	}
}

func TestAssemblerLimits(t *testing.T) {
	const limit = 10
	text := func(n int) string { return strings.Repeat("t", n) }
	bin := byte(bitFin | ws.OpBinary)
	tests := map[string]struct {
		stream []byte
		want   []testMessage
		code   ws.StatusCode
	}{
		"at the limit": {client(ws.OpText, final, text(10)), []testMessage{{ws.OpText, text(10), false}}, 0},
		"one over":     {client(ws.OpText, final, text(11)), []testMessage{{ws.OpText, "", true}}, 0},
		"next after one over": {
			join(client(ws.OpBinary, final, text(11)), client(ws.OpText, final, "x")),
			[]testMessage{{ws.OpBinary, "", true}, {ws.OpText, "x", false}}, 0,
		},
		"fragments at the limit": {
			join(client(ws.OpText, more, text(4)), client(ws.OpContinuation, more, text(6)), client(ws.OpContinuation, final, "")),
			[]testMessage{{ws.OpText, text(10), false}}, 0,
		},
		"fragments one over, a ping between": {
			join(client(ws.OpText, more, text(10)), client(ws.OpContinuation, more, "x"), client(ws.OpPing, final, text(100)), client(ws.OpContinuation, final, "x")),
			[]testMessage{{ws.OpPing, text(100), false}, {ws.OpText, "", true}}, 0,
		},
		"skipped text is checked":         {client(ws.OpText, final, text(11)+"\xff"), nil, ws.StatusInvalidFramePayloadData},
		"skipped text is checked to end":  {client(ws.OpText, final, text(11)+"\xc3"), nil, ws.StatusInvalidFramePayloadData},
		"skipped binary is not":           {client(ws.OpBinary, final, text(11)+"\xff"), []testMessage{{ws.OpBinary, "", true}}, 0},
		"at 16 times":                     {client(ws.OpText, final, text(160)), []testMessage{{ws.OpText, "", true}}, 0},
		"over 16 times":                   {header(bin, 126, 0, 161), nil, ws.StatusMessageTooBig},
		"2^62":                            {header(bin, 127, 0x40, 0, 0, 0, 0, 0, 0, 0), nil, ws.StatusMessageTooBig},
		"fragments at 16 times":           {join(client(ws.OpText, more, text(120)), client(ws.OpContinuation, more, text(40)), client(ws.OpContinuation, final, "")), []testMessage{{ws.OpText, "", true}}, 0},
		"fragments over 16 times":         {join(client(ws.OpText, more, text(120)), header(bitFin, 41)), nil, ws.StatusMessageTooBig},
		"fragments one byte over":         {join(client(ws.OpText, more, text(120)), client(ws.OpContinuation, more, text(40)), header(bitFin, 1)), nil, ws.StatusMessageTooBig},
		"the sum begins anew":             {join(client(ws.OpText, final, text(160)), client(ws.OpText, final, text(160))), []testMessage{{ws.OpText, "", true}, {ws.OpText, "", true}}, 0},
		"a ping within keeps the sum":     {join(client(ws.OpText, more, text(160)), client(ws.OpPing, final, ""), header(bitFin, 1)), []testMessage{{ws.OpPing, "", false}}, ws.StatusMessageTooBig},
		"pings have no part in the limit": {client(ws.OpPing, final, text(11)), []testMessage{{ws.OpPing, text(11), false}}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for cut, chunks := range everyCut(test.stream) {
				a := Assembler{Limit: limit}
				if diff := cmp.Diff(test.want, assemble(t, &a, chunks...)); diff != "" {
					t.Fatalf("%s: messages (-want +got):\n%s", cut, diff)
				}
				if code := codeOf(t, a.Err()); code != test.code {
					t.Fatalf("%s: error %v, want code %d", cut, a.Err(), test.code)
				}
			}
		})
	}
}

// What is far too large is told in terms of the message, however it was cut
// into frames.
func TestAssemblerNamesTheMessage(t *testing.T) {
	const bin = bitFin | byte(ws.OpBinary)
	text := func(n int) string { return strings.Repeat("x", n) }
	tests := map[string]struct {
		stream []byte
		size   string
	}{
		"one frame":            {header(bin, 126, 0, 161), "161"},
		"fragments":            {join(client(ws.OpText, more, text(120)), header(bitFin, 41)), "161"},
		"a small fragment":     {join(client(ws.OpText, more, text(160)), header(bitFin, 1)), "161"},
		"after another":        {join(client(ws.OpText, final, text(160)), header(bin, 126, 0, 200)), "200"},
		"after fragments":      {join(client(ws.OpText, more, text(9)), client(ws.OpContinuation, final, "x"), header(bin, 126, 1, 0)), "256"},
		"the largest declared": {join(client(ws.OpText, more, text(160)), header(bitFin, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)), "9223372036854775967"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for cut, chunks := range everyCut(test.stream) {
				a := Assembler{Limit: 10}
				assemble(t, &a, chunks...)
				var e *Error
				want := "message of at least " + test.size + " bytes, over 16 times the limit of 10"
				if !errors.As(a.Err(), &e) || e.Reason != want || len(e.Reason) > maxReason {
					t.Fatalf("%s: error %v, want %q", cut, a.Err(), want)
				}
			}
		})
	}
}

func TestAssemblerDefaultLimit(t *testing.T) {
	for size, tooLarge := range map[int]bool{DefaultLimit: false, DefaultLimit + 1: true} {
		var a Assembler
		got := assemble(t, &a, client(ws.OpBinary, final, strings.Repeat("x", size)))
		if len(got) != 1 || got[0].TooLarge != tooLarge || a.Err() != nil {
			t.Errorf("%d bytes: %d messages, error %v", size, len(got), a.Err())
		}
	}
	a := Assembler{Limit: 1 << 59} // times 16 it would overflow
	if assemble(t, &a, header(bitFin|2, 127, 0x7F, 0, 0, 0, 0, 0, 0, 0)); a.Err() != nil {
		t.Error(a.Err())
	}
}

func TestAssemblerLimitChangedBetweenMessages(t *testing.T) {
	a := Assembler{Limit: 2}
	stream := join(client(ws.OpText, final, "1234"), client(ws.OpText, more, "12"), client(ws.OpContinuation, final, "34"), client(ws.OpText, final, "12345"))
	var got []testMessage
	for m := range a.Feed(stream) {
		got = append(got, testMessage{m.Op, string(m.Payload), m.TooLarge})
		a.Limit = 4
	}
	want := []testMessage{{ws.OpText, "", true}, {ws.OpText, "1234", false}, {ws.OpText, "", true}}
	if diff := cmp.Diff(want, got); diff != "" || a.Err() != nil {
		t.Errorf("within one chunk: error %v, messages (-want +got):\n%s", a.Err(), diff)
	}

	a = Assembler{Limit: 4}
	got = assemble(t, &a, client(ws.OpText, more, "12"))
	a.Limit = 1 // not for the message under way
	got = append(got, assemble(t, &a, join(client(ws.OpContinuation, final, "34"), client(ws.OpText, final, "12")))...)
	want = []testMessage{{ws.OpText, "1234", false}, {ws.OpText, "", true}}
	if diff := cmp.Diff(want, got); diff != "" || a.Err() != nil {
		t.Errorf("within a message: error %v, messages (-want +got):\n%s", a.Err(), diff)
	}
}

func TestAssemblerAliasesItsChunk(t *testing.T) {
	var a Assembler
	chunk := join(client(ws.OpText, final, "Hello"), client(ws.OpPing, final, "p"))
	at := []int{6, 17}
	for m := range a.Feed(chunk) {
		if unsafe.SliceData(m.Payload) != &chunk[at[0]] {
			t.Errorf("message %q was copied", m.Payload)
		}
		at = at[1:]
	}
}

func TestAssemblerLeftLoop(t *testing.T) {
	var a Assembler
	for range a.Feed(join(client(ws.OpText, final, "a"), client(ws.OpText, final, "b"))) {
		break
	}
	a.Reset()
	if got := assemble(t, &a, client(ws.OpText, final, "c")); len(got) != 1 || got[0].Payload != "c" {
		t.Errorf("after Reset: %v, error %v", got, a.Err())
	}
}

func TestAssemblerReset(t *testing.T) {
	states := map[string][]byte{
		"new":             nil,
		"in a header":     client(ws.OpText, final, "abc")[:3],
		"in a payload":    client(ws.OpText, final, "abc")[:8],
		"in a character":  client(ws.OpText, more, "\xe2\x82"),
		"in a ping":       client(ws.OpPing, final, "abc")[:8],
		"after an error":  {0xFF},
		"after a close":   client(ws.OpClose, final, ""),
		"in a skipped":    client(ws.OpText, more, "12345"),
		"in far too much": join(client(ws.OpText, more, strings.Repeat("x", 64)), client(ws.OpPing, final, "")),
	}
	stream := join(client(ws.OpText, more, "\u20ac"), client(ws.OpPing, final, "p"), client(ws.OpContinuation, final, "x"), client(ws.OpClose, final, ""))
	want := []testMessage{{ws.OpPing, "p", false}, {ws.OpText, "\u20acx", false}, {ws.OpClose, "", false}}
	for name, before := range states {
		t.Run(name, func(t *testing.T) {
			a := Assembler{Limit: 4}
			assemble(t, &a, bytes.Clone(before))
			a.Reset()
			if !a.Idle() || a.Limit != 4 {
				t.Errorf("after Reset: Idle %v, Limit %d", a.Idle(), a.Limit)
			}
			if diff := cmp.Diff(want, assemble(t, &a, bytes.Clone(stream))); diff != "" || a.Err() != nil {
				t.Errorf("error %v, messages (-want +got):\n%s", a.Err(), diff)
			}
		})
	}
}
