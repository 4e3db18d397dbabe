package frame

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// A lecture has typical broadcasts, by their size in bytes.
func lecture() map[int][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	all := make(map[int][]byte)
	for _, size := range []int{130, 200, 256, 512, 2 << 10} {
		all[size] = stroke(r, size)
	}
	for _, size := range []int{40 << 10, 64 << 10, 128 << 10, 1 << 20} {
		all[size] = slide(r, size)
	}
	all[60] = []byte(`{"type":"command","data":{"op":"next","slide":17,"step":3}}`)
	return all
}

// stroke returns a command that draws a line.
func stroke(r *rand.Rand, size int) []byte {
	b := []byte(`{"type":"command","data":{"op":"stroke","slide":17,"colour":"#d03030","width":2.5,"points":[`)
	for x, y := 100.0, 200.0; len(b) < size-16; {
		x += float64(r.IntN(60)) / 4
		y += float64(r.IntN(60)-30) / 4
		b = fmt.Appendf(b, "[%g,%g],", x, y)
	}
	return append(b[:len(b)-1], "]}}"...)
}

// slide returns a slide as SVG: texts, rectangles and curves.
func slide(r *rand.Rand, size int) []byte {
	words := strings.Fields("the lecture shows how a relay sends a message to many viewers and why they share its log because nobody needs a copy of their own")
	b := []byte(`{"type":"broadcast","data":{"slide":18,"svg":"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1280 720'>`)
	for len(b) < size {
		switch r.IntN(3) {
		case 0:
			b = fmt.Appendf(b, "<text x='%d' y='%d' font-family='Inter' font-size='%d' fill='#%06x'>", r.IntN(1280), r.IntN(720), 12+r.IntN(30), r.IntN(1<<24))
			for range 5 {
				b = fmt.Appendf(b, "%s ", words[r.IntN(len(words))])
			}
			b = append(b, "</text>"...)
		case 1:
			b = fmt.Appendf(b, "<rect x='%d' y='%d' width='%d' height='%d' rx='4' fill='#%06x' stroke='#333'/>", r.IntN(1280), r.IntN(720), r.IntN(300), r.IntN(200), r.IntN(1<<24))
		default:
			b = fmt.Appendf(b, "<path d='M%d %d", r.IntN(1280), r.IntN(720))
			for range 6 + r.IntN(12) {
				b = fmt.Appendf(b, "c%.1f %.1f %.1f %.1f", r.Float64()*40-20, r.Float64()*40-20, r.Float64()*40-20, r.Float64()*40-20)
			}
			b = append(b, "' fill='none' stroke='#06c' stroke-width='2'/>"...)
		}
	}
	return append(b, `</svg>"}}`...)
}

// BenchmarkDeflate compresses at several levels. It says how many bytes of each
// message are left.
func BenchmarkDeflate(b *testing.B) {
	messages := lecture()
	for _, size := range []int{60, 130, 200, 256, 512, 2 << 10, 40 << 10, 64 << 10, 128 << 10, 1 << 20} {
		text := messages[size]
		for _, level := range []int{1, 3, deflateLevel, 7, 9} {
			b.Run(fmt.Sprintf("%d/level=%d", size, level), func(b *testing.B) {
				d := NewDeflater()
				d.writer, _ = flate.NewWriter(&d.out, level)
				out := make([]byte, 0, 2*len(text)+64)
				b.ReportAllocs()
				for b.Loop() {
					out = d.Append(out[:0], text)
				}
				b.ReportMetric(float64(len(out)), "bytes")
			})
		}
	}
}

// smallestBlocks returns n bytes of blocks that each have codes of their own, and
// no text (RFC 1951 3.2.7).
func smallestBlocks(n int) []byte {
	var b []byte
	used := 0
	bits := func(value, count int) {
		for i := range count {
			if used%8 == 0 {
				b = append(b, 0)
			}
			b[len(b)-1] |= byte(value>>i&1) << (used % 8)
			used++
		}
	}
	for len(b) < n {
		bits(2<<1, 3)       // BFINAL, BTYPE
		bits(0, 5+5)        // 257 literals, 1 distance
		bits(14, 4)         // 18 lengths of code lengths, in the order 16, 17, 18, 0, 8, ..., 14, 1
		bits(1<<(3*2), 3*3) // of 18: 1
		bits(2, 3)          // of 0: 2
		bits(0, 3*13)       // none of the others
		bits(2, 3)          // of 1: 2
		bits(0, 1)          // 138 zeros: code 0
		bits(127, 7)        //
		bits(0, 1)          // 118 zeros
		bits(118-11, 7)     //
		bits(3, 2)          // literal 256 has a length of 1: code 11
		bits(3, 2)          // and the distance
		bits(0, 1)          // end of block
	}
	return b[:n]
}

// BenchmarkInflate inflates what a client may send: a message, a bomb of as many
// bytes as a viewer may send, and as many blocks with codes of their own as find
// room in that, which is the most work.
func BenchmarkInflate(b *testing.B) {
	codes := smallestBlocks(16 << 10)
	for name, test := range map[string]struct {
		payload []byte
		limit   int
	}{
		"message": {deflated(6, string(lecture()[2<<10])), 16 << 10},
		"bomb":    {deflated(9, strings.Repeat("x", 1<<24)), 16 << 10},
		"codes":   {codes, 1 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			in := NewInflater()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = in.Message(Message{Op: ws.OpBinary, Payload: test.payload}, test.limit)
			}
		})
	}
}
