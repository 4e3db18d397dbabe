package hub

import (
	"fmt"

	"github.com/gobwas/ws"
	"github.com/valyala/fastjson"

	"lectern/frame"
)

// classroom is the JSON protocol of a host and its viewers.
type classroom struct{}

// A standing is where a session has to be to say something.
type standing uint8

const (
	outside  standing = iota // in no room
	asHost                   // host of a room
	asViewer                 // viewer of a room
)

// rules are what may be said, by whom, and what happens then. A rule returns
// what was wrong with the fields or their target.
var rules = map[string]struct {
	by  standing
	act func(s *Session, r request, payload []byte) *fault
}{
	"create":          {outside, create},
	"join":            {outside, join},
	"command":         {asHost, relay},
	"activate":        {asHost, relay},
	"history":         {asHost, history},
	"history_request": {asViewer, historyRequested},
	"close":           {asHost, closeRoom},
}

// Message checks, in this order: the JSON, the type, membership, role, fields
// and target. A fault is reported and nothing else happens.
func (classroom) Message(s *Session, m frame.Message) {
	if f := s.obey(m); f != nil {
		s.report(f)
	}
}

func (s *Session) obey(m frame.Message) *fault {
	switch {
	case m.TooLarge:
		return &fault{code: "too_large", message: fmt.Sprintf("a message may have at most %d bytes here", s.protocol.Limit(s))}
	case m.Op != ws.OpText:
		return &fault{code: "bad_message", message: "messages are JSON in text frames, not binary ones"}
	}
	r, f := s.shard.parse(m.Payload)
	if f != nil {
		return f
	}
	rule, ok := rules[r.kind]
	if !ok {
		return &fault{code: "unknown_type", message: "there is no message of this type", re: r.kind}
	}
	if f := s.stands(rule.by); f != nil {
		f.re = r.kind
		return f
	}
	if f := rule.act(s, r, m.Payload); f != nil {
		f.re = r.kind
		return f
	}
	return nil
}

// stands checks the session's membership and role.
func (s *Session) stands(want standing) *fault {
	switch {
	case want == outside && s.room != nil:
		return &fault{code: "already_in_room", message: "this connection is in a room already"}
	case want != outside && s.room == nil:
		return &fault{code: "not_in_room", message: "this connection is in no room; create or join one first"}
	case want == asHost && !s.has(markHost):
		return &fault{code: "not_host", message: "only the host of a room may do this"}
	case want == asViewer && s.has(markHost):
		return &fault{code: "is_host", message: "the host of a room cannot do this"}
	}
	return nil
}

// Limit is larger for a host.
func (classroom) Limit(s *Session) int {
	if s.has(markHost) {
		return s.shard.hub.config.MaxHostMessage
	}
	return s.shard.hub.config.MaxViewerMessage
}

// Leave closes the room if the session is its host: nobody else can go on.
func (classroom) Leave(s *Session) {
	r := s.room
	if r == nil {
		return
	}
	s.room = nil
	if !s.has(markHost) {
		r.leave(s)
		return
	}
	s.clear(markHost)
	why := ReasonHostGone
	if s.shard.hub.draining.Load() {
		why = ReasonShutdown
	}
	r.close(why)
}

func create(s *Session, _ request, _ []byte) *fault {
	r := s.shard.hub.create(s)
	if r == nil {
		return &fault{code: "too_many_rooms", message: "the relay has all the rooms it may have; try again later"}
	}
	s.room = r
	s.set(markHost)
	s.tell(withCode("created", r.code))
	return nil
}

func join(s *Session, r request, _ []byte) *fault {
	text, f := r.text("code")
	if f != nil {
		return f
	}
	ask, f := r.flag("history")
	if f != nil {
		return f
	}
	c, ok := parseCode(text)
	var room *Room
	if ok {
		room = s.shard.hub.lookup(c)
	}
	if room == nil || !room.join(s) {
		return &fault{code: "room_not_found", message: "there is no open room with this code"}
	}
	// Its place is the cursor's, not the Log's present end: the host may have
	// spoken since the cursor was taken.
	s.push(private{frame: frame.AppendFrame(nil, ws.OpText, withCode("joined", c)), place: s.cursor.Position()})
	if ask {
		return historyRequested(s, r, nil)
	}
	return nil
}

// relay passes a message on to every viewer, verbatim.
func relay(s *Session, r request, payload []byte) *fault {
	if !r.has("data") {
		return &fault{code: "bad_message", message: `"data" is missing`}
	}
	if r.has("seq") {
		return &fault{code: "bad_message", message: `"seq" is for the relay to set`}
	}
	s.room.broadcast(s, payload)
	return nil
}

func historyRequested(s *Session, _ request, _ []byte) *fault {
	if s.has(markParked) {
		return &fault{code: "too_fast", message: "the history was asked for, and has not come yet"}
	}
	every := s.shard.hub.config.HistoryEvery
	if s.has(markAsked) && !s.past(s.asked, every) {
		return &fault{code: "too_fast", message: "the history may be asked for once in " + every.String()}
	}
	if !s.room.askHistory(s) {
		return &fault{code: "history_unavailable", message: "the host is not there"}
	}
	s.set(markAsked)
	s.asked = s.shard.Now()
	return nil
}

func history(s *Session, r request, payload []byte) *fault {
	if _, f := r.field("commands", fastjson.TypeArray); f != nil {
		return f
	}
	s.room.answerHistory(payload)
	return nil
}

// closeRoom ends the room. The host's connection stays, and may create or join
// another.
func closeRoom(s *Session, _ request, _ []byte) *fault {
	room := s.room
	s.tell(s.closedEvent(ReasonHostClosed))
	s.room = nil
	s.clear(markHost)
	room.close(ReasonHostClosed)
	return nil
}
