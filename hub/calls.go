package hub

import "github.com/gobwas/ws"

// What a dialect may do for a session. These methods are called by the session's
// worker only. Those that return a Refusal have done nothing else if it is not nil.

// A Role is what a session is in its room.
type Role uint8

// The roles.
const (
	NoRole Role = iota // it is in no room
	Viewer
	Host
)

// Role returns what the session is.
func (s *Session) Role() Role {
	switch {
	case s.room == nil:
		return NoRole
	case s.has(flagHost):
		return Host
	}
	return Viewer
}

// Config returns the present configuration. It must not be changed.
func (s *Session) Config() *Config { return s.shard.hub.Config() }

// Send queues a frame for this connection alone, behind what was published before
// now.
func (s *Session) Send(frame []byte) { s.push(private{frame: frame, place: s.place()}) }

// SendUrgent queues a frame that may overtake broadcasts.
func (s *Session) SendUrgent(frame []byte) { s.push(private{frame: frame, kind: urgent}) }

// CountMessage counts a message of a session that is no host's, and refuses it when
// there were too many in this second.
func (s *Session) CountMessage() *Refusal {
	if !s.has(flagHost) && s.overRate() {
		return refused(TooManyMessages)
	}
	return nil
}

// CountBroadcast counts a broadcast of a host, and refuses it when there were
// too many in this second.
func (s *Session) CountBroadcast() *Refusal {
	return s.countOfHost(func(r *rate, c *Config) (*int, int) { return &r.messages, c.HostRate })
}

// CountRequest does the same for everything else that a host says. Of a session
// that is no host's it does nothing.
func (s *Session) CountRequest() *Refusal {
	return s.countOfHost(func(r *rate, c *Config) (*int, int) { return &r.requests, c.HostRequestRate })
}

func (s *Session) countOfHost(which func(*rate, *Config) (count *int, limit int)) *Refusal {
	if !s.has(flagHost) {
		return nil
	}
	count, limit := which(&s.extra().rate, s.Config())
	if s.isOver(count, limit) {
		return refused(TooManyMessages)
	}
	if s.has(flagNewHost) { // it speaks: the older host's token is void
		s.clear(flagNewHost)
		s.room.confirm(s)
	}
	return nil
}

// Offload has work done by no worker, and then done called by the session's. done
// is told whether the session is still open. No other message of the session is
// looked at meanwhile.
func (s *Session) Offload(work func(), done func(there bool)) { s.offload(work, done) }

// Broadcast relays a message to all viewers. The session must be a host's.
func (s *Session) Broadcast(op ws.OpCode, payload []byte) *Refusal {
	if !s.room.broadcast(s, op, payload) {
		return refused(NotHost) // another connection has taken its place at this moment
	}
	return nil
}

// DirectToHost passes a message of a viewer to the host. The data is copied.
func (s *Session) DirectToHost(data []byte, tag Tag) *Refusal {
	return s.room.directToHost(s, data, tag)
}

// DirectToViewer passes a message of a host to one viewer. The data is copied.
func (s *Session) DirectToViewer(id uint32, data []byte, tag Tag) *Refusal {
	return s.room.directToViewer(s, id, data, tag)
}

// RequestHistory has a viewer told the history: soon, or a Refusal later.
func (s *Session) RequestHistory() *Refusal {
	if s.has(flagParked) {
		return refused(HistoryPending)
	}
	if s.asksTooSoon() || !s.room.mayAsk(s.id, s.shard.Now()) {
		return &Refusal{Kind: HistoryTooSoon, Every: s.Config().HistoryEvery}
	}
	if !s.room.giveHistory(s) {
		return refused(HistoryWithoutHost)
	}
	s.noteAsked()
	return nil
}

// AnswerHistory gives a host's history to those who wait for it. It is dropped if
// nobody does.
func (s *Session) AnswerHistory(op ws.OpCode, payload []byte) { s.room.answerHistory(s, op, payload) }

// MaxPage is how many viewers a page of the list has at most.
const MaxPage = 1000

// ListViewers tells up to limit viewers with ids over after, in the order in which
// they joined. The limit is at most MaxPage.
func (s *Session) ListViewers(after uint32, limit int) *Refusal {
	if !s.has(flagHost) && !s.room.options.roster || s.has(flagHost) && !s.room.hasHost(s) {
		return refused(NotHost)
	}
	if !s.extra().rate.pages.allow(s.shard.Now(), pageBurst, pageEvery) {
		return &Refusal{Kind: ListTooSoon, Retry: pageEvery}
	}
	page, f := s.room.page(pageKey{after, limit, s.dialect})
	if f != nil {
		return f
	}
	s.push(private{frame: page.frame, shared: page, place: s.place(), kind: bulky})
	s.out.since = s.shard.Now()
	return nil
}

// MayListViewers reports whether the session may ask for the list.
func (s *Session) MayListViewers() bool { return s.has(flagHost) || s.room.options.roster }

// Kick ends a viewer's connection and makes its token void. The session must be a
// host's.
func (s *Session) Kick(id uint32) *Refusal {
	room := s.room
	room.mu.Lock()
	viewer, f := room.viewerLocked(s, id)
	if f == nil {
		room.roster.kick(id)
		room.changed()
	}
	room.mu.Unlock()
	if f != nil {
		return f
	}
	room.tell(viewer, id, func() { viewer.end(ReasonKicked) })
	s.tell(Kicked{id})
	return nil
}

// TransferHost gives a host's place to a viewer. The host becomes a viewer.
func (s *Session) TransferHost(id uint32, tag Tag) *Refusal { return s.room.transferHost(s, id, tag) }

// Leave takes the session out of its room. Its connection stays.
func (s *Session) Leave() {
	s.cut()
	s.leave()
	s.tell(Left{})
}

// CloseRoom ends a host's room. Its connection stays, and may open or join another.
func (s *Session) CloseRoom() *Refusal {
	if !s.room.closeBy(s) {
		return refused(NotHost)
	}
	s.room = nil
	s.clear(flagHost | flagNewHost)
	s.tell(Closed{Why: ReasonHostClosed})
	return nil
}
