package frame

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

var testMask = [4]byte{0x37, 0xFA, 0x21, 0x3D} // the mask of RFC 6455 5.7

const (
	final = true
	more  = false
)

// client returns a frame as a client sends it.
func client(op ws.OpCode, fin bool, payload string) []byte {
	return AppendMasked(nil, op, fin, testMask, []byte(payload))
}

// header returns a frame's header and nothing of its payload: the first byte, and
// the second with its mask bit and the length as they are given.
func header(first byte, length ...byte) []byte {
	length[0] |= bitMask
	return slices.Concat([]byte{first}, length, testMask[:])
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// everyCut yields copies of stream cut in many ways: not at all, at each place,
// in pieces of a few sizes. The copies may be changed.
func everyCut(stream []byte) iter.Seq2[string, [][]byte] {
	return func(yield func(string, [][]byte) bool) {
		if !yield("whole", [][]byte{bytes.Clone(stream)}) {
			return
		}
		for i := range len(stream) {
			c := bytes.Clone(stream)
			if !yield(fmt.Sprintf("cut at %d", i), [][]byte{c[:i], c[i:]}) {
				return
			}
		}
		for _, n := range []int{1, 2, 3, 7} {
			if !yield(fmt.Sprintf("in %ds", n), slices.Collect(slices.Chunk(bytes.Clone(stream), n))) {
				return
			}
		}
	}
}

// cutLike cuts stream into pieces whose sizes the bytes of how say, again and
// again. It is how fuzzers cut.
func cutLike(stream, how []byte) [][]byte {
	if len(how) == 0 {
		return [][]byte{bytes.Clone(stream)}
	}
	rest := bytes.Clone(stream)
	var chunks [][]byte
	for i := 0; len(rest) > 0; i++ {
		n := min(int(how[i%len(how)])+1, len(rest))
		chunks = append(chunks, rest[:n])
		rest = rest[n:]
	}
	return chunks
}

// codeOf returns the close code of err, 0 for nil. It fails the test when err
// is not an *Error that can be sent.
func codeOf(t *testing.T, err error) ws.StatusCode {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is a %T", err, err)
	}
	if !SendableCode(e.Code) || e.Reason == "" || len(e.Reason) > maxReason {
		t.Fatalf("error %v cannot be sent", err)
	}
	return e.Code
}
