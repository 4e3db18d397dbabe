package hub

import (
	"fmt"
	"github.com/gobwas/ws"
	"strings"
	"testing"
)

// A benchRoom is a room with viewers of both kinds, all of which have received
// everything.
func benchRoom(b *testing.B, config Config, numberedViewers int) (r *testRelay, host *peer, code string) {
	r = newTestRelay(b, 2, config)
	host, code = r.host(0)
	for range numberedViewers {
		r.numberedViewer(1, code)
	}
	return r, host, code
}

// benchRecord is a room in which 1,000 broadcasts of 256 bytes were said.
func benchRecord(b *testing.B, numberedViewers int) (*testRelay, *Room) {
	r, host, _ := benchRoom(b, Config{}, numberedViewers)
	for n := range 1000 {
		host.say(benchText(n))
	}
	r.run()
	return r, host.session.room
}

// benchText returns a command of 256 bytes.
func benchText(n int) string {
	begin := fmt.Sprintf(`{"type":"command","data":"%d `, n)
	return begin + strings.Repeat("x", 256-len(begin)-2) + `"}`
}

// BenchmarkPublish appends a broadcast of 256 bytes, and trims, in a room whose
// viewers want one encoding or two.
func BenchmarkPublish(b *testing.B) {
	for name, viewers := range map[string]int{"one encoding": 0, "two encodings": 1} {
		b.Run(name, func(b *testing.B) {
			_, host, _ := benchRoom(b, Config{}, viewers)
			room, text := host.session.room, []byte(benchText(0))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				room.mu.Lock()
				room.publishLocked(text, nil)
				room.mu.Unlock()
			}
		})
	}
}

// BenchmarkResume has a viewer come back, in the middle of a record of 1,000
// broadcasts of 256 bytes, as far as the first byte that is due to it.
func BenchmarkResume(b *testing.B) {
	for name, e := range map[string]encoding{"verbatim": verbatim, "numbered": numbered} {
		b.Run(name, func(b *testing.B) {
			r, room := benchRecord(b, 1)
			v := r.viewer(1, room.code.String())
			come := JoinRequest{Last: Place{room.epoch, 500}, encoding: e}
			id := v.session.id
			v.reset()
			b.ReportAllocs()
			for b.Loop() {
				if _, f := room.want(come, id); f != nil {
					b.Fatal(f)
				}
				w, f := room.join(v.session, come, id)
				if f != nil || !w.Recovered || len(v.session.cursor.Next()) == 0 {
					b.Fatal(f, w)
				}
				room.leave(v.session)
			}
		})
	}
}

// BenchmarkBackfill encodes 1,000 broadcasts of 256 bytes, the past of a room
// in which no viewer has read numbers yet.
func BenchmarkBackfill(b *testing.B) {
	_, room := benchRecord(b, 0)
	b.SetBytes(room.streams.record.Retained())
	b.ReportAllocs()
	for b.Loop() {
		room.mu.Lock()
		room.streams.want(numbered)
		room.mu.Unlock()
		room.streams.encodePast(room.streams.of(numbered))
		room.mu.Lock()
		room.streams.unwant(numbered)
		room.mu.Unlock()
	}
}

// BenchmarkHistory encodes a record of 1,000 broadcasts of 256 bytes as a
// history.
func BenchmarkHistory(b *testing.B) {
	_, room := benchRecord(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		oldest, end := room.streams.record.Oldest(), room.streams.record.End()
		b.SetBytes(int64(end.Position() - oldest.Position()))
		if len(room.hub.encodings[verbatim].History("", oldest, end)) < 1000 {
			b.Fatal("too short")
		}
	}
}

// BenchmarkFloodOfMistakes handles a chunk of 64 KiB of empty messages from a
// client in no room.
func BenchmarkFloodOfMistakes(b *testing.B) {
	r := newTestRelay(b, 1, Config{})
	chunk := chunkOf(ws.OpText, "")
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		p := r.dial(0)
		p.bytes(chunk)
		p.reset()
	}
}

// BenchmarkSweep has a broadcast of 256 bytes go to 1,000 viewers on two
// workers, whose sockets take everything at once and cost nothing.
func BenchmarkSweep(b *testing.B) {
	r, host, code := benchRoom(b, Config{MaxViewers: 1000}, 0)
	for n := range 1000 {
		r.viewer(n%2, code).wire = nil
	}
	r.run()
	room, text := host.session.room, []byte(benchText(0))
	for i := range room.audiences {
		for _, s := range room.audiences[i].Load().members {
			s.conn = &sink{session: s}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		room.broadcast(host.session, text, nil)
		r.run()
	}
}

// BenchmarkSweepTimes is what the times of sweeps cost for each broadcast, with
// viewers on two workers.
func BenchmarkSweepTimes(b *testing.B) {
	r, host, code := benchRoom(b, Config{}, 0)
	for n := range 2 {
		r.viewer(n, code)
	}
	r.run()
	room := host.session.room
	b.ReportAllocs()
	for b.Loop() {
		room.mu.Lock()
		room.sweeps.enter(room.streams.grown.Add(1), r.hub.now())
		room.mu.Unlock()
		for i := range room.audiences {
			a := room.audiences[i].Load()
			a.target = room.streams.size()
			a.sweptAll()
		}
	}
}
