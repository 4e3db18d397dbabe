package frame

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// compressed returns a frame as a client sends it, with RSV1.
func compressed(op ws.OpCode, fin bool, payload []byte) []byte {
	b := AppendMasked(nil, op, fin, testMask, payload)
	b[0] |= bitRSV1
	return b
}

// TestCompressedMessages come from a client in frames of all kinds, cut anywhere.
// RSV1 may be only on the first frame of a data message, and only if the handshake
// agreed on it (RFC 7692 6).
func TestCompressedMessages(t *testing.T) {
	hello := deflated(9, "Hello")
	notText := []byte("\xff\xfe") // compressed bytes are no UTF-8
	for name, test := range map[string]struct {
		stream []byte
		want   string // what the messages inflate to, and the close code of the error
	}{
		"one frame":              {compressed(ws.OpText, final, hello), "1 Hello;"},
		"binary":                 {compressed(ws.OpBinary, final, hello), "2 Hello;"},
		"beside a plain one":     {join(client(ws.OpText, final, "plain"), compressed(ws.OpText, final, hello), client(ws.OpText, final, "plain")), "1 plain;1 Hello;1 plain;"},
		"in fragments":           {join(compressed(ws.OpText, more, hello[:2]), client(ws.OpContinuation, more, ""), client(ws.OpContinuation, final, string(hello[2:]))), "1 Hello;"},
		"with a ping between":    {join(compressed(ws.OpText, more, hello[:2]), client(ws.OpPing, final, "p"), client(ws.OpContinuation, final, string(hello[2:]))), "9 p;1 Hello;"},
		"empty":                  {compressed(ws.OpText, final, nil), "1 ;"},
		"the next is plain":      {join(compressed(ws.OpText, more, hello), client(ws.OpContinuation, final, ""), client(ws.OpText, more, "a"), client(ws.OpContinuation, final, "b")), "1 Hello;1 ab;"},
		"the next is not text":   {join(compressed(ws.OpText, final, hello), client(ws.OpText, final, string(notText))), "1 Hello;1007"},
		"on a continuation":      {join(compressed(ws.OpText, more, hello[:2]), compressed(ws.OpContinuation, final, hello[2:])), "1002"},
		"on a later one alone":   {join(client(ws.OpText, more, "a"), compressed(ws.OpContinuation, final, hello)), "1002"},
		"on a ping":              {compressed(ws.OpPing, final, nil), "1002"},
		"on a close frame":       {compressed(ws.OpClose, final, nil), "1002"},
		"RSV2":                   {[]byte{0xA1, 0x80}, "1002"},
		"RSV1 and RSV2":          {[]byte{0xE1, 0x80}, "1002"},
		"RSV1 and RSV3":          {[]byte{0xD1, 0x80}, "1002"},
		"on an unknown opcode":   {[]byte{0xC3, 0x80}, "1002"},
		"over the limit":         {join(compressed(ws.OpText, final, make([]byte, 101)), compressed(ws.OpText, final, hello)), "1 too large;1 Hello;"},
		"over it, in fragments":  {join(compressed(ws.OpText, more, make([]byte, 99)), client(ws.OpContinuation, final, "aa"), compressed(ws.OpText, final, hello)), "1 too large;1 Hello;"},
		"far too large":          {header(0xC1, 126, 0x06, 0x41), "1009"},
		"begun while another is": {join(compressed(ws.OpText, more, hello), compressed(ws.OpText, final, hello)), "1002"},
	} {
		for cut, chunks := range everyCut(test.stream) {
			a := Assembler{Limit: 100, Deflate: true}
			if got := inflated(t, &a, chunks); got != test.want {
				t.Fatalf("%s, %s: got %q, want %q", name, cut, got, test.want)
			}
		}
	}
	var plain Assembler
	if got := inflated(t, &plain, [][]byte{compressed(ws.OpText, final, hello)}); got != "1002" {
		t.Errorf("a compressed message that nobody agreed on: %q", got)
	}
	a := Assembler{Deflate: true}
	if a.Reset(); !a.Deflate {
		t.Error("Reset forgets what was agreed")
	}
}

// inflated returns what the messages in a stream inflate to.
func inflated(t *testing.T, a *Assembler, chunks [][]byte) (all string) {
	t.Helper()
	in := NewInflater()
	for _, chunk := range chunks {
		for m := range a.Feed(chunk) {
			if m.TooLarge {
				m.Payload = []byte("too large")
			} else if m.Compressed {
				var err error
				if m, err = in.Message(m, 1000); err != nil {
					t.Fatal(err)
				}
			}
			all += fmt.Sprintf("%d %s;", m.Op, m.Payload)
		}
	}
	if code := codeOf(t, a.Err()); code != 0 {
		all += fmt.Sprint(code)
	}
	return all
}

// TestCompressedHeader writes RSV1.
func TestCompressedHeader(t *testing.T) {
	for _, n := range []int{0, 125, 126, 1 << 16} {
		plain, got := AppendHeader(nil, ws.OpText, n), AppendCompressedHeader(nil, ws.OpText, n)
		if IsCompressed(plain) || !IsCompressed(got) {
			t.Errorf("% x, % x", plain, got)
		}
		if got[0] &^= bitRSV1; !bytes.Equal(got, plain) {
			t.Errorf("% x differs from % x in more than RSV1", got, plain)
		}
	}
}
