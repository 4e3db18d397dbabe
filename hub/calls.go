package hub

import "bytes"

// This file has the methods of Session that dialects call. Only the session's
// worker may call them. A method that returns a non-nil Refusal has had no
// other effect.

// A Role is a session's part in its room.
type Role uint8

// The roles.
const (
	NoRole Role = iota // the session is in no room
	Viewer
	Host
)

// Role returns the session's role.
func (s *Session) Role() Role {
	switch {
	case s.room == nil:
		return NoRole
	case s.has(flagHost):
		return Host
	}
	return Viewer
}

// Config returns the current configuration. The caller must not change it.
func (s *Session) Config() *Config { return s.shard.hub.Config() }

// Send queues a frame for this connection alone, behind everything that is
// published now. The session keeps the frame, which must not change.
func (s *Session) Send(frame []byte) { s.push(private{frame: frame, place: s.place()}) }

// SendUrgent queues a frame that may overtake broadcasts. The session keeps the
// frame, which must not change.
func (s *Session) SendUrgent(frame []byte) { s.push(private{frame: frame, kind: urgent}) }

// TellUrgent queues an event that may overtake broadcasts.
func (s *Session) TellUrgent(e Event) { s.sendUrgent(e) }

// CountMessage counts a message of a session that is not a host, and refuses it
// if there were too many in this second.
func (s *Session) CountMessage() *Refusal {
	if !s.has(flagHost) && s.overRate() {
		return refused(TooManyMessages)
	}
	return nil
}

// CountBroadcast counts a broadcast of a host, and refuses it if there were too
// many in this second.
func (s *Session) CountBroadcast() *Refusal {
	return s.countOfHost(&s.extra().rate.messages, s.Config().HostRate)
}

// CountRequest counts any other message of a host in the same way. It does
// nothing for a session that is not a host.
func (s *Session) CountRequest() *Refusal {
	return s.countOfHost(&s.extra().rate.requests, s.Config().HostRequestRate)
}

func (s *Session) countOfHost(count *int, limit int) *Refusal {
	if !s.has(flagHost) {
		return nil
	}
	if s.isOver(count, limit) {
		return refused(TooManyMessages)
	}
	if s.has(flagNewHost) { // the new host's first message voids the older token
		s.clear(flagNewHost)
		s.room.confirm(s)
	}
	return nil
}

// Offload runs work in another goroutine, and then done on the session's
// worker. there says whether the session is still open. The session handles no
// other message in the meantime.
func (s *Session) Offload(work func(), done func(there bool)) { s.offload(work, done) }

// Broadcast relays a message to all viewers. The session must be a host. The
// payload is copied; if it has MinOffload bytes or more, it may be copied later,
// and must not change. The session handles no other message until then. A Refusal
// that comes later is reported with the tag.
func (s *Session) Broadcast(payload []byte, tag Tag) *Refusal {
	room := s.room
	if !room.streams.isLarge(payload) {
		return room.broadcast(s, payload, room.streams.prepare(payload))
	}
	tag.Ref = bytes.Clone(tag.Ref)
	s.prepareLarge(payload, func(payload []byte, p prepared) {
		if f := room.broadcast(s, payload, p); f != nil {
			f.Tag = tag
			s.Report(f)
		}
	})
	return nil
}

// DirectToHost passes a viewer's message to the host. The data is copied.
func (s *Session) DirectToHost(data []byte, tag Tag) *Refusal {
	return s.room.directToHost(s, data, tag)
}

// DirectToViewer passes a host's message to one viewer. The data is copied.
func (s *Session) DirectToViewer(id uint32, data []byte, tag Tag) *Refusal {
	return s.room.directToViewer(s, id, data, tag)
}

// RequestHistory queues the room's history for a viewer as soon as it is
// available. If it does not become available, the viewer is told why.
func (s *Session) RequestHistory() *Refusal {
	if s.has(flagParked) {
		return refused(HistoryPending)
	}
	if s.asksTooSoon() || !s.room.returns.allow(s.id, s.shard.Now()) {
		return &Refusal{Kind: HistoryTooSoon, Every: s.Config().HistoryEvery}
	}
	if !s.room.history.give(s) {
		return refused(HistoryWithoutHost)
	}
	s.noteAsked()
	return nil
}

// AnswerHistory passes a host's history to the viewers that wait for it. If
// none does, it is dropped. The payload is copied as Broadcast does.
func (s *Session) AnswerHistory(payload []byte) {
	room := s.room
	switch {
	case !room.history.expects(s):
	case room.streams.isLarge(payload):
		s.prepareLarge(payload, func(payload []byte, p prepared) { room.history.answer(s, payload, p) })
	default:
		room.history.answer(s, payload, room.streams.prepare(payload))
	}
}

// MaxPage is the largest number of viewers in a page of the list.
const MaxPage = 1000

// ListViewers queues a List of up to limit viewers with ids greater than after,
// in the order in which they joined. The limit is at most MaxPage.
func (s *Session) ListViewers(after uint32, limit int) *Refusal {
	if !s.MayListViewers() || s.has(flagHost) && s.room.host() != s {
		return refused(NotHost)
	}
	if !s.extra().rate.pages.allow(s.shard.Now(), pageBurst, pageEvery) {
		return &Refusal{Kind: ListTooSoon, Retry: pageEvery}
	}
	page, f := s.room.pages.get(pageKey{after, limit, s.dialect})
	if f != nil {
		return f
	}
	s.push(private{frame: page.frame, shared: page, place: s.place(), kind: bulky})
	if s.out != nil { // it is when the page goes to the answer of a POST
		s.out.since = s.shard.Now()
	}
	return nil
}

// MayListViewers reports whether the room's rules let the session list viewers.
func (s *Session) MayListViewers() bool { return s.has(flagHost) || s.room.options.roster }

// Kick ends a viewer's connection and makes its token void. The session must be
// a host.
func (s *Session) Kick(id uint32) *Refusal {
	room := s.room
	room.mu.Lock()
	viewer, f := room.viewerLocked(s, id)
	if f == nil {
		room.roster.Kick(id)
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

// TransferHost makes a viewer the host. The session, which must be the host,
// becomes a viewer.
func (s *Session) TransferHost(id uint32, tag Tag) *Refusal { return s.room.transferHost(s, id, tag) }

// Leave takes the session out of its room. The connection stays open.
func (s *Session) Leave() {
	s.cut()
	s.leave()
	s.finish(Left{})
}

// CloseRoom closes a host's room. The connection stays open, and may create or
// join another room.
func (s *Session) CloseRoom() *Refusal {
	if !s.room.closeBy(s) {
		return refused(NotHost)
	}
	s.room = nil
	s.clear(flagHost | flagNewHost)
	s.finish(Closed{Why: ReasonHostClosed})
	return nil
}
