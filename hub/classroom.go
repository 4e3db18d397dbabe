package hub

import (
	"fmt"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// classroom is the JSON protocol of a host and its viewers.
type classroom struct{}

// A standing is where a session has to be to say something.
type standing uint8

const (
	anywhere standing = iota
	outside           // in no room
	inside            // in a room
	asHost            // host of a room
	asViewer          // viewer of a room
)

// rules are what may be said, by whom, and what happens then. A rule returns
// what was wrong with the fields or their target.
var rules = map[string]struct {
	by  standing
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
	"grant_host":      {asHost, grantHost},
	"leave":           {inside, leave},
	"close":           {asHost, closeRoom},
	"ping":            {anywhere, ping},
}

// Message checks, in this order: the rate, size and JSON, the type, membership, role, fields
// and target. A fault is reported and nothing else happens.
func (classroom) Message(s *Session, m frame.Message) {
	if s.waits() {
		s.hold(m)
		return
	}
	if f := s.obey(m); f != nil {
		if f.sleeps {
			s.await(f.room, m)
			return
		}
		s.report(f)
	}
}

func (s *Session) obey(m frame.Message) *fault {
	switch {
	case !s.retries() && s.talksTooFast():
		return &fault{code: "too_fast", message: "too many messages a second; this one was not looked at"}
	case m.TooLarge:
		return &fault{code: "too_large", message: fmt.Sprintf("a message may have at most %d bytes here", s.protocol().Limit(s))}
	case m.Op != ws.OpText:
		return &fault{code: "bad_message", message: "messages are JSON in text frames, not binary ones"}
	}
	r, f := s.shard.parser.parse(m.Payload)
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
	if s.has(markGranted) {
		s.clear(markGranted)
		s.room.confirm(s)
	}
	if f := rule.act(s, r); f != nil {
		f.re = r.kind
		return f
	}
	return nil
}

// stands checks the session's membership and role.
func (s *Session) stands(want standing) *fault {
	switch {
	case want == anywhere:
	case want == outside && s.room != nil:
		return &fault{code: "already_in_room", message: "this connection is in a room already"}
	case want != outside && s.room == nil:
		return &fault{code: "not_in_room", message: "this connection is in no room; create or join one first"}
	case want == asHost && !s.has(markHost):
		return notHost()
	case want == asViewer && s.has(markHost):
		return &fault{code: "is_host", message: "the host of a room cannot do this"}
	}
	return nil
}

// Limit is larger for a host.
func (classroom) Limit(s *Session) int {
	if s.has(markHost) {
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
	if s.has(markHost) {
		s.clear(markHost | markGranted)
		r.hostLeft(s)
	} else {
		r.leave(s)
	}
}
