package hub

import (
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// A Room is one host's broadcast and its audience.
type Room struct {
	hub  *Hub           // immutable
	code code           // immutable once registered
	log  *broadcast.Log // immutable; appended to under mu

	audiences []atomic.Pointer[audience] // one for each worker, made when it has viewers

	mu      sync.Mutex
	host    *Session // guarded by mu; nil once the room is closed
	viewers int      // guarded by mu
	asking  asking   // guarded by mu
	aged    uint64   // guarded by mu; the Log's end when age was last called
}

func newRoom(h *Hub, host *Session) *Room {
	return &Room{hub: h, host: host, log: broadcast.New(0), audiences: make([]atomic.Pointer[audience], len(h.shards))}
}

// audience returns the room's viewers on one worker, which must have had some.
func (r *Room) audience(s *shard) *audience { return r.audiences[s.index].Load() }

// broadcast appends a host's message to the Log, as it is, and wakes the
// workers that have viewers. It is called by the host's worker.
func (r *Room) broadcast(from *Session, payload []byte) {
	r.mu.Lock()
	if r.host != from {
		r.mu.Unlock()
		return
	}
	text := r.log.Reserve(frame.HeaderSize(len(payload)) + len(payload))
	frame.AppendFrame(text[:0], ws.OpText, payload)
	r.log.Commit()
	r.log.Trim(0)
	r.mu.Unlock()

	from.shard.counters.appended.Add(1)
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.wake()
		}
	}
}

// age is called about once a second. A room in which nothing was said since the
// last time keeps nothing for those who have had everything.
func (r *Room) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.log.End()
	if end.Position() == r.aged {
		r.log.Release()
	}
	r.aged = end.Position()
}

// join lets a viewer in: it gets what is broadcast from now on. It reports
// whether the room was still open. It is called by the viewer's worker.
func (r *Room) join(s *Session) bool {
	r.mu.Lock()
	if r.host == nil {
		r.mu.Unlock()
		return false
	}
	a := r.audience(s.shard)
	if a == nil {
		a = newAudience(r, s.shard)
		r.audiences[s.shard.index].Store(a)
	}
	r.viewers++
	// Counted before the cursor is taken, or a broadcast in between would find
	// nobody to wake for it.
	a.count.Add(1)
	s.cursor = r.log.End()
	r.mu.Unlock()

	s.room = r
	s.clear(markHost | markParked)
	s.excused = 0
	a.add(s)
	return true
}

// leave takes a viewer out. What the Log still owes it stays due.
func (r *Room) leave(s *Session) {
	a := r.audience(s.shard)
	a.remove(s)
	r.mu.Lock()
	r.viewers--
	a.count.Add(-1)
	r.mu.Unlock()
}

// close ends the room: everybody gets what was broadcast before, is told why,
// and is disconnected. It does nothing if the room was closed already.
func (r *Room) close(why Reason) {
	r.mu.Lock()
	if r.host == nil {
		r.mu.Unlock()
		return
	}
	r.host = nil
	r.asking.stop()
	r.mu.Unlock()

	r.hub.remove(r)
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.shard.Post(func() bool { return a.dismiss(why) })
		}
	}
}

// tellHost sends the host a text, unless it has gone by then. It may be called
// from anywhere.
func (r *Room) tellHost(host *Session, text []byte) {
	host.shard.Post(func() bool {
		if host.room == r && host.phase == open {
			host.tell(text)
			host.conn.Flush()
		}
		return false
	})
}
