package wire

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/gobwas/ws"
)

// An EventStream is how a viewer of the relay reads a room as an event stream (WHATWG
// HTML, "Server-sent events"). It says nothing on its connection but the request.
type EventStream struct {
	head string // immutable; fields of every request
}

// NewEventStream makes the requests for the server of a URL, with "Name: value" lines of
// the caller's.
func NewEventStream(u *url.URL, headers []string) EventStream {
	lines := append([]string{"Host: " + u.Host, "Accept: text/event-stream"}, headers...)
	return EventStream{strings.Join(lines, "\r\n") + "\r\n"}
}

// Request returns the request for a room's stream. {room} in it stands for the room.
func (e EventStream) Request(at Place) string { return e.request(at) }

// request returns a request with more parameters in its query.
func (e EventStream) request(p Place, query ...string) string {
	if p.History {
		query = append(query, "history=true")
	}
	request := strings.TrimSuffix("GET /v1/rooms/{room}/events?"+strings.Join(query, "&"), "?") + " HTTP/1.1\r\n" + e.head
	if p.Token != "" {
		request += "Authorization: Bearer " + p.Token + "\r\nLast-Event-ID: " + p.Last + "\r\n"
	}
	return request + "\r\n"
}

// Answer looks at what a server sent so far. used is the length of the whole head. An
// answer other than 200 is a [ws.StatusError].
func (EventStream) Answer(b []byte) (used int, complete bool, err error) {
	used, lines, err := readHead(b, 200)
	switch {
	case used == 0:
	case !strings.HasPrefix(field(lines, "Content-Type"), "text/event-stream"):
		err = fmt.Errorf("%w: the answer is no event stream", ErrGarbage)
	case field(lines, "Transfer-Encoding") != "":
		err = fmt.Errorf("%w: the event stream is chunked, which the relay's own is not", ErrGarbage)
	}
	return used, used > 0, err
}

// Parse reads the event that b begins with, like [WebSocket.Parse]. Its id has the
// number of the broadcast, which the payload then begins with, as over a WebSocket. What
// clients ignore is a frame without a meaning.
func (EventStream) Parse(b []byte) (f Frame, used int, err error) {
	end := bytes.Index(b, []byte("\n\n"))
	switch {
	case end > MaxFrame || end < 0 && len(b) > MaxFrame:
		return f, 0, fmt.Errorf("%w: an event of more than %d bytes", ErrGarbage, MaxFrame)
	case end < 0:
		return f, 0, nil
	}
	f.Op, f.Fin = ws.OpPong, true
	var number []byte
	for line := range bytes.SplitSeq(b[:end], []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "", "retry": // a comment, or how long to wait
		case "id":
			_, number, _ = bytes.Cut(value, []byte("-"))
		case "event":
			f.Event = string(value)
		case "data":
			f.Op, f.Payload = ws.OpText, value
		default:
			return f, 0, fmt.Errorf("%w: the field %.40q", ErrGarbage, name)
		}
	}
	if f.Event == "closed" {
		f.Op = ws.OpClose
	}
	if len(number) > 0 && len(f.Payload) > 1 {
		f.Payload = fmt.Appendf(nil, `{"seq":%s,%s`, number, f.Payload[1:]) // the comma takes the place of the brace
	}
	return f, end + 2, nil
}

// AppendClient adds nothing: there is nothing to say on an event stream.
func (EventStream) AppendClient(b []byte, _ ws.OpCode, _ []byte) []byte { return b }
