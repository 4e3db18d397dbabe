package hub

import "fmt"

// The rules for those who are in a room.

// relay passes a message on to every viewer, verbatim.
func relay(s *Session, r request) *fault {
	if !r.has("data") {
		return r.missing("data")
	}
	if r.has("seq") {
		return seqIsTheRelays()
	}
	if !s.room.broadcast(s, r.text) {
		return notHost() // another connection has taken its place at this moment
	}
	return nil
}

// message passes a host's message to one viewer, or a viewer's to the host.
func message(s *Session, r request) *fault {
	if !s.has(flagHost) {
		data, f := r.raw("data")
		if f != nil {
			return f
		}
		return s.room.directToHost(s, directFrom(viewerFrom(s.id), data))
	}
	to, f := r.id("to")
	if f != nil {
		return f
	}
	data, f := r.raw("data")
	if f != nil {
		return f
	}
	return s.room.directToViewer(s, to, directFrom(`"host"`, data))
}

func historyRequested(s *Session, _ request) *fault {
	if s.has(flagParked) {
		return &fault{code: "too_fast", message: "the history was asked for, and has not come yet"}
	}
	if s.asksTooSoon() || !s.room.mayAsk(s.id, s.shard.Now()) {
		return &fault{code: "too_fast", message: "the history may be asked for once in " + s.shard.hub.Config().HistoryEvery.String()}
	}
	if !s.room.giveHistory(s) {
		return &fault{code: "history_unavailable", message: "the host is not there"}
	}
	s.noteAsked()
	return nil
}

func history(s *Session, r request) *fault {
	if f := r.list("commands"); f != nil {
		return f
	}
	if r.has("seq") {
		return seqIsTheRelays()
	}
	s.room.answerHistory(s, r.text)
	return nil
}

// The bounds of a page of viewers.
const (
	standardPage = 100
	maxPage      = 1000
)

// list tells which viewers are there, in the order in which they joined.
func list(s *Session, r request) *fault {
	if !s.has(flagHost) && !s.room.options.roster {
		return notHost()
	}
	after, f := r.number("after", 0, 1<<32-2, 0)
	if f != nil {
		return f
	}
	limit, f := r.number("limit", 1, maxPage, standardPage)
	if f != nil {
		return f
	}
	if s.has(flagHost) && !s.room.hasHost(s) {
		return notHost()
	}
	if !s.extra().rate.pages.allow(s.shard.Now(), pageBurst, pageEvery) {
		return &fault{code: "too_fast", message: "the list may be asked for 20 times, and then once a second", retry: pageEvery}
	}
	page, f := s.room.page(pageKey{uint32(after), limit})
	if f != nil {
		return f
	}
	s.push(private{frame: page.frame, shared: page, place: s.place(), kind: bulky})
	s.out.since = s.shard.Now()
	return nil
}

// kick ends a viewer's connection and makes its token void.
func kick(s *Session, r request) *fault {
	id, f := r.id("id")
	if f != nil {
		return f
	}
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
	s.tell(kicked(id))
	return nil
}

func transferHost(s *Session, r request) *fault {
	id, f := r.id("id")
	if f != nil {
		return f
	}
	return s.room.transferHost(s, id)
}

// leave takes the session out of its room. Its connection stays.
func leave(s *Session, _ request) *fault {
	s.cut()
	s.leave()
	s.tell([]byte(`{"type":"left"}`))
	return nil
}

// closeRoom ends the room. The host's connection stays, and may create or join
// another.
func closeRoom(s *Session, _ request) *fault {
	room := s.room
	if !room.closeBy(s) {
		return notHost()
	}
	s.room = nil
	s.clear(flagHost | flagNewHost)
	s.tell(s.closedEvent(ReasonHostClosed))
	return nil
}

// ping answers with the same data. It may overtake broadcasts.
func ping(s *Session, r request) *fault {
	text := []byte(`{"type":"pong"}`)
	if r.has("data") {
		data, f := r.raw("data")
		if f != nil {
			return f
		}
		text = fmt.Appendf(nil, `{"type":"pong","data":%s}`, data)
	}
	s.pushUrgent(text)
	return nil
}
