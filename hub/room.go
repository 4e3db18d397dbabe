package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"lectern/hub/broadcast"
)

// A Room is one host's broadcast and its audience.
type Room struct {
	hub     *Hub      // immutable
	code    code      // immutable once registered
	epoch   string    // immutable; names what the room's broadcasts are numbered in
	birth   string    // immutable; its first epoch
	older   []Past    // immutable; the epochs before this one that it remembers
	options roomRules // immutable
	created time.Time // immutable
	from    uint32    // immutable; index in hub.addresses of who created it, 0 for nobody's

	log     *broadcast.Log // immutable; the record, appended to under mu
	streams streams        // changed under mu; the record's first
	grown   atomic.Uint64  // frames appended, in whatever encodings

	audiences []atomic.Pointer[audience] // one for each worker, made when it has viewers
	toHost    atomic.Int64               // bytes of viewers' messages on their way to the host
	toViewers atomic.Int64               // bytes of the host's messages on their way to viewers
	marked    atomic.Bool                // it is among the hub's changes

	mu             sync.Mutex
	closed         bool           // guarded by mu
	hostSlot       hostSlot       // guarded by mu; the host's
	roster         roster         // guarded by mu
	presence       presence       // guarded by mu
	historyRequest historyRequest // guarded by mu
	record         record         // guarded by mu
	cachedHistory  cachedHistory  // guarded by mu
	viewerCount    viewerCount    // guarded by mu
	pages          pages          // guarded by mu
	returns        returns        // guarded by mu

	held    int64  // guarded by mu; bytes of the Logs
	counted int64  // guarded by mu; bytes that the budget was told of
	aged    uint64 // guarded by mu; grown when age was last called
}

// roomRules are what whoever creates a room may choose.
type roomRules struct {
	name       string
	secret     secret
	maxViewers int
	roster     bool // viewers may list each other
	relayTells bool // the relay keeps the history, not the host
	skips      bool // who is too slow is moved on instead of closed
}

// newRoom returns a room and its host's token.
func newRoom(h *Hub, record encoding, rules roomRules) (*Room, hostToken) {
	epoch := drawEpoch()
	r := &Room{
		hub: h, epoch: epoch, birth: epoch, options: rules, created: time.Now(),
		log: h.newLog(0), audiences: make([]atomic.Pointer[audience], len(h.shards)),
	}
	r.setLog(r.log, record)
	r.roster.left.total = &h.left
	token := drawToken()
	r.hostSlot.token = token.hash()
	return r, token
}

// setLog makes a Log the room's record, before anybody is in the room.
func (r *Room) setLog(l *broadcast.Log, in encoding) {
	r.log = l
	r.streams.Store(&[]*stream{{encoding: in, log: l}})
}

// AppendCode appends the room's code as it is told.
func (r *Room) AppendCode(b []byte) []byte { return r.code.appendText(b) }

// Epoch names what the room's broadcasts are numbered in.
func (r *Room) Epoch() string { return r.epoch }

// audience returns the room's viewers on one worker, which must have had some.
func (r *Room) audience(s *shard) *audience { return r.audiences[s.index].Load() }

// broadcast appends a host's message to the Log, as it is, and wakes the
// workers that have viewers. It is called by the host's worker, and reports
// whether that is the host still.
func (r *Room) broadcast(from *Session, op ws.OpCode, payload []byte) bool {
	r.mu.Lock()
	if r.hostSlot.host != from {
		r.mu.Unlock()
		return false
	}
	r.publishLocked(op, payload)
	r.hostSlot.sent++
	r.mu.Unlock()

	from.shard.counters.appended.Add(1)
	r.wake()
	return true
}

// publishLocked appends a broadcast and returns its number.
func (r *Room) publishLocked(op ws.OpCode, payload []byte) (seq uint64) {
	end := r.log.End()
	seq = end.Seq() + 1
	r.appendLocked(Broadcast{seq, op, payload})
	r.changed()
	return seq
}

// wake has the audiences swept.
func (r *Room) wake() {
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.wake()
		}
	}
}

// join lets a viewer in: it gets what is broadcast from now on. With an id of
// its own it comes back and takes the place of its older connection, otherwise
// it gets a new one. When the record still has all that followed the last
// broadcast that it has seen, it goes on from there. It is called by the viewer's
// worker, with the encoding wanted already, which it is no longer after a fault.
func (r *Room) join(s *Session, e JoinRequest, id uint32) (Joined, *Refusal) {
	r.mu.Lock()
	if f := r.refusalLocked(id); f != nil {
		r.unwantLocked(e.encoding)
		r.mu.Unlock()
		return Joined{}, f
	}
	w, older := r.admitLocked(s, e, id)
	r.mu.Unlock()

	r.audience(s.shard).add(s)
	s.allowLag()
	if older != nil {
		r.tell(older, id, func() { older.end(ReasonReplaced) })
	}
	return w, nil
}

