package hub

import (
	"net/url"
	"strings"
	"time"

	"lectern/frame"
)

// An event stream is the response to an HTTP request that a room's viewer reads for
// as long as it lasts (WHATWG HTML, "Server-sent events"). The session behind it is
// like any other: it has a cursor in a Log, in an encoding that is made for event
// streams. Only its beginning and its end differ, and that it receives no messages.

// An EventStream is the dialect of event streams.
type EventStream interface {
	Dialect
	// ReadRequest reads a request for a room's stream.
	ReadRequest(r EventRequest) (JoinRequest, *Refusal)
	// AppendRefusal appends the HTTP response to a request that is refused, for
	// a page of this origin, which is empty for other clients. The response ends
	// the connection.
	AppendRefusal(b []byte, f *Refusal, origin string) []byte
	// AppendPollHead appends the head of a response to a poll, whose body has size
	// bytes. keeps says whether another request may follow on the connection.
	AppendPollHead(b []byte, origin string, size int, keeps bool) []byte
}

// An EventRequest is the HTTP request for a room's stream.
type EventRequest struct {
	Code   string // the room's code, from the path
	Query  url.Values
	Header func(name string) string // returns a field of the head, empty if it is missing

	MaxName int // the longest name of a viewer, in characters
}

// commentEvery is how long an event stream may be silent. Proxies end responses that
// are silent for longer, many of them after 30 or 60 s.
const commentEvery = 15 * time.Second

// comment keeps an event stream awake. Clients ignore it.
var comment = []byte(":\n\n")

// ServeEvents registers the dialect of event streams, for URL paths that are a
// room's code between before and after. Hosts of this dialect create rooms whose
// record is in the first encoding of another one, which must be registered already.
func (h *Hub) ServeEvents(d EventStream, before, after string, records Dialect) {
	h.events = eventPaths{before, after, uint8(len(h.dialects))}
	h.Serve(d)
	served := &h.dialects[h.events.dialect]
	served.events = d
	for _, other := range h.dialects[1:] {
		if other.Dialect == records {
			served.record = other.first
		}
	}
}

// eventPaths are the URL paths of event streams.
type eventPaths struct {
	before, after string
	dialect       uint8 // place in Hub.dialects, 0 for none
}

// code returns the code of the room in a path, and whether the path is that of an
// event stream.
func (e *eventPaths) code(path string) (code string, ok bool) {
	if e.dialect == 0 {
		return "", false
	}
	if code, ok = strings.CutPrefix(path, e.before); !ok {
		return "", false
	}
	if code, ok = strings.CutSuffix(code, e.after); !ok || strings.Contains(code, "/") {
		return "", false
	}
	code, err := url.PathUnescape(code)
	return code, err == nil
}

// IsEventRequest reports whether a request is for an event stream, which net/http
// does not serve.
func (h *Hub) IsEventRequest(r frame.Request) bool {
	_, ok := h.events.code(r.Path)
	return ok && r.Method == "GET"
}

// isEvents reports whether the session is behind an event stream.
func (s *Session) isEvents() bool { return s.shard.hub.dialects[s.dialect].events != nil }

// openEvents handles a request for an event stream.
func (s *Session) openEvents(handshake *frame.Handshake) {
	h := s.shard.hub
	request := handshake.Request()
	if isPoll(request) {
		s.openPoll(handshake)
		return
	}
	allowed := request.Origin == "" || h.Config().AllowsOrigin(request.Origin, request.Host, s.conn.Peer(), request.ForwardedFor)
	head := handshake.Head()
	s.dropHead()
	s.dialect = h.events.dialect
	f := s.enterAddress(request.ForwardedFor)
	s.enter(open)
	n := h.upgraded.Add(1)
	s.extra().unanswered = &unanswered{origin: request.Origin}
	switch {
	case h.draining.Load():
		s.refuse(ReasonShutdown, 503, "the relay is shutting down")
		return
	case !allowed:
		h.Refused("origin", s.address())
		s.extra().unanswered.origin = ""
		s.Report(&Refusal{Kind: OriginNotAllowed, Text: request.Origin[:min(len(request.Origin), maxOrigin)]})
		return
	case n > int64(h.Config().MaxConnections):
		f = refused(ServerFull)
	}
	if f != nil {
		s.Report(f)
		return
	}
	e, f := s.readEvents(request, head)
	if f == nil && e.Ticket != "" {
		f = s.redeem(&e)
	}
	if f != nil {
		s.Report(f)
		return
	}
	s.enterBy(e)
}

// An unanswered is what has to be remembered of a request for an event stream until
// its response begins.
type unanswered struct {
	origin string // of the page that sent it, empty for other clients
}

// isUnanswered reports whether the response to a request for an event stream has yet
// to begin.
func (s *Session) isUnanswered() bool { return s.more != nil && s.more.unanswered != nil }

// beginning returns what the response to a request for an event stream begins with, nil
// if it has begun already or there is none.
func (s *Session) beginning() *Beginning {
	if !s.isUnanswered() {
		return nil
	}
	b := &Beginning{s.more.unanswered.origin, s.shard.hub.retryAfter()}
	s.more.unanswered = nil
	s.shard.hub.Answered(200)
	return b
}

// refuseEvents answers a request for an event stream with an HTTP error.
func (s *Session) refuseEvents(f *Refusal) {
	events, origin := s.shard.hub.dialects[s.dialect].events, s.more.unanswered.origin
	s.respond(ReasonHandshake, events.AppendRefusal(nil, f, origin))
}
