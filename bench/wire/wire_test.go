package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
)

func TestClientFrame(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), n)
		b := WebSocket{}.AppendClient(nil, ws.OpText, payload)
		header := len(b) - n - 4
		if b[1]&bitMask == 0 {
			t.Fatalf("%d bytes: not masked", n)
		}
		key := b[header : header+4]
		for i, c := range b[header+4:] {
			if c^key[i&3] != 'x' {
				t.Fatalf("%d bytes: byte %d is masked wrong", n, i)
			}
		}
		b[1] &^= bitMask
		f, used, err := WebSocket{}.Parse(append(b[:header:header], payload...))
		if err != nil || used != header+n || len(f.Payload) != n || f.Op != ws.OpText {
			t.Errorf("%d bytes: %+v, %d, %v", n, f, used, err)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x81\x05hello"))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, used, err := WebSocket{}.Parse(b)
		switch {
		case err != nil:
			if !errors.Is(err, ErrGarbage) {
				t.Errorf("undocumented: %v", err)
			}
		case used > len(b) || len(frame.Payload) > used:
			t.Errorf("%d bytes of %d", used, len(b))
		}
	})
}