// want has a viewer's encoding written from now on, and reports whether the Log
// in it lacks what the viewer has missed, but the record does not: then it has to
// be backfilled before the viewer joins.
func (r *Room) want(e JoinRequest, id uint32) (needsBackfill bool, f *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.refusalLocked(id); f != nil {
		return false, f
	}
	r.wantLocked(e.encoding)
	return r.needsBackfillLocked(e), nil
}

// refusalLocked returns why nobody is let in who has the id, or none with 0.
func (r *Room) refusalLocked(id uint32) *Refusal {
	switch {
	case r.closed:
		return refused(RoomNotFound)
	case r.roster.voided(id):
		return refused(BadToken)
	case r.roster.session(id) == nil && r.roster.viewers+r.hostSlot.moving >= r.options.maxViewers:
		return refused(RoomFull)
	}
	return nil
}

// needsBackfillLocked reports whether the record has what a viewer missed, or what
// was said since the history that it asks for, but not the Log in its encoding.
func (r *Room) needsBackfillLocked(e JoinRequest) bool {
	if e.encoding == r.recordEncoding() {
		return false
	}
	last, known := r.common(e.Last)
	if cached := r.cachedHistory.upTo; !known && e.History && len(cached) > 0 {
		last, known = cached[0].end.Seq(), true
	}
	_, recorded := r.log.At(last + 1)
	_, there := r.in(e.encoding).At(last + 1)
	return known && recorded && !there
}

// admitLocked enters a viewer in the roster and gives it its place in the Log in
// its encoding, for which it is counted already. It returns its older connection
// too, if there is one.
func (r *Room) admitLocked(s *Session, e JoinRequest, id uint32) (w Joined, older *Session) {
	r.pages.version++
	if older = r.roster.session(id); older == nil {
		var name string
		id, name = r.roster.add(s, id, e.Name)
		r.presence.joinedLocked(r, id, name)
		r.countLocked()
	} else if r.roster.replace(s, id, e.Name) {
		r.presence.joinedLocked(r, id, e.Name) // the host hears of the new name
	}
	l := r.in(e.encoding)
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
	w.Seq, w.Viewers, w.Host = s.cursor.Seq(), r.roster.viewers, r.hostSlot.host != nil
	return w, older
}

// enterLocked makes s a viewer at a place of the Log in its encoding, for which
// it is counted already. The caller, which is its worker, adds it to its
// audience afterwards.
func (r *Room) enterLocked(s *Session, id uint32, from broadcast.Cursor) {
	a := r.audience(s.shard)
	if a == nil {
		a = newAudience(r, s.shard)
		r.audiences[s.shard.index].Store(a)
	}
	// Counted before anything else is published, or a broadcast in between would
	// find nobody to wake for it.
	a.count.Add(1)
	s.cursor = from
	s.room, s.id = r, id
	r.changed()
	s.clear(flagHost | flagParked | flagNewHost)
	s.lagAllowance = false
}

// leave takes a viewer out. What the Log still owes it stays due.
func (r *Room) leave(s *Session) {
	a := r.audience(s.shard)
	a.remove(s)
	r.mu.Lock()
	a.count.Add(-1)
	r.unwantLocked(s.encoding)
	if r.roster.session(s.id) == s { // unless a newer connection has its place
		r.pages.version++
		r.roster.remove(s.id)
		r.presence.leftLocked(r, s.id)
		r.countLocked()
	}
	r.mu.Unlock()
	s.id = 0
}

func (r *Room) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// close ends the room: everybody gets what was broadcast before, is told why,
// and is disconnected. It reports whether the room was open until then.
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

// closeLocked makes the room one that nobody can enter, and returns the host
// that it had.
func (r *Room) closeLocked() (host *Session) {
	host = r.hostSlot.host
	r.closed = true
	r.hostSlot.host = nil
	r.hostSlot.stopWaiting()
	r.historyRequest.stop()
	r.presence.stop()
	r.viewerCount.stop()
	r.roster.left.forget()
	r.cachedHistory.drop()
	r.pages.drop()
	r.releaseLocked()
	return host
}

// dismiss takes the closed room out of the registry and tells those in it. A
// host that is nil has gone, or knows already.
func (r *Room) dismiss(host *Session, why Reason) {
	r.hub.remove(r)
	if host != nil {
		r.tell(host, 0, func() { host.end(why) })
	}
	for i := range r.audiences {
		if a := r.audiences[i].Load(); a != nil {
			a.shard.Post(func() bool { return a.dismiss(why) })
		}
	}
}

// tell has f run by a session's worker, and what it queues sent, if the session
// is still the one with the id in this room (0 for the host). It may be called
// from anywhere, without the room's lock.
func (r *Room) tell(s *Session, id uint32, f func()) {
	s.shard.Post(func() bool {
		if s.room == r && s.id == id && s.phase == open {
			f()
			s.conn.Flush()
		}
		return false
	})
}
