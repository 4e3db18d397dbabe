package hub

import (
	"io"
	"testing"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// BenchmarkJoin has a viewer connect, upgrade, join a room of 1,000 and leave,
// without sockets: what a join costs the relay above its system calls.
func BenchmarkJoin(b *testing.B) {
	r, host, code := benchRoom(b, Config{}, 0)
	for range 1000 {
		r.viewer(0, code)
	}
	join := []byte(`{"type":"join","code":"` + code + `"}`)
	chunk := make([]byte, 0, 1024)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s := r.hub.NewSession(0, host) // for its address
		s.Receive(append(chunk[:0], testHead...))
		sendAll(s)
		s.Receive(frame.AppendMasked(chunk[:0], ws.OpText, true, [4]byte{1, 2, 3, 4}, join))
		if sendAll(s) < 100 || s.room == nil {
			b.Fatal("the viewer did not join")
		}
		s.Closed(io.EOF)
		if n%1000 == 0 {
			r.run()
		}
	}
}

// sendAll has the session's socket take all that is due, and returns its size.
func sendAll(s *Session) (size int) {
	for p := s.Next(); len(p) > 0; p = s.Next() {
		size += len(p)
		s.Sent(len(p), false)
	}
	return size
}
