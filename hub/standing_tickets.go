package hub

import (
	"sync"
	"time"

	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// A page cannot set the headers of an EventSource, and a token in a URL would end up in
// logs. So a client that has joined by POST gets a ticket, which stands for its token in
// one request. A standing session has at most one ticket, so there are no more tickets
// than standing sessions.

// ticketTime is how long a ticket is valid.
const ticketTime = 30 * time.Second

// tickets has the tickets that were given and not used. The zero value is empty. Its
// methods may be called from any goroutine.
type tickets struct {
	mu sync.Mutex
	// all has the tickets by their hashes. How long it takes to look up a hash tells
	// nothing about the tickets.
	all map[credentials.Hash]ticket // guarded by mu
}

// A ticket is what a client's ticket stands for.
type ticket struct {
	room  roomcode.Code
	token string
	last  Place         // what the client was told when it joined
	until time.Duration // time since the hub was created
}

// give returns the text of a new ticket.
func (t *tickets) give(what ticket) (text string) {
	text = credentials.DrawTicket()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[credentials.Hash]ticket)
	}
	t.all[credentials.HashOf(text)] = what
	return text
}

// take returns what a ticket stands for, and makes it void. now is the time since the hub
// was created.
func (t *tickets) take(text string, room roomcode.Code, now time.Duration) (what ticket, ok bool) {
	hash := credentials.HashOf(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	what, ok = t.all[hash]
	t.dropLocked(hash)
	return what, ok && what.room == room && now < what.until
}

// void makes a ticket void. It does nothing if the text is empty.
func (t *tickets) void(text string) {
	if text == "" {
		return
	}
	hash := credentials.HashOf(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(hash)
}

func (t *tickets) dropLocked(hash credentials.Hash) {
	delete(t.all, hash)
	if len(t.all) == 0 {
		t.all = nil // a map never shrinks
	}
}

// redeem puts the token that a request's ticket stands for into the request. It returns a
// Refusal if the ticket is void.
func (s *Session) redeem(e *JoinRequest) *Refusal {
	h := s.shard.hub
	c, ok := roomcode.Parse(e.Code)
	what, valid := h.tickets.take(e.Ticket, c, h.uptime())
	if !ok || !valid {
		return s.failedAttempt(refused(BadTicket), c)
	}
	e.Token, e.Back = what.token, true
	if e.Last.Epoch == "" {
		e.Last = what.last
	}
	return nil
}

// giveTicket gives the session's client a ticket for a token. Only a standing session
// that is in a room has one.
func (c *standing) giveTicket(token string) string {
	s := c.session
	h, r := s.shard.hub, s.room
	what := ticket{room: r.code, token: token, until: h.uptime() + ticketTime}
	if !s.has(flagHost) {
		what.last = Place{r.epoch, s.cursor.Seq()}
	}
	h.tickets.void(c.ticket)
	c.ticket = h.tickets.give(what)
	return c.ticket
}
