package hub

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"lectern/hub/budget"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// A client that cannot keep a connection open sends its messages by POST, and polls for
// events. Between its requests it has a standing session: a Session like any other, in
// the encoding for event streams, whose Conn is not a socket. That Conn accepts bytes
// while a poll waits, and is full otherwise. So all limits for clients that do not read
// hold for clients that do not poll. Standing sessions count as connections, and the
// worker visits each about once a second. A client that neither polls nor posts for
// Config.PollGrace has left.
//
// The other files: standing_poll.go answers polls, standing_posts.go handles messages by
// POST, standing_answers.go collects the answers to them, standing_numbers.go keeps the
// numbers of a host's messages, standing_tokens.go finds the session for a token, and
// standing_tickets.go has what stands for a token in a URL.

// standingBytes is the memory of a standing session. What any session may hold besides
// is counted where it is held.
const standingBytes = 768

// standing is the Conn of a standing session. It belongs to the session's worker.
type standing struct {
	session *Session   // immutable
	from    netip.Addr // immutable; the client's address
	slot    int        // index in standingSessions.all
	asked   uint32     // when the client last polled or posted, in the worker's coarse time
	poll    *poll      // nil while none waits
	older   []*poll    // at most maxOlderPolls that are to be answered because newer ones came
	ticket  string     // the ticket that was given for the session, empty for none

	room   roomcode.Code       // of the room that it entered
	tokens [2]credentials.Hash // of the latest tokens that were given in the session
}

// standingSessions are the standing sessions of one worker.
type standingSessions struct {
	all   []*standing  // owned by the worker
	next  int          // owned by the worker; index of the next one to visit; those before it were visited in this round
	count atomic.Int64 // atomic; length of all
	due   atomic.Bool  // atomic; a visit is posted or running
}

// newStanding returns a standing session for a client at an address, which is in no room
// yet, or a Refusal if there is no place for it. The worker calls it.
func (s *shard) newStanding(from netip.Addr) (*Session, *Refusal) {
	h := s.hub
	if h.draining.Load() {
		return nil, relayBusy()
	}
	if h.budget.LevelWith(standingBytes) >= budget.Full {
		h.Refused("memory", from)
		return nil, relayBusy()
	}
	now := s.Now()
	c := &standing{from: from, asked: now, slot: len(s.standing.all)}
	c.session = &Session{
		shard: s, conn: c, phase: open, dialect: h.events.dialect, flags: flagBlocked,
		lastReceived: now, lastSent: now, since: now,
	}
	h.connections.Add(1)
	n := h.upgraded.Add(1)
	h.standing.Add(1)
	h.budget.Add(budget.HTTP, standingBytes)
	s.standing.all = append(s.standing.all, c)
	s.standing.count.Add(1)
	f := c.session.enterAddress("")
	if n > int64(h.Config().MaxConnections) {
		f = refused(ServerFull)
		h.Refused(f.Kind.Code(), from)
	}
	if f != nil {
		c.session.reason = ReasonServerFull
		c.close()
		return nil, f
	}
	return c.session, nil
}

// isStanding reports whether the session is a standing one.
func (s *Session) isStanding() bool {
	_, ok := s.conn.(*standing)
	return ok
}

// Peer returns the client's address.
func (c *standing) Peer() netip.Addr { return c.from }

// Flush answers the poll that waits, if something is due. A session that has ended is
// closed when a poll has taken everything, or after Config.CloseTimeout. Until then, polls
// find it by its token. A session that was replaced is closed at once: the client's polls
// are for the newer one.
func (c *standing) Flush() {
	if c.poll != nil {
		c.answerPoll()
	}
	if s := c.session; s.phase > open && s.phase != gone && (s.out == nil || s.reason == ReasonReplaced) {
		c.close()
	}
}

// takesPoll reports whether a poll for the room gets the session's events.
func (c *standing) takesPoll(room roomcode.Code) bool {
	s := c.session
	return c.room == room && (s.phase == open || s.phase == finishing && s.out != nil)
}

