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

// isPoll reports whether a request for a room's events polls. A query that is too long is
// refused without splitting it.
func isPoll(r frame.Request) bool {
	if len(r.Query) > maxEventQuery {
		return false
	}
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
	e, f := h.dialects[h.events.dialect].events.ReadRequest(EventRequest{Code: code, Query: query, MaxName: h.Config().MaxName, Header: func(name string) string {
		value, _ := frame.Field(head, name)
		return string(value)
	}})
	if e.Back || e.Ticket != "" { // which need no secret
		e.Code, _, _ = roomcode.CutSecret(e.Code)
	}
	return e, f
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
		if home.phase == open && !p.gone.Load() { // otherwise the client may know more when it polls again
			c.keepAnswers(a.frames)
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
	if p.gone.Load() {
		return // what is due waits for the client's next poll
	}
	s := c.session
	c.supersede()
	c.asked, p.since = s.shard.Now(), s.shard.Now()
	s.lastReceived = c.asked
	if p.last.Epoch != "" {
		s.continueAfter(p.last)
	}
	c.poll = p
	s.block(false)
	c.Flush()
}

// maxOlderPolls is how many polls of one client, in whose place newer ones have come, have to
// wait for their answers.
const maxOlderPolls = 16

// supersede ends the wait of the poll because a newer one has come. Two pages with one token
// each end the other's polls, and poll again when they have their answers: so a poll is not
// answered before it is MinPollWait old.
func (c *standing) supersede() {
	if c.poll == nil {
		return
	}
	if len(c.older) == maxOlderPolls {
		c.answerEmpty(c.older[0])
		c.older = slices.Delete(c.older, 0, 1)
	}
	c.older = append(c.older, c.poll)
	c.poll = nil
	c.session.block(true)
	c.answerOlder(MinPollWait)
}

// answerOlder answers the polls whose wait was ended, if they are older than wait.
func (c *standing) answerOlder(wait time.Duration) {
	if c.older == nil {
		return
	}
	c.older = slices.DeleteFunc(c.older, func(p *poll) bool {
		due := wait == 0 || c.session.past(p.since, wait)
		if due {
			c.answerEmpty(p)
		}
		return due
	})
	if len(c.older) == 0 {
		c.older = nil
	}
}

// answerEmpty answers a poll with nothing.
func (c *standing) answerEmpty(p *poll) {
	p.session.shard.Post(func() bool {
		p.session.pollReturns(p, nil)
		return false
	})
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
	var due []private
	for size < maxPollAnswer {
		p := s.Next()
		if len(p) == 0 || size > 0 && size+len(p) > maxPollAnswer {
			break
		}
		event := private{frame: p, kind: urgent}
		if s.has(flagFromOut) {
			item := &s.out.items[0]
			event.direct = item.direct
			if item.shared != nil {
				event.shared = item.shared.hold()
			}
		}
		due, size = append(due, event), size+len(p)
		s.Sent(len(p), false)
	}
	if size > 0 {
		c.deliver(due)
	}
}

// deliver ends the wait of the poll with what is due.
func (c *standing) deliver(due []private) {
	s, p := c.session, c.poll
	c.poll, c.asked = nil, s.shard.Now()
	if !s.has(flagBlocked) {
		s.block(true)
	}
	p.session.shard.Post(func() bool {
		p.session.pollReturns(p, due)
		return false
	})
}

// pollReturns sends the response to a poll, whose events may be shared frames that it
// releases.
func (s *Session) pollReturns(p *poll, due []private) {
	if s.phase != polling || s.more == nil || s.more.poll != p || p.answered {
		p.comesBack(due)
		return
	}
	h, size := s.shard.hub, 0
	for _, event := range due {
		size += len(event.frame)
	}
	p.answered, s.since = true, s.shard.Now()
	keeps := p.keeps && !h.draining.Load()
	head := h.dialects[h.events.dialect].events.AppendPollHead(nil, p.origin, size, keeps)
	h.Answered(200)
	s.push(private{frame: head, kind: urgent})
	for _, event := range due {
		s.push(event)
	}
	if !keeps {
		s.reason = ReasonPlain
		s.more.poll = nil
		s.dropInput()
		s.enter(finishing)
	}
	s.conn.Flush()
}

// comesBack takes what a poll was to be answered with when its connection is gone. The client
// asks again with what it has, but does not know of direct messages.
func (p *poll) comesBack(due []private) {
	var direct [][]byte
	for _, event := range due {
		event.shared.release()
		if event.direct {
			direct = append(direct, event.frame)
		}
	}
	if to := p.to; to != nil && direct != nil {
		to.shard.Post(func() bool {
			to.takeBack(direct)
			return false
		})
	}
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
	s.pollReturns(p, []private{{frame: closed, kind: urgent}})
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
		c := to.conn.(*standing)
		if c.poll == p {
			c.poll = nil
			to.block(true)
		}
		c.older = slices.DeleteFunc(c.older, func(other *poll) bool { return other == p })
		return false
	})
}
