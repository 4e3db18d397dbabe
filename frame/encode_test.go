package frame

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

var borderSizes = []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1}

// gobwas/ws writes the same frames.
func TestEncodersAgainstTwin(t *testing.T) {
	for _, n := range borderSizes {
		payload := bytes.Repeat([]byte("p"), n)
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpPing} {
			if op.IsControl() && n > maxControl {
				continue
			}
			want := ws.MustCompileFrame(ws.NewFrame(op, true, payload))
			if got := AppendFrame([]byte("x"), op, payload); string(got) != "x"+string(want) {
				t.Errorf("AppendFrame of %d bytes begins % x, want % x", n, got[1:min(len(got), 15)], want[:min(len(want), 14)])
			}
			if got := AppendHeader(nil, op, n); !bytes.Equal(got, want[:len(want)-n]) || len(got) != HeaderSize(n) {
				t.Errorf("AppendHeader for %d bytes: % x, HeaderSize %d", n, got, HeaderSize(n))
			}
			for _, fin := range []bool{true, false} {
				want := ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, payload), testMask))
				if got := AppendMasked([]byte("x"), op, fin, testMask, payload); string(got) != "x"+string(want) {
					t.Errorf("AppendMasked of %d bytes begins % x, want % x", n, got[1:min(len(got), 15)], want[:min(len(want), 14)])
				}
			}
		}
		if n > 0 && payload[n-1] != 'p' {
			t.Fatal("AppendMasked changed its payload")
		}
	}
}

func TestAppendFrameDoesNotAllocate(t *testing.T) {
	dst, payload := make([]byte, 0, 1024), make([]byte, 500)
	allocs := testing.AllocsPerRun(100, func() {
		dst = AppendFrame(dst[:0], ws.OpText, payload)
		dst = AppendClose(dst, CloseKicked, "kicked")
		dst = AppendMasked(dst, ws.OpPing, final, testMask, payload[:100])
	})
	if allocs != 0 {
		t.Errorf("%v allocations for three frames", allocs)
	}
}
