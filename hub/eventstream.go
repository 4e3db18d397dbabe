package hub

import (
	"net/url"
	"strings"
	"time"

	"lectern/frame"
)

// An event stream is a response to an HTTP request that does not end while the client
// reads the room's events (WHATWG HTML, "Server-sent events"). The session behind it is
// like any other: it has a cursor in a Log, in the encoding for event streams. It differs
// in three things: how it begins, how it ends, and that it receives no messages.

// An EventStream is the dialect of event streams.
type EventStream interface {
	Dialect
	// ReadRequest reads a request for a room's stream.
	ReadRequest(r EventRequest) (JoinRequest, *Refusal)
	// AppendHead appends what precedes the first event: the head of the
	// response, and how long a client should wait before it reconnects. The
	// response is for a page of this origin, which is empty for other clients.
	AppendHead(b []byte, origin string, retry time.Duration) []byte
	// AppendRefusal appends the HTTP response to a request that is refused, for
	// a page of this origin. The response ends the connection.
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

// IsEventRequest reports whether a request is for an event stream. The reactor
// serves these, and net/http all other plain requests.
func (h *Hub) IsEventRequest(r frame.Request) bool {
	_, ok := h.events.code(r.Path)
	return ok && r.Method == "GET"
}

// isEvents reports whether the session is behind an event stream.
func (s *Session) isEvents() bool { return s.shard.hub.dialects[s.dialect].events != nil }

// openEvents handles a request for an event stream.
func (s *Session) openEvents(handshake *frame.Handshake) {
	h := s.shard.hub
	request, head := handshake.Request(), handshake.Head()
	if isPoll(request) {
		s.openPoll(handshake)
		return
	}
	f := checkEventRequest(handshake)
	s.dropHead()
	s.extra().unanswered = &unanswered{}
	s.dialect = h.events.dialect
	full := s.enterAddress(request.ForwardedFor)
	s.enter(open)
	n := h.upgraded.Add(1)
	if f == nil {
		f = s.checkPage(request, pageOf(request, head))
	}
	switch {
	case f != nil:
	case h.draining.Load():
		s.end(ReasonShutdown) // with an event: browsers do not come back after an error
		return
	case n > int64(h.Config().MaxConnections):
		f = refused(ServerFull)
	case full != nil:
		f = full
	default:
		f = s.joinByRequest(request, head)
	}
	if f != nil {
		s.Report(f)
	}
}

// onceOnly are the fields that decide about a request for an event stream. A request
// that repeats one is refused, because a proxy might have judged by the other line.
var onceOnly = []string{"Host", "Origin", "Authorization", "Last-Event-ID"}

// maxEventQuery is the longest query of a request for an event stream, in bytes. To
// split a longer one would take a worker too long.
const maxEventQuery = 2 << 10

// checkEventRequest returns what is wrong with the form of a request.
func checkEventRequest(handshake *frame.Handshake) *Refusal {
	bad := func(text string) *Refusal { return &Refusal{Kind: BadMessage, Text: text} }
	if _, body := handshake.Framing(); body != 0 {
		return bad("a request for an event stream must have no body")
	}
	if len(handshake.Request().Query) > maxEventQuery {
		return bad("the query is too long")
	}
	head := handshake.Head()
	for _, name := range onceOnly {
		if _, n := frame.Field(head, name); n > 1 {
			return bad(name + " is given more than once")
		}
	}
	return nil
}

// pageOf returns the origin of the page that sent a request, empty for other clients. For
// what a page embeds, such as an image, a browser tells no origin but that it is for another
// site (Fetch Metadata, Sec-Fetch-Site). The origin is null then: otherwise any page could
// try codes from the addresses of its visitors.
func pageOf(request frame.Request, head []byte) string {
	if request.Origin != "" {
		return request.Origin
	}
	switch site, _ := frame.Field(head, "Sec-Fetch-Site"); string(site) {
	case "cross-site", "same-site":
		return "null"
	}
	return ""
}

// checkPage returns a Refusal if pages of an origin may not send the request, and
// otherwise remembers the origin for the response.
func (s *Session) checkPage(request frame.Request, page string) *Refusal {
	h := s.shard.hub
	// Only a request with an Origin needs the peer's address here, which takes
	// a system call.
	if page == "" || h.Config().AllowsOrigin(page, request.Host, s.conn.Peer(), request.ForwardedFor) {
		s.more.unanswered.origin = page
		return nil
	}
	h.Refused("origin", s.address())
	return &Refusal{Kind: OriginNotAllowed, Text: page[:min(len(page), maxOrigin)]}
}

// joinByRequest joins the room that a request names, or resumes it as its host.
func (s *Session) joinByRequest(request frame.Request, head []byte) *Refusal {
	e, f := s.readEvents(request, head)
	if f == nil && e.Ticket != "" {
		f = s.redeem(&e)
	}
	if f != nil {
		return f
	}
	s.enterBy(e)
	return nil
}

// An unanswered is what has to be remembered of a request for an event stream until
// its response begins.
type unanswered struct {
	origin string // of the page that sent it, empty for other clients
}

// isUnanswered reports whether the response to a request for an event stream has yet
// to begin.
func (s *Session) isUnanswered() bool { return s.more != nil && s.more.unanswered != nil }

// beginResponse begins the response to a request for an event stream, if it has not
// begun. Nothing overtakes it.
func (s *Session) beginResponse() {
	if !s.isUnanswered() {
		return
	}
	h := s.shard.hub
	origin := s.more.unanswered.origin
	s.more.unanswered = nil
	h.streaming.Add(1)
	h.Answered(200)
	s.push(private{frame: h.dialects[s.dialect].events.AppendHead(nil, origin, h.retryAfter()), kind: urgent})
}

// refuseEvents answers a request for an event stream with an HTTP error. The
// connection then counts as any other refused request.
func (s *Session) refuseEvents(f *Refusal) {
	response := s.shard.hub.dialects[s.dialect].events.AppendRefusal(nil, f, s.more.unanswered.origin)
	s.uncount()
	s.dialect = 0 // it was in no room, and nobody tells it anything more
	s.respond(ReasonHandshake, response)
}

// ignore takes what the client of an event stream sends after its request. A client
// that goes on sending wastes the worker's time.
func (s *Session) ignore() {
	rate := &s.extra().rate
	if s.phase == open && !s.isUnanswered() && s.isOver(&rate.messages, s.Config().ViewerRate) {
		rate.omitted = rate.messages
		s.tooManyErrors()
	}
}

// keepAwake sends a comment to a silent event stream, and closes a stream whose peer
// accepts nothing.
func (s *Session) keepAwake(config *Config) {
	switch {
	case s.has(flagBlocked):
		if s.past(s.lastReceived, config.IdleTimeout) {
			s.end(ReasonIdle)
		}
	case s.room != nil && s.past(s.lastSent, commentEvery):
		s.push(private{frame: comment, kind: urgent})
	}
}

// finish tells a session that it has left its room, which ends the response of an event
// stream. When the message that had it leave came by POST, the answer and the stream, or the
// poll that waits, both say so: clients come back after a response that ends without a word.
func (s *Session) finish(last Event) {
	s.tell(last)
	c, isStanding := s.conn.(*standing)
	if !s.isEvents() || isStanding && c.poll == nil {
		return
	}
	if s.answering() != nil {
		s.answersNoMore()
		s.tell(last)
	}
	if isStanding {
		return // see endOutside
	}
	s.reason = ReasonClient
	s.enter(finishing)
}
