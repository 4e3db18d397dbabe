package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A Payload names what messages are filled up with behind their stamps.
type Payload string

// The payloads. All but Random compress as in lectures. Their texts can stand in JSON
// strings.
const (
	Random  Payload = "random"
	Command Payload = "command" // the shortest message, and strokes in a longer one
	JSON    Payload = "json"    // strokes of a pen
	SVG     Payload = "svg"     // slides
)

var payloads = []Payload{Random, Command, JSON, SVG}

// sizes are how long messages are by default.
var sizes = map[Payload]int{Random: 0, Command: 66, JSON: 2 << 10, SVG: 40 << 10}

// textSize is the length of a payload's text. Messages begin in different places of it.
const textSize = 256 << 10

// Text returns the text of a payload, the same each time, and nil for Random.
func (p Payload) Text() (b []byte) {
	if p == Random || p == "" {
		return nil
	}
	r := rand.New(rand.NewPCG(1, 2))
	for len(b) < textSize {
		if p == SVG {
			b = appendShape(b, r)
		} else {
			b = appendStroke(b, r)
		}
	}
	return b
}

// appendStroke appends what draws a line, with its quotes escaped.
func appendStroke(b []byte, r *rand.Rand) []byte {
	b = fmt.Appendf(b, `{\"op\":\"stroke\",\"slide\":%d,\"colour\":\"#%06x\",\"width\":2.5,\"points\":[`, r.IntN(40), r.IntN(1<<24))
	x, y := r.Float64()*1280, r.Float64()*720
	for range 10 + r.IntN(50) {
		x += float64(r.IntN(60)) / 4
		y += float64(r.IntN(60)-30) / 4
		b = fmt.Appendf(b, "[%.2f,%.2f],", x, y)
	}
	return append(b[:len(b)-1], "]},"...)
}

// appendShape appends a text, a rectangle or a curve of a slide.
func appendShape(b []byte, r *rand.Rand) []byte {
	switch r.IntN(3) {
	case 0:
		words := strings.Fields("the lecture shows how a relay sends a message to many viewers and why they share its log because nobody needs a copy of their own")
		b = fmt.Appendf(b, "<text x='%d' y='%d' font-family='Inter' font-size='%d' fill='#%06x'>", r.IntN(1280), r.IntN(720), 12+r.IntN(30), r.IntN(1<<24))
		for range 5 {
			b = fmt.Appendf(b, "%s ", words[r.IntN(len(words))])
		}
		return append(b, "</text>"...)
	case 1:
		return fmt.Appendf(b, "<rect x='%d' y='%d' width='%d' height='%d' rx='4' fill='#%06x' stroke='#333'/>", r.IntN(1280), r.IntN(720), r.IntN(300), r.IntN(200), r.IntN(1<<24))
	default:
		b = fmt.Appendf(b, "<path d='M%d %d", r.IntN(1280), r.IntN(720))
		for range 6 + r.IntN(12) {
			b = fmt.Appendf(b, "c%.1f %.1f %.1f %.1f", r.Float64()*40-20, r.Float64()*40-20, r.Float64()*40-20, r.Float64()*40-20)
		}
		return append(b, "' fill='none' stroke='#06c' stroke-width='2'/>"...)
	}
}
