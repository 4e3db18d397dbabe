// Package classroom is the relay's own dialect: the JSON messages of a host and
// its viewers that PROTOCOL.md describes. Rooms, their streams and their limits
// belong to package hub.
package classroom

import (
	"maps"
	"slices"
	"sync"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub"
)

// Dialect is a [hub.Dialect]. Create it with [New].
type Dialect struct {
	parsers sync.Pool // of *parser
}

// New returns the dialect.
func New() *Dialect {
	return &Dialect{parsers: sync.Pool{New: func() any { return new(parser) }}}
}

// A requiredRole is the role that a session must have to send a message.
type requiredRole uint8

const (
	anyone   requiredRole = iota
	outsider              // in no room
	member                // in a room
	host
	viewer
)

// rules are the types of messages, with the role that may send each and the
// function that handles it. The function returns a Refusal if a field is wrong
// or the hub refuses.
var rules = map[string]struct {
	by  requiredRole
	act func(s *hub.Session, r request) *hub.Refusal
}{
	"create":          {outsider, create},
	"resume":          {outsider, resume},
	"join":            {outsider, join},
	"command":         {host, relay},
	"activate":        {host, relay},
	"broadcast":       {host, relay},
	"message":         {member, message},
	"history":         {host, history},
	"history_request": {viewer, historyRequested},
	"list":            {member, list},
	"kick":            {host, kick},
	"grant_host":      {host, transferHost},
	"leave":           {member, leave},
	"close":           {host, closeRoom},
	"ping":            {anyone, ping},
}

// Types returns the types of messages that clients may send, in alphabetical order.
func Types() []string { return slices.Sorted(maps.Keys(rules)) }

// Message handles a message. It checks, in this order: rate, size, JSON, type,
// room membership, role, fields and target.
func (d *Dialect) Message(s *hub.Session, m frame.Message) {
	if f := d.acceptable(s, m); f != nil {
		s.Report(f)
		return
	}
	if m.Owned && len(m.Payload) >= hub.MinOffload {
		var p parser
		var r request
		var f *hub.Refusal
		s.Offload(func() { r, f = p.parse(m.Payload) }, func(there bool) {
			if there {
				obey(s, r, f)
			}
		})
		return
	}
	p := d.parsers.Get().(*parser)
	r, f := p.parse(m.Payload)
	obey(s, r, f)
	p.forget()
	d.parsers.Put(p)
}

// acceptable checks what can be checked without parsing the message.
func (d *Dialect) acceptable(s *hub.Session, m frame.Message) *hub.Refusal {
	if f := s.CountMessage(); f != nil {
		return f
	}
	switch {
	case m.TooLarge:
		return &hub.Refusal{Kind: hub.TooLarge, Limit: d.Limit(s)}
	case m.Op != ws.OpText:
		return badMessage("messages are JSON in text frames, not binary ones")
	}
	return nil
}

// obey handles a parsed message, or reports f if parsing failed.
func obey(s *hub.Session, r request, f *hub.Refusal) {
	if f == nil {
		if f = act(s, r); f != nil {
			f.Tag = r.tag()
		}
	}
	if f != nil {
		s.Refuse(f)
	}
}

// act handles a message.
func act(s *hub.Session, r request) *hub.Refusal {
	rule, ok := rules[r.kind]
	if !ok {
		return &hub.Refusal{Kind: hub.UnknownType}
	}
	if f := check(s.Role(), rule.by); f != nil {
		return f
	}
	count := s.CountRequest
	if isBroadcast(r.kind) {
		count = s.CountBroadcast
	}
	if f := count(); f != nil {
		return f
	}
	return rule.act(s, r)
}

func isBroadcast(kind string) bool {
	return kind == "command" || kind == "activate" || kind == "broadcast"
}

// check refuses a session that does not have the role that a message requires.
func check(role hub.Role, required requiredRole) *hub.Refusal {
	switch {
	case required == anyone:
	case required == outsider && role != hub.NoRole:
		return &hub.Refusal{Kind: hub.AlreadyInRoom}
	case required != outsider && role == hub.NoRole:
		return &hub.Refusal{Kind: hub.NotInRoom}
	case required == host && role != hub.Host:
		return &hub.Refusal{Kind: hub.NotHost}
	case required == viewer && role == hub.Host:
		return &hub.Refusal{Kind: hub.IsHost}
	}
	return nil
}

// Limit returns the size limit of the session's messages, which is larger for a
// host.
func (*Dialect) Limit(s *hub.Session) int {
	if s.Role() == hub.Host {
		return s.Config().MaxHostMessage
	}
	return s.Config().MaxViewerMessage
}
