package hub

import (
	"fmt"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// classroom is the JSON protocol of a host and its viewers.
type classroom struct{}

// A requiredRole is where a session has to be to say something.
type requiredRole uint8

const (
	anywhere requiredRole = iota
	outside               // in no room
	inside                // in a room
	asHost                // host of a room
	asViewer              // viewer of a room
)

// rules are what may be said, by whom, and what happens then. A rule returns
// what was wrong with the fields or their target.
var rules = map[string]struct {
	by  requiredRole
	act func(s *Session, r request) *fault
}{
	"create":          {outside, create},
	"resume":          {outside, resume},
	"join":            {outside, join},
	"command":         {asHost, relay},
	"activate":        {asHost, relay},
	"broadcast":       {asHost, relay},
	"message":         {inside, message},
	"history":         {asHost, history},
	"history_request": {asViewer, historyRequested},
	"list":            {inside, list},
	"kick":            {asHost, kick},
	"grant_host":      {asHost, transferHost},
	"leave":           {inside, leave},
	"close":           {asHost, closeRoom},
	"ping":            {anywhere, ping},
}

// Message checks, in this order: the rate, size and JSON, the type, membership, role, fields
// and target. A fault is reported and nothing else happens.
func (classroom) Message(s *Session, m frame.Message) {
	if rate := &s.extra().rate; rate.omitted > 0 {
		rate.omitted++ // the connection is closed at the end of the chunk
		return
	}
	if f := s.acceptable(m); f != nil {
		s.report(f)
		return
	}
	if m.Owned && len(m.Payload) >= minOffload {
		var p parser
		var r request
		var f *fault
		s.offload(func() { r, f = p.parse(m.Payload) }, func(there bool) {
			if there {
				s.obey(r, f)
			}
		})
		return
	}
	s.obey(s.shard.parser.parse(m.Payload))
}

// acceptable checks what can be told without reading the message.
func (s *Session) acceptable(m frame.Message) *fault {
	switch {
	case !s.has(flagHost) && s.overRate():
		return tooFast()
	case m.TooLarge:
		return &fault{code: "too_large", message: fmt.Sprintf("a message may have at most %d bytes here", s.protocol().Limit(s))}
	case m.Op != ws.OpText:
		return &fault{code: "bad_message", message: "messages are JSON in text frames, not binary ones"}
	}
	return nil
}

func tooFast() *fault {
	return &fault{code: "too_fast", message: "too many messages a second; this one was ignored"}
}

// obey does what a message asks for that was parsed, unless that has failed.
func (s *Session) obey(r request, f *fault) {
	if f == nil {
		if f = s.act(r); f != nil {
			f.re, f.ref = r.kind, r.ref
		}
	}
	if f != nil {
		s.answer(f)
	}
}

// act does what a message asks for.
func (s *Session) act(r request) *fault {
	rule, ok := rules[r.kind]
	if !ok {
		return &fault{code: "unknown_type", message: "there is no message of this type"}
	}
	if f := s.checkRole(rule.by); f != nil {
		return f
	}
	if s.has(flagHost) && s.hostOverRate(r.kind) {
		return tooFast()
	}
	if s.has(flagNewHost) {
		s.clear(flagNewHost)
		s.room.confirm(s)
	}
	return rule.act(s, r)
}

func isBroadcast(kind string) bool {
	return kind == "command" || kind == "activate" || kind == "broadcast"
}

// checkRole checks the session's membership and role.
func (s *Session) checkRole(want requiredRole) *fault {
	switch {
	case want == anywhere:
	case want == outside && s.room != nil:
		return &fault{code: "already_in_room", message: "this connection is in a room already"}
	case want != outside && s.room == nil:
		return &fault{code: "not_in_room", message: "this connection is in no room; create or join one first"}
	case want == asHost && !s.has(flagHost):
		return notHost()
	case want == asViewer && s.has(flagHost):
		return &fault{code: "is_host", message: "the host of a room cannot do this"}
	}
	return nil
}

// Limit is larger for a host.
func (classroom) Limit(s *Session) int {
	if s.has(flagHost) {
		return s.shard.hub.Config().MaxHostMessage
	}
	return s.shard.hub.Config().MaxViewerMessage
}

// Leave takes the session out of its room. A room without its host waits for it.
func (classroom) Leave(s *Session) {
	r := s.room
	if r == nil {
		return
	}
	s.room = nil
	if s.has(flagHost) {
		s.clear(flagHost | flagNewHost)
		r.hostLeft(s)
	} else {
		r.leave(s)
	}
}
