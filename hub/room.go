package hub

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"lectern/hub/credentials"
	"lectern/hub/roomcode"
	"lectern/hub/roster"
)

// A Room is one host's broadcast and its viewers.
type Room struct {
	hub     *Hub          // immutable
	code    roomcode.Code // immutable once registered
	epoch   string        // immutable; the epoch that the broadcasts' numbers belong to
	birth   string        // immutable; the room's first epoch
	older   []Past        // immutable; earlier epochs that the room remembers
	options roomRules     // immutable
	created time.Time     // immutable
	from    uint32        // immutable; index in hub.addresses of the creator, 0 for none

	audiences audiences    // its viewers' connections, by worker
	toHost    atomic.Int64 // atomic; bytes of direct messages on their way to the host's worker
	toViewers atomic.Int64 // atomic; bytes of direct messages on their way to viewers' workers
	marked    atomic.Bool  // atomic; the room is in the hub's list of changes

	// Each part owns its fields, and only its methods touch them. The lock is the
	// room's, so that what concerns several parts happens at once.
	mu          sync.Mutex
	closed      bool                    // guarded by mu
	streams     streams                 // guarded by mu; what was said, in each encoding
	hostSlot    hostSlot                // guarded by mu; who is the host
	roster      roster.Roster[*Session] // guarded by mu; who the viewers are
	presence    presence                // guarded by mu; what the host is told of them
	viewerCount viewerCount             // guarded by mu; what the viewers are told of their number
	sweeps      sweeps                  // guarded by mu; the broadcasts that are on their way
	history     history                 // guarded by mu; the histories that viewers ask for
	pages       pages                   // guarded by mu; the lists of viewers that were encoded
	returns     returns                 // guarded by mu; who asked for histories lately
	posts       posts                   // guarded by mu; the host's numbered messages
}

// roomRules are the choices of whoever creates a room.
type roomRules struct {
	name       string
	secret     credentials.Hash
	maxViewers int
	roster     bool // viewers may list the other viewers
	relayTells bool // the relay keeps the history, not the host
	skips      bool // viewers that are too slow skip broadcasts instead of being closed
}

// newRoom returns a room and the token of its host.
func newRoom(h *Hub, record encoding, rules roomRules) (*Room, credentials.HostToken) {
	epoch, token := drawEpoch(), credentials.DrawHostToken()
	r := &Room{
		hub: h, epoch: epoch, birth: epoch, options: rules, created: time.Now(),
		audiences: make(audiences, len(h.shards)), roster: roster.New[*Session](&h.left),
		hostSlot: hostSlot{token: token.Hash()},
	}
	r.streams.room, r.presence.room, r.viewerCount.room, r.history.room, r.pages.room, r.returns.room = r, r, r, r, r, r
	r.sweeps.room = r
	r.streams.begin(h.newLog(0), record)
	return r, token
}

// AppendCode appends the room's code in its canonical form.
func (r *Room) AppendCode(b []byte) []byte { return r.code.AppendText(b) }

// AppendViewerToken appends the token of the viewer with the id.
func (r *Room) AppendViewerToken(b []byte, id uint32) []byte {
	return r.hub.tokens.Append(b, r.birth, r.code, id)
}

// Epoch returns the name of the epoch that the broadcasts' numbers belong to.
func (r *Room) Epoch() string { return r.epoch }

// broadcast appends a host's message to the room's Logs and wakes the workers
// that have viewers. Only the host's worker calls it. It returns a Refusal if
// another connection has just become the host.
func (r *Room) broadcast(from *Session, payload []byte, p prepared) *Refusal {
	r.mu.Lock()
	if !r.hostSlot.is(from) {
		r.mu.Unlock()
		return refused(NotHost)
	}
	seq := r.publishLocked(payload, p)
	r.hostSlot.said()
	r.mu.Unlock()
	from.noteSeq(seq)

	from.shard.counters.appended.Add(1)
	r.audiences.wake()
	return nil
}

// publishLocked appends a broadcast and returns its number. The caller wakes
// the audiences afterwards.
func (r *Room) publishLocked(payload []byte, p prepared) (seq uint64) {
	entered := r.hub.now()
	end := r.streams.end()
	seq = end.Seq() + 1
	r.streams.append(Broadcast{Epoch: r.epoch, Seq: seq, Payload: payload}, p)
	if r.roster.Viewers() > 0 {
		r.sweeps.enter(r.streams.size(), entered)
	}
	r.changed()
	return seq
}

func (r *Room) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// close closes the room. Everyone in it receives what was broadcast before, is
// told the reason and is disconnected. close returns false if the room was
// closed already.
func (r *Room) close(why Reason) bool {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return false
	}
	host := r.closeLocked()
	r.mu.Unlock()
	r.dismiss(host, why)
	return true
}

// closeLocked marks the room closed, so that nobody can enter it, stops its
// timers, and returns its host, nil if there was none.
func (r *Room) closeLocked() (host *Session) {
	host = r.hostSlot.current()
	r.closed = true
	r.hostSlot.vacate()
	r.hostSlot.stopWaiting()
	r.history.closeLocked()
	r.presence.stopLocked()
	r.viewerCount.stopLocked()
	r.roster.Close()
	r.pages.dropLocked()
	r.streams.release()
	return host
}

// dismiss removes a closed room from the registry and ends the sessions in it.
// host is nil if the host has left or knows already.
func (r *Room) dismiss(host *Session, why Reason) {
	r.hub.remove(r)
	if host != nil {
		r.tell(host, 0, func() { host.end(why) })
	}
	r.audiences.dismiss(why)
}

// tell posts f to the session's worker, which then flushes the connection. f
// does not run if the session is no longer the one with this id in the room;
// the host has id 0. tell may be called from any goroutine, with or without the
// room's lock.
func (r *Room) tell(s *Session, id uint32, f func()) {
	s.shard.Post(func() bool {
		if s.room == r && s.id == id && s.phase == open {
			f()
			s.conn.Flush()
		}
		return false
	})
}

// drawEpoch returns a random name for an epoch.
func drawEpoch() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
