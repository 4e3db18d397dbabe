package e2e

import (
	"bytes"
	"fmt"
	"sync"
)

const mass = "BAsd7&jh23"

// masses are the payloads of group 9, of which the cases send the beginnings.
var masses = sync.OnceValue(func() (m struct{ text, stars, binary, bytes []byte }) {
	const largest, fragmented = 16 << 20, 4 << 20
	m.text = bytes.Repeat([]byte(mass), largest/len(mass)+1)
	m.stars = bytes.Repeat([]byte("*"), fragmented)
	m.binary = bytes.Repeat([]byte("\x00\xfe\x23\xfa\xf0"), largest/5+1)
	m.bytes = bytes.Repeat([]byte("\xfe"), fragmented)
	return m
})

// massCases send large messages, whole, in fragments and in small packets, and
// many small ones: text in the odd groups, the same as binary in the even ones.
func massCases() []conversation {
	m := masses()
	return append(massesOf(1, opText, m.text, m.stars), massesOf(2, opBinary, m.binary, m.bytes)...)
}

func massesOf(first int, op byte, mixed, same []byte) []conversation {
	var cases []conversation
	add := func(group, number int, message wireFrame, t turn) {
		t.hear = []wireFrame{message}
		if t.say == nil {
			t.say = t.hear
		}
		cases = append(cases, alone(fmt.Sprintf("9.%d.%d", first+group, number+1), goodbye, t))
	}
	for i, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
		add(0, i, wireFrame{op: op, payload: mixed[:size]}, turn{})
	}
	for i, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		message := wireFrame{op: op, payload: same}
		add(2, i, message, turn{say: fragments(message, size)})
	}
	for i, cut := range []int{64, 128, 256, 512, 1024, 2048} {
		add(4, i, wireFrame{op: op, payload: mixed[:1<<20]}, turn{cut: cut})
	}
	for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
		add(6, i, wireFrame{op: op, payload: same[:size]}, turn{times: 1000})
	}
	return cases
}
