package hub

import (
	"bytes"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lectern/frame"
	"lectern/hub/budget"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// A poll is a request for a room's events that is answered with the events that are there,
// or with the first one that comes. Its connection is a session in the phase polling, which
// may be on another worker than the client's standing session. So the two post tasks to
// each other: the poll goes to the standing session, and what is due comes back.

// maxPollAnswer is how many bytes a response to a poll may have. A single event may be
// longer.
const maxPollAnswer = 256 << 10

// The shortest and the longest time that a poll may wait.
const (
	MinPollWait = time.Second
	MaxPollWait = time.Minute
)

// A poll is a request that waits. What is not marked belongs to the worker of its
// connection.
type poll struct {
	session *Session      // immutable; the connection
	from    netip.Addr    // immutable; the client's address
	origin  string        // immutable; of the page that sent it, empty for other clients
	keeps   bool          // immutable; another request may follow on the connection
	wait    time.Duration // immutable once read
	last    Place         // immutable once read; the last event that the client has, empty if it does not say

	to       *Session // the standing session that the poll went to, nil for none
	answered bool     // the response is being sent

	gone atomic.Bool // atomic; the connection is closed

	since uint32 // when it began to wait, owned by the standing session's worker
}

// isPoll reports whether a request for a room's events polls.
func isPoll(r frame.Request) bool {
	query, err := url.ParseQuery(r.Query)
	return err == nil && query.Has("wait")
}

// openPoll handles a request that polls.
func (s *Session) openPoll(handshake *frame.Handshake) {
	h, config := s.shard.hub, s.Config()
	request, head := handshake.Request(), handshake.Head()
	size, body := handshake.Framing()
	s.dropHead()
	page := pageOf(request, head)
	p := &poll{
		session: s, origin: page, keeps: body == 0 && keepsAlive(head[:size]),
		from: config.Client(s.conn.Peer(), request.ForwardedFor),
	}
	s.extra().poll = p
	s.enter(polling)
	h.polls.Add(1)
	if p.keeps && size < len(head) {
		s.keepForLater(slices.Clone(head[size:]))
		if s.phase != polling {
			return
		}
	}
	if h.draining.Load() {
		s.refuse(ReasonShutdown, 503, "the relay is shutting down")
		return
	}
	if page != "" && !config.AllowsOrigin(page, request.Host, s.conn.Peer(), request.ForwardedFor) {
		h.Refused("origin", p.from)
		p.origin = ""
		s.refusePoll(&Refusal{Kind: OriginNotAllowed, Text: page[:min(len(page), maxOrigin)]})
		return
	}
	var e JoinRequest
	f := checkEventRequest(handshake)
	if f == nil {
		e, f = s.readEvents(request, head[:size])
	}
	if f == nil && e.Ticket != "" {
		f = h.visitor(s.shard, p.from).redeem(&e)
	}
	if f != nil {
		h.Refused(f.Kind.Code(), p.from)
		s.refusePoll(f)
		return
	}
	p.wait, p.last = e.Wait, e.Last
	s.sendPoll(e)
}

// readEvents reads a request for a room's events.
func (s *Session) readEvents(request frame.Request, head []byte) (JoinRequest, *Refusal) {
	h := s.shard.hub
	code, _ := h.events.code(request.Path)
	query, err := url.ParseQuery(request.Query)
	if err != nil {
		return JoinRequest{}, &Refusal{Kind: BadMessage, Text: "the query is not valid"}
	}
	return h.dialects[h.events.dialect].events.ReadRequest(EventRequest{Code: code, Query: query, MaxName: h.Config().MaxName, Header: func(name string) string {
		value, _ := frame.Field(head, name)
		return string(value)
	}})
}

// keepsAlive reports whether another request may follow one with this head (RFC 9112 9.3).
func keepsAlive(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	connection, n := frame.Field(head, "Connection")
	return bytes.HasSuffix(bytes.TrimRight(line, "\r"), []byte("HTTP/1.1")) && n <= 1 && !strings.Contains(strings.ToLower(string(connection)), "close")
}

// keepForLater keeps the bytes that follow a poll's request until the poll is answered.
// Meanwhile the relay does not read from the connection.
func (s *Session) keepForLater(chunk []byte) {
	m := s.extra()
	m.unread = append(m.unread, chunk...)
	s.countInput()
	if m.held > spareInput && s.shard.hub.budget.Counted() >= budget.Over {
		s.withdrawPoll()
		s.reason = ReasonMemory
		s.abandon()
	}
}

// sendPoll sends the connection's poll to its client's standing session. If there is none
// the client joins, or resumes as host, in a new one.
func (s *Session) sendPoll(e JoinRequest) {
	p := s.more.poll
	target := s.shard.hub.standingOf(e)
	if target == nil {
		s.joinByPoll(e)
		return
	}
	code, _ := roomcode.Parse(e.Code)
	p.to = target
	target.shard.Post(func() bool {
		if c := target.conn.(*standing); c.takesPoll(code) {
			c.attach(p)
			return false
		}
		s.shard.Post(func() bool { // it has just ended, or is in another room
			if s.phase == polling && s.more.poll == p && !p.answered {
				p.to = nil
				s.joinByPoll(e)
				s.conn.Flush()
			}
			return false
		})
		return false
	})
}

// standingOf returns the standing session that a request's token was given in, nil if there
// is none.
func (h *Hub) standingOf(e JoinRequest) *Session {
	if !e.Back {
		return nil
	}
	return h.tokensOf.find(e.Token)
}

// joinByPoll opens a standing session for the client and has it join. The poll is answered
// with what the client is told.
func (s *Session) joinByPoll(e JoinRequest) {
	p := s.more.poll
	home, f := s.shard.newStanding(p.from)
	if f != nil {
		s.refusePoll(f)
		return
	}
	p.to = home
	p.last = Place{} // the join goes on from there
	c := home.conn.(*standing)
	home.answer(&answering{done: func(a *answering) {
		if home.room == nil {
			f := a.result.Refusal
			if f == nil {
				f = refused(RoomNotFound) // the room closed in the meantime
			}
			s.shard.Post(func() bool {
				if s.phase == polling && s.more.poll == p {
					s.refusePoll(f)
					s.conn.Flush()
				}
				return false
			})
			c.close()
			return
		}
		c.enters(a.token)
		if home.phase == open && !p.gone.Load() {
			for _, whole := range a.frames {
				home.outbound().push(private{frame: whole, kind: urgent})
			}
			c.attach(p)
		}
	}, keeps: true}, func() { home.enterBy(e) })
}

// enterBy joins a room as viewer, or resumes it as host, as the token in the request says.
func (s *Session) enterBy(e JoinRequest) {
	var f *Refusal
	if e.Back && credentials.IsHostToken(e.Token) {
		f = s.Resume(e.Code, e.Token, e.Tag)
	} else {
		f = s.Join(e)
	}
	if f != nil {
		f.Tag = e.Tag
		s.Refuse(f)
	}
}

// attach has a poll wait for what is due, in place of an older one.
func (c *standing) attach(p *poll) {
	s := c.session
	if c.poll != nil {
		c.deliver(pollResponse{})
	}
	c.asked, p.since = s.shard.Now(), s.shard.Now()
	s.lastReceived = c.asked
	if p.last.Epoch != "" {
		s.continueAfter(p.last)
	}
	c.poll = p
	s.block(false)
	c.Flush()
}

// continueAfter moves a viewer's cursor to the broadcast after the last one that it has. If
// a response did not arrive, that is an earlier one than the relay would send next. The
// viewer is told how many broadcasts it missed if the record no longer has them. It is a
// later one if the viewer gave up a poll that has joined for it after all.
func (s *Session) continueAfter(last Place) {
	if s.room == nil || s.has(flagHost) || s.cursor.IsZero() || last.Epoch != s.room.epoch || last.Seq == s.cursor.Seq() {
		return
	}
	s.room.mu.Lock()
	at, ok := s.log().At(last.Seq + 1)
	s.room.mu.Unlock()
	switch missed := s.cursor.Seq() - last.Seq; {
	case ok:
		s.cursor = at
		s.allowLag()
	case last.Seq < s.cursor.Seq():
		s.shard.counters.skipped.Add(missed)
		s.tellAt(Skipped{Messages: missed, Epoch: s.room.epoch, Seq: s.cursor.Seq()}, s.cursor.Position())
	}
}

// answerPoll answers the poll with what is due. If nothing is, it goes on waiting.
func (c *standing) answerPoll() {
	s, size := c.session, 0
	var due pollResponse
	for size < maxPollAnswer {
		p := s.Next()
		if len(p) == 0 || size > 0 && size+len(p) > maxPollAnswer {
			break
		}
		if s.has(flagFromOut) && s.out.items[0].direct {
			due.direct = append(due.direct, p)
		}
		due.events, size = append(due.events, p), size+len(p)
		s.Sent(len(p), false)
	}
	if size > 0 {
		c.deliver(due)
	}
}

// A pollResponse is what a poll is answered with.
type pollResponse struct {
	events [][]byte // what is due
	direct [][]byte // of that, the direct messages
}

// deliver ends the wait of the poll with a response.
func (c *standing) deliver(r pollResponse) {
	s, p := c.session, c.poll
	c.poll, c.asked = nil, s.shard.Now()
	if !s.has(flagBlocked) {
		s.block(true)
	}
	p.session.shard.Post(func() bool {
		p.session.pollReturns(p, r)
		return false
	})
}

// pollReturns sends the response to a poll.
func (s *Session) pollReturns(p *poll, r pollResponse) {
	if s.phase != polling || s.more == nil || s.more.poll != p || p.answered {
		// The connection is gone. The client's next poll says which broadcasts it has, but
		// cannot say which direct messages.
		if to := p.to; to != nil && len(r.direct) > 0 {
			to.shard.Post(func() bool {
				to.takeBack(r.direct)
				return false
			})
		}
		return
	}
	h, size := s.shard.hub, 0
	for _, whole := range r.events {
		size += len(whole)
	}
	p.answered, s.since = true, s.shard.Now()
	keeps := p.keeps && !h.draining.Load()
	head := h.dialects[h.events.dialect].events.AppendPollHead(nil, p.origin, size, keeps)
	h.Answered(200)
	s.push(private{frame: head, kind: urgent})
	for _, whole := range r.events {
		s.push(private{frame: whole, kind: urgent})
	}
	if !keeps {
		s.reason = ReasonPlain
		s.more.poll = nil
		s.dropInput()
		s.enter(finishing)
	}
	s.conn.Flush()
}

// pollAnswered begins the connection's next request when the response has been sent.
func (s *Session) pollAnswered() {
	m := s.more
	if m == nil || m.poll == nil || !m.poll.answered {
		return
	}
	m.poll = nil
	s.reason = ReasonPlain
	s.enter(opening)
	s.shard.hub.handshaking.Add(1)
	s.shard.silent.add(s)
	if len(m.unread) == 0 {
		s.dropExtra()
		return
	}
	s.shard.PostBehind(func() bool { // the transport is in the middle of a send
		if m := s.more; s.phase == opening && m != nil {
			rest := m.unread
			m.unread = nil
			s.countInput()
			s.open(rest)
			s.conn.Flush()
		}
		return false
	})
}

// isIdle reports whether the connection has answered a poll, and nothing of another request
// has come. It may be closed without a response.
func (s *Session) isIdle() bool {
	return s.phase == opening && s.has(flagSilent) && s.reason == ReasonPlain
}

// refusePoll answers a poll with an HTTP error, which ends the connection.
func (s *Session) refusePoll(f *Refusal) {
	h := s.shard.hub
	origin := s.more.poll.origin
	s.respond(ReasonHandshake, h.dialects[h.events.dialect].events.AppendRefusal(nil, f, origin))
}

// tickPoll checks the time limit of a response. A poll that waits has its limit with the
// standing session.
func (s *Session) tickPoll(config *Config) {
	if s.more.poll.answered && (s.has(flagBlocked) && s.past(s.lastSent, config.StallTimeout) || s.past(s.since, config.HistoryTake)) {
		s.shard.counters.slow[CauseStall].closed.Add(1)
		s.reason = ReasonTooSlow
		s.abandon()
	}
}

// shutdownPoll answers a poll that waits with the event that the relay is shutting down.
func (s *Session) shutdownPoll() {
	p := s.more.poll
	if p.answered {
		return // what follows the response is refused
	}
	s.withdrawPoll()
	h := s.shard.hub
	closed := h.dialects[h.events.dialect].AppendEvent(nil, s.closedEvent(ReasonShutdown))
	s.pollReturns(p, pollResponse{events: [][]byte{closed}})
	s.reason = ReasonShutdown
}

// withdrawPoll tells the standing session that the poll no longer waits.
func (s *Session) withdrawPoll() {
	p := s.more.poll
	p.gone.Store(true)
	if p.to == nil || p.answered {
		return
	}
	to := p.to
	to.shard.Post(func() bool {
		if c := to.conn.(*standing); c.poll == p {
			c.poll = nil
			to.block(true)
		}
		return false
	})
}
