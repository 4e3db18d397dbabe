package hub

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"lectern/hub/broadcast"
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
	history     history                 // guarded by mu; the histories that viewers ask for
	pages       pages                   // guarded by mu; the lists of viewers that were encoded
	returns     returns                 // guarded by mu; who asked for histories lately
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
// that have viewers. Only the host's worker calls it. It returns false if the
// session is no longer the host.
func (r *Room) broadcast(from *Session, payload []byte) bool {
	r.mu.Lock()
	if !r.hostSlot.is(from) {
		r.mu.Unlock()
		return false
	}
	r.publishLocked(payload)
	r.hostSlot.said()
	r.mu.Unlock()

	from.shard.counters.appended.Add(1)
	r.audiences.wake()
	return true
}

// publishLocked appends a broadcast and returns its number. The caller wakes
// the audiences afterwards.
func (r *Room) publishLocked(payload []byte) (seq uint64) {
	end := r.streams.end()
	seq = end.Seq() + 1
	r.streams.append(Broadcast{seq, payload})
	r.changed()
	return seq
}

// join adds a viewer to the room, which receives everything that is broadcast
// from now on. A viewer that comes back keeps its id and replaces its older
// connection; with an id of 0 it gets a new id. If the record still has
// everything after the last broadcast that the viewer saw, the viewer continues
// there.
//
// Only the viewer's worker calls join, after want has counted the viewer's
// encoding. If join returns a Refusal, the encoding is no longer counted.
func (r *Room) join(s *Session, e JoinRequest, id uint32) (Joined, *Refusal) {
	r.mu.Lock()
	if f := r.refusalLocked(id); f != nil {
		r.streams.unwant(e.encoding)
		r.mu.Unlock()
		return Joined{}, f
	}
	w, older := r.admitLocked(s, e, id)
	r.mu.Unlock()

	r.audiences.of(s.shard).add(s)
	s.allowLag()
	if older != nil {
		r.tell(older, id, func() { older.end(ReasonReplaced) })
	}
	return w, nil
}

// want has the viewer's encoding written from now on. It reports whether the
// Log in that encoding lacks what the viewer has missed while the record has
// it. The Log then has to be backfilled before the viewer joins.
func (r *Room) want(e JoinRequest, id uint32) (needsBackfill bool, f *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.refusalLocked(id); f != nil {
		return false, f
	}
	r.streams.want(e.encoding)
	return r.needsBackfillLocked(e), nil
}

// refusalLocked returns why a viewer with this id may not join, nil if it may.
// An id of 0 stands for a new viewer.
func (r *Room) refusalLocked(id uint32) *Refusal {
	switch {
	case r.closed:
		return refused(RoomNotFound)
	case r.roster.Voided(id):
		return refused(BadToken)
	case r.roster.Session(id) == nil && r.roster.Viewers()+r.hostSlot.reserved() >= r.options.maxViewers:
		return refused(RoomFull)
	}
	return nil
}

// needsBackfillLocked reports whether the record has what the viewer missed, or
// what followed the cached history that it asks for, while the Log in the
// viewer's encoding does not reach back that far.
func (r *Room) needsBackfillLocked(e JoinRequest) bool {
	if e.encoding == r.streams.encoding() {
		return false
	}
	last, known := r.common(e.Last)
	if !known && e.History {
		last, known = r.history.cachedSeqLocked()
	}
	_, recorded := r.streams.at(last + 1)
	_, there := r.streams.in(e.encoding).At(last + 1)
	return known && recorded && !there
}

// admitLocked adds a viewer to the roster and sets its cursor in the Log of its
// encoding, which counts the viewer already. It also returns the viewer's older
// connection, nil if there is none.
func (r *Room) admitLocked(s *Session, e JoinRequest, id uint32) (w Joined, older *Session) {
	r.pages.changedLocked()
	if older = r.roster.Session(id); older == nil {
		var name string
		id, name = r.roster.Add(s, id, e.Name)
		r.presence.joinedLocked(id, name)
		r.viewerCount.changedLocked()
	} else if r.roster.Replace(s, id, e.Name) {
		r.presence.joinedLocked(id, e.Name) // the host is told the new name
	}
	l := r.streams.in(e.encoding)
	from := l.End()
	common, known := r.common(e.Last)
	if known {
		if c, ok := l.At(common + 1); ok {
			from, w.Recovered = c, common == e.Last.Seq
		}
		w.Common, w.Parted = common, e.Last.Epoch != r.epoch && !w.Recovered
	}
	s.encoding = e.encoding
	r.enterLocked(s, id, from)
	w.Room, w.ID, w.Back = r, id, e.Back
	w.Seq, w.Viewers, w.Host = s.cursor.Seq(), r.roster.Viewers(), r.hostSlot.current() != nil
	return w, older
}

// enterLocked makes s a viewer whose cursor is at the given place. The stream
// of its encoding counts it already. The caller, which is the session's worker,
// adds s to its audience afterwards.
func (r *Room) enterLocked(s *Session, id uint32, from broadcast.Cursor) {
	// Count the viewer before anything else is published. Otherwise a broadcast
	// in between would find an empty audience and not wake it.
	r.audiences.on(r, s.shard).enters()
	s.cursor = from
	s.room, s.id = r, id
	r.changed()
	s.clear(flagHost | flagParked | flagNewHost)
	s.lagAllowance = false
}

// leave removes a viewer from the room. Frames that the Log still owes it stay
// queued.
func (r *Room) leave(s *Session) {
	a := r.audiences.of(s.shard)
	a.remove(s)
	r.mu.Lock()
	a.exits()
	r.streams.unwant(s.encoding)
	if r.roster.Session(s.id) == s { // unless a newer connection has taken its place
		r.pages.changedLocked()
		r.roster.Remove(s.id)
		r.presence.leftLocked(s.id)
		r.viewerCount.changedLocked()
	}
	r.mu.Unlock()
	s.id = 0
}

// unwant notes that a session no longer waits to read an encoding.
func (r *Room) unwant(e encoding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams.unwant(e)
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