// close ends the session. A poll that waits is answered.
func (c *standing) close() {
	if c.session.phase == gone {
		return
	}
	if c.poll != nil {
		c.deliver(nil)
	}
	c.answerOlder(0)
	h, all := c.session.shard.hub, &c.session.shard.standing
	c.session.Closed(nil)
	h.tickets.void(c.ticket)
	c.forgetTokens()
	h.standing.Add(-1)
	h.budget.Add(budget.HTTP, -standingBytes)
	last := len(all.all) - 1
	// The place is filled without leaving anybody out of this round: if it is among those
	// that were visited, the last of these moves there, and the last of all to its place.
	if c.slot < all.next {
		all.next--
		all.move(all.next, c.slot)
		all.move(last, all.next)
	} else {
		all.move(last, c.slot)
	}
	all.all[last] = nil
	all.all = all.all[:last]
	if c := cap(all.all); c > minMembers && last < c/4 {
		all.all = append(make([]*standing, 0, c/2), all.all...)
	}
	all.count.Add(-1)
}

// move moves a standing session to another place.
func (all *standingSessions) move(from, to int) {
	all.all[to] = all.all[from]
	all.all[to].slot = to
}

// tendStanding has the worker visit its standing sessions. It may be called from any
// goroutine.
func (s *shard) tendStanding() {
	if s.standing.count.Load() > 0 && s.standing.due.CompareAndSwap(false, true) {
		s.Post(s.visitStanding)
	}
}

// visitStanding checks the time limits of the worker's standing sessions, in slices.
func (s *shard) visitStanding() (more bool) {
	all := &s.standing
	for all.next < len(all.all) {
		c := all.all[all.next]
		all.next++
		c.tick()
		if s.Spent() {
			return true
		}
	}
	all.next = 0
	all.due.Store(false)
	return false
}

// tick checks the session's time limits.
func (c *standing) tick() {
	s, config := c.session, c.session.shard.hub.Config()
	s.Tick()
	c.answerOlder(MinPollWait)
	switch {
	case s.phase != open:
	case c.poll != nil && s.past(c.poll.since, c.poll.wait):
		c.deliver(nil)
	case c.poll == nil && s.past(c.asked, config.PollGrace):
		s.reason = ReasonIdle
		c.close()
		return
	}
	c.Flush()
}

// shutdownStanding ends the worker's standing sessions because the relay is shutting
// down. It may be called from any goroutine.
func (s *shard) shutdownStanding() {
	s.Post(func() (more bool) {
		for n := len(s.standing.all); n > 0; n = len(s.standing.all) {
			c := s.standing.all[n-1]
			c.session.Shutdown()
			c.Flush()
			c.close() // also if it was closing before
			if s.Spent() {
				return len(s.standing.all) > 0
			}
		}
		return false
	})
}

// endOutside ends a standing session that has left its room: no request can bring it into
// another one.
func (s *Session) endOutside() {
	if s.room == nil && s.phase == open && s.isStanding() {
		s.reason = ReasonClient
		s.enter(finishing)
	}
}

// replacedBy ends a session because its client has come back in a newer one, as the
// viewer with this id or, with an id of 0, as the host. Direct messages that wait for the
// client's next poll go on to the newer session if that speaks the same dialect.
func (s *Session) replacedBy(newer *Session, id uint32) {
	r := s.room
	var direct [][]byte
	if s.isStanding() && s.out != nil && newer.dialect == s.dialect {
		for _, p := range s.out.items {
			if p.direct {
				direct = append(direct, p.frame)
			}
		}
	}
	s.end(ReasonReplaced)
	if direct == nil {
		return
	}
	r.tell(newer, id, func() { newer.takeBack(direct) })
}

// takeBack queues direct messages that another session or connection of the client did not
// take, before those that came since.
func (s *Session) takeBack(direct [][]byte) {
	if s.phase != open || s.room == nil {
		return
	}
	for _, whole := range slices.Backward(direct) {
		if s.takesDirect(whole) {
			s.outbound().giveBack(private{frame: whole, place: s.place(), direct: true})
		}
	}
	s.conn.Flush()
}
