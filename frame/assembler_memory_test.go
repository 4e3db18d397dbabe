package frame

import (
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAssemblerDoesNotAllocate(t *testing.T) {
	var a Assembler
	chunk := join(AppendMasked(nil, ws.OpText, final, [4]byte{}, []byte("text")), AppendMasked(nil, ws.OpPing, final, [4]byte{}, []byte("p")),
		AppendMasked(nil, ws.OpText, more, [4]byte{}, []byte("frag")), AppendMasked(nil, ws.OpContinuation, final, [4]byte{}, []byte("ments")))
	seen := 0
	allocs := testing.AllocsPerRun(100, func() { // the buffers are made in its first run, which does not count
		for _, part := range [][]byte{chunk[:7], chunk[7:16], chunk[16:]} {
			for m := range a.Feed(part) {
				seen += len(m.Payload)
			}
		}
	})
	if allocs != 0 || a.Err() != nil || seen != 101*14 {
		t.Errorf("%v allocations for three messages, error %v, %d bytes seen", allocs, a.Err(), seen)
	}
}

// TestBuffersOfAMessage has a message of 1 MiB come in pieces: the buffers that it
// grows through have at most twice its bytes. So does one in fragments, of which
// nobody knows how many follow, with half as many to spare.
func TestBuffersOfAMessage(t *testing.T) {
	const size = 1 << 20
	fragments := AppendMasked(nil, ws.OpBinary, more, [4]byte{}, nil)
	for range size / 1024 {
		fragments = append(fragments, AppendMasked(nil, ws.OpContinuation, more, [4]byte{}, make([]byte, 1024))...)
	}
	fragments = append(fragments, AppendMasked(nil, ws.OpContinuation, final, [4]byte{}, nil)...)
	for name, test := range map[string]struct {
		stream []byte
		most   uint64
	}{
		"one frame": {AppendMasked(nil, ws.OpBinary, final, [4]byte{}, make([]byte, size)), 2*size + size/8},
		"fragments": {fragments, 3 * size},
	} {
		t.Run(name, func(t *testing.T) {
			var a Assembler
			got := 0
			n := allocated(func() {
				for chunk := range slices.Chunk(test.stream, 64<<10) {
					for m := range a.Feed(chunk) {
						got = len(m.Payload)
					}
				}
			})
			if n > test.most || got != size || a.Err() != nil {
				t.Errorf("%d bytes were allocated for a message of %d, want %d at most; error %v", n, got, test.most, a.Err())
			}
		})
	}
}

// What is only declared costs nothing.
func TestAssemblerDoesNotAllocateWhatIsDeclared(t *testing.T) {
	headers := map[string][]byte{
		"2^62":                   header(bitFin|1, 127, 0x40, 0, 0, 0, 0, 0, 0, 0),
		"2^40":                   header(bitFin|2, 127, 0, 0, 1, 0, 0, 0, 0, 0),
		"over 16 times":          header(bitFin|2, 127, 0, 0, 0, 0, 1, 0, 0, 1),
		"16 times, to skip":      header(bitFin|2, 127, 0, 0, 0, 0, 1, 0, 0, 0),
		"the limit, to be taken": header(bitFin|2, 127, 0, 0, 0, 0, 0, 0x10, 0, 0),
	}
	for name, chunk := range headers {
		t.Run(name, func(t *testing.T) {
			const many = 100
			assemblers := make([]Assembler, many)
			chunk = append(chunk, "0123456789"...)
			got := allocated(func() {
				for i := range assemblers {
					for range assemblers[i].Feed(chunk) {
						t.Error("a message")
					}
				}
			})
			if got > many*1024 {
				t.Errorf("%d bytes allocated for each of %d headers", got/many, many)
			}
		})
	}
}

// A message that comes in small chunks is held in at most about twice its size.
func TestAssemblerBufferGrowsWithWhatCame(t *testing.T) {
	const size = 1 << 20
	var a Assembler
	stream := AppendMasked(nil, ws.OpBinary, final, testMask, make([]byte, size))
	for part := range slices.Chunk(stream[:size/2], 1000) {
		assemble(t, &a, part)
		if came := len(a.buffer); cap(a.buffer) > 2*came+2048 {
			t.Fatalf("buffer of %d bytes for %d", cap(a.buffer), came)
		}
	}
	if n := len(assemble(t, &a, stream[size/2:])); n != 1 || !a.Idle() {
		t.Fatalf("%d messages, Idle %v", n, a.Idle())
	}
	if a.buffer != nil {
		t.Errorf("a buffer of %d bytes was kept", cap(a.buffer))
	}
}

func TestAssemblerKeepsSmallBuffersOnly(t *testing.T) {
	tests := map[string]struct {
		size int
		kept bool
	}{"small": {1000, true}, "large": {2 * maxKeptBuffer, false}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			stream := AppendMasked(nil, ws.OpBinary, final, testMask, make([]byte, test.size))
			var a Assembler
			assemble(t, &a, stream[:10], stream[10:])
			if kept := a.buffer != nil; kept != test.kept {
				t.Errorf("after the message: buffer of %d bytes", cap(a.buffer))
			}
			stream = AppendMasked(nil, ws.OpBinary, final, testMask, make([]byte, test.size))
			assemble(t, &a, stream[:len(stream)-1])
			a.Reset()
			if kept := a.buffer != nil; kept != test.kept {
				t.Errorf("after Reset: buffer of %d bytes", cap(a.buffer))
			}
		})
	}
}

// A skipped message is not held, nor what came before it turned out too large.
func TestAssemblerDropsTooLarge(t *testing.T) {
	a := Assembler{Limit: 100}
	assemble(t, &a, AppendMasked(nil, ws.OpBinary, more, testMask, make([]byte, 90)))
	if len(a.buffer) != 90 {
		t.Fatalf("%d bytes held", len(a.buffer))
	}
	assemble(t, &a, AppendMasked(nil, ws.OpContinuation, more, testMask, make([]byte, 900)))
	if a.buffer != nil {
		t.Errorf("%d bytes held", cap(a.buffer))
	}
	a.Reset()
	assemble(t, &a, AppendMasked(nil, ws.OpBinary, more, testMask, make([]byte, 90)), []byte{0xFF})
	if a.Err() == nil || a.buffer != nil {
		t.Errorf("error %v, and %d bytes held", a.Err(), cap(a.buffer))
	}
}

func TestAssemblerSize(t *testing.T) {
	if size := unsafe.Sizeof(Assembler{}); size > 192 {
		t.Errorf("an Assembler has %d bytes", size)
	}
}
