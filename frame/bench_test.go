package frame

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

var benchSizes = []struct {
	name string
	size int
}{{"128B", 128}, {"4KiB", 4 << 10}, {"64KiB", 64 << 10}}

// benchStream is a chunk of whole frames, as one recv would bring it, and the
// number of its frames. Its mask is zero: unmasking in place leaves it as it
// is, at the same cost.
func benchStream(size int) (chunk []byte, frames int) {
	payload := bytes.Repeat([]byte("sixteen letters "), size/16)
	for frames = 0; frames == 0 || len(chunk)+size < 64<<10; frames++ {
		chunk = AppendMasked(chunk, ws.OpText, true, [4]byte{}, payload)
	}
	return chunk, frames
}

func BenchmarkDecoder(b *testing.B) {
	for _, bench := range benchSizes {
		b.Run(bench.name, func(b *testing.B) {
			chunk, frames := benchStream(bench.size)
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			var d Decoder
			for n := 0; n < b.N; n += frames {
				for piece := range d.Feed(chunk) {
					if !piece.Last {
						b.Fatal("cut")
					}
				}
			}
			if d.Err() != nil {
				b.Fatal(d.Err())
			}
		})
	}
}

func BenchmarkAssembler(b *testing.B) {
	run := func(b *testing.B, chunk []byte, messages, size, step int) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		var a Assembler
		for n := 0; n < b.N; n += messages {
			for rest := chunk; len(rest) > 0; {
				part := rest[:min(step, len(rest))]
				rest = rest[len(part):]
				for message := range a.Feed(part) {
					if len(message.Payload) != size {
						b.Fatal("wrong size")
					}
				}
			}
		}
		if a.Err() != nil {
			b.Fatal(a.Err())
		}
	}
	for _, bench := range benchSizes {
		chunk, messages := benchStream(bench.size)
		b.Run(bench.name, func(b *testing.B) { run(b, chunk, messages, bench.size, len(chunk)) })
	}
	chunk, messages := benchStream(4 << 10)
	b.Run("4KiBcut", func(b *testing.B) { run(b, chunk, messages, 4<<10, 1460) })
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, bench := range benchSizes {
		b.Run(bench.name, func(b *testing.B) {
			payload := make([]byte, bench.size)
			dst := make([]byte, 0, bench.size+16)
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendFrame(dst[:0], ws.OpText, payload)
			}
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	head := []byte(browserHead)
	for _, step := range []int{len(head), 100} {
		b.Run(fmt.Sprintf("%dB", step), func(b *testing.B) {
			b.SetBytes(int64(len(head)))
			b.ReportAllocs()
			for b.Loop() {
				var h Handshake
				for rest := head; len(rest) > 0; rest = rest[min(step, len(rest)):] {
					h.Feed(rest[:min(step, len(rest))])
				}
				if h.verdict != Upgrade {
					b.Fatal(h.verdict)
				}
			}
		})
	}
}
