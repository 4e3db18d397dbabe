package hub

import (
	"testing"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// BenchmarkPing pings a silent viewer, and receives its answer, without sockets:
// what a ping costs the relay above its two system calls.
func BenchmarkPing(b *testing.B) {
	r, _, code := benchRoom(b, Config{}, 0)
	s := r.viewer(0, code).session
	pong := frame.AppendMasked(nil, ws.OpPong, true, [4]byte{1, 2, 3, 4}, nil)
	chunk := make([]byte, len(pong))
	b.ReportAllocs()
	for b.Loop() {
		r.workers[0].now += uint32(s.Config().PingAfter.Milliseconds()) + 1
		s.Tick()
		if sendAll(s) != len(pingFrame) {
			b.Fatal("no ping was due")
		}
		copy(chunk, pong)
		s.Receive(chunk)
		s.Tick() // comes within a second after bytes
	}
}
