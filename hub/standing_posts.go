package hub

import (
	"context"
	"net/netip"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// The exported functions in this file are for an HTTP server. They wait for the worker of
// a session, so no worker may call them. They return the error of their context, or
// context.DeadlineExceeded when the worker takes longer than postWait. Even then, the
// worker may handle the message.

// postWait is how long a request that came by POST may take. A room that is read from
// disk, and a code that has to wait, take a few seconds.
const postWait = 10 * time.Second

// await calls begin, and returns the result that begin passes to done.
func await[T any](ctx context.Context, begin func(done func(T))) (result T, err error) {
	ctx, cancel := context.WithTimeout(ctx, postWait)
	defer cancel()
	came := make(chan T, 1)
	begin(func(result T) { came <- result })
	select {
	case result = <-came:
		return result, nil
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

// PostViewer has the client at an address join a room in a standing session. The first
// answer tells that it has joined.
func (h *Hub) PostViewer(ctx context.Context, from netip.Addr, e JoinRequest) (Result, error) {
	return await(ctx, func(done func(Result)) {
		h.openStanding(from, func(s *Session) { s.enterBy(e) }, done)
	})
}

// PostHost has the client at an address create or resume a room in a standing session. The
// message must do so. The host's next message has the number 1.
func (h *Hub) PostHost(ctx context.Context, from netip.Addr, message []byte) (Result, error) {
	return await(ctx, func(done func(Result)) {
		h.openStanding(from, func(s *Session) { s.handlePosted(message) }, done)
	})
}

// openStanding opens a standing session on the worker with the fewest, and has enter bring
// it into a room. It calls done with the answers on that worker.
func (h *Hub) openStanding(from netip.Addr, enter func(*Session), done func(Result)) {
	shard := h.shards[0]
	for _, other := range h.shards {
		if other.standing.count.Load() < shard.standing.count.Load() {
			shard = other
		}
	}
	shard.Post(func() bool {
		s, f := shard.newStanding(from)
		if f != nil {
			done(Result{Refusal: f})
			return false
		}
		s.answer(&answering{done: func(a *answering) {
			c := s.conn.(*standing)
			switch {
			case s.room == nil:
				if a.result.Refusal == nil {
					a.result.Refusal = refused(RoomNotFound) // the room closed in the meantime
				}
				c.close()
			case s.has(flagHost):
				s.room.forgetPosts()
				fallthrough
			default:
				a.result.Ticket = c.giveTicket(c.enters(a.token))
				c.keepAnswers(a.frames[1:]) // the first one tells that it has entered
				a.result.Answers = a.result.Answers[:1]
			}
			done(a.result)
		}, keeps: true}, func() { enter(s) })
		s.conn.Flush()
		return false
	})
}

// An Addressee is the session that a token stands for. A message by POST with this token is
// a message of that session.
type Addressee struct {
	session *Session
	room    *Room
	id      uint32 // 0 for the host; not of a standing session, whose token stays when its role changes
	host    bool
	from    netip.Addr
}

// FindAddressee returns the session of the client that a token in a room is for, whatever
// kind of connection it has. from is the address that the token came from; wrong tokens
// and codes are counted for it.
func (h *Hub) FindAddressee(ctx context.Context, from netip.Addr, code, token string) (*Addressee, *Refusal, error) {
	v := h.visitor(h.shards[0], from)
	if v.crowded() {
		wait := time.NewTimer(searchWait)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	if c, ok := roomcode.Parse(code); ok {
		h.rooms.Awake(c)
	}
	r, c, f := v.find(code, true)
	if f != nil {
		if f.sleeps {
			f = refused(NotReady)
		}
		return nil, h.noted(from, f), nil
	}
	if s := h.tokensOf.find(token); s != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return &Addressee{session: s, room: r, from: from, host: r.hostSlot.is(s)}, nil, nil
	}
	s, id, ok := r.sessionOf(token)
	switch {
	case !ok:
		return nil, h.noted(from, v.failedAttempt(refused(BadToken), c)), nil
	case s == nil:
		return nil, h.noted(from, refused(NoSession)), nil
	}
	return &Addressee{session: s, room: r, from: from, id: id, host: id == 0}, nil, nil
}

// noted counts a Refusal of a client at an address.
func (h *Hub) noted(from netip.Addr, f *Refusal) *Refusal {
	h.Refused(f.Kind.Code(), from)
	return f
}

// isThere reports whether the session is still what it was found as. Its worker calls it.
func (to *Addressee) isThere() bool {
	s := to.session
	return s.phase == open && s.room == to.room && (s.isStanding() || s.id == to.id) && s.speaksLectures()
}

// IsHost reports whether the session is the room's host.
func (to *Addressee) IsHost() bool { return to.host }

// Post handles a message of the session, which must be UTF-8, and keeps it. A number
// other than 0 is for a host: the first message has the number 1, each that follows has
// the next one, and one with the number of the latest message is not handled again but
// has the same result.
func (to *Addressee) Post(ctx context.Context, message []byte, number uint64) (Result, error) {
	if number > 0 {
		return to.postNumbered(ctx, message, number)
	}
	return await(ctx, func(done func(Result)) { to.post(message, done) })
}

// post handles a message on the session's worker, and calls done there.
func (to *Addressee) post(message []byte, done func(Result)) {
	s := to.session
	s.shard.Post(func() bool {
		switch {
		case !to.isThere():
			done(Result{Refusal: s.shard.hub.noted(to.from, refused(NoSession))})
			return false
		case s.inputWaits() || s.more != nil && len(s.more.unread) > 0:
			done(Result{Refusal: s.shard.hub.noted(to.from, relayBusy())})
			return false
		}
		s.shard.hub.posted.Add(1)
		if c, ok := s.conn.(*standing); ok {
			c.asked = s.shard.Now()
		}
		s.answer(&answering{done: func(a *answering) {
			s.endOutside()
			if a.dropped {
				a.refuse(s.shard.hub.noted(to.from, refused(NotInRoom)))
			}
			done(a.result)
		}}, func() { s.handlePosted(message) })
		s.conn.Flush()
		return false
	})
}

// handlePosted handles a message that came by POST.
func (s *Session) handlePosted(message []byte) {
	s.extra().rate.reported = 0
	s.handle(frame.Message{Op: ws.OpText, Payload: message, Owned: true, TooLarge: len(message) > s.language().Limit(s)})
	if s.phase == open && s.more != nil && s.more.rate.omitted > 0 {
		if a := s.answering(); a != nil {
			a.refuse(&Refusal{Kind: TooManyErrors, Limit: s.more.rate.omitted})
		}
		s.tooManyErrors()
	}
}

// speaksLectures reports whether the session's dialect has the messages that come by POST.
func (s *Session) speaksLectures() bool {
	h := s.shard.hub
	return s.isEvents() || h.dialects[s.dialect].record == h.dialects[h.events.dialect].record
}

// sessionOf returns the session and the id of the client that a token is for, and whether
// the token is valid. The session is nil if the client has none, the id 0 for a host.
func (r *Room) sessionOf(token string) (s *Session, id uint32, ok bool) {
	if credentials.IsHostToken(token) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed || !r.hostSlot.proves(token) {
			return nil, 0, false
		}
		if r.hostSlot.isOwn(token) {
			s = r.hostSlot.current()
		}
		return s, 0, true
	}
	if id, ok = r.hub.tokens.Check(token, r.birth, r.code); !ok {
		return nil, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.roster.Voided(id) {
		return nil, 0, false
	}
	return r.roster.Session(id), id, true
}

// visitor returns a session without a connection, to look for rooms with: it stands for a
// client at an address, whose wrong codes and tokens are counted.
func (h *Hub) visitor(s *shard, from netip.Addr) *Session {
	return &Session{shard: s, conn: visitor{from}}
}

// visitor is the Conn of a client that is known by its address.
type visitor struct{ from netip.Addr }

// Flush does nothing.
func (visitor) Flush() {}

// Peer returns the client's address.
func (v visitor) Peer() netip.Addr { return v.from }
