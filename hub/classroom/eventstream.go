package classroom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lectern/frame"
	"lectern/hub"
	"lectern/hub/broadcast"
)

// Events is the dialect of event streams: the same messages as over a WebSocket, each
// the data of an event with its type. A broadcast's id is its place, EPOCH-SEQ, with
// which a client resumes.
type Events struct{ Dialect }

// NewEvents returns the dialect of event streams.
func NewEvents() *Events { return &Events{*New()} }

// maxPlace is the length of the longest id.
const maxPlace = len("0123456789ab") + 1 + 20

// Encodings returns the encoding of event streams.
func (*Events) Encodings() []hub.Encoding {
	return []hub.Encoding{{
		Broadcast: appendEvent, Longer: frame.EventOverhead + maxPlace + len("history"),
		History: eventHistory, HistorySize: eventHistorySize, CountsViewers: true,
	}}
}

func appendEvent(b []byte, m hub.Broadcast) []byte {
	kind, _ := kindAndData(m.Payload)
	return frame.AppendEvent(b, place(m.Epoch, m.Seq), typeName(kind), m.Payload)
}

// typeName returns the type of a broadcast or history, which is valid JSON.
func typeName(kind json.RawMessage) string {
	switch string(kind) {
	case `"command"`:
		return "command"
	case `"activate"`:
		return "activate"
	case `"broadcast"`:
		return "broadcast"
	case `"history"`:
		return "history"
	}
	var name string
	_ = json.Unmarshal(kind, &name) // valid, in an odd spelling
	return name
}

// place returns the id of what a client has up to a broadcast.
func place(epoch string, seq uint64) string { return epoch + "-" + strconv.FormatUint(seq, 10) }

func eventHistory(epoch string, from, end broadcast.Cursor) []byte {
	text := appendHistory(make([]byte, 0, historySize(from, end)), from, end)
	return frame.AppendEvent(nil, place(epoch, end.Seq()), "history", text)
}

// eventHistorySize counts the history twice, because it is copied.
func eventHistorySize(from, end broadcast.Cursor) int {
	return 2*historySize(from, end) + frame.EventOverhead + maxPlace
}

// AppendEvent appends an event. The first one of a stream has the head of the
// response before it.
func (*Events) AppendEvent(b []byte, e hub.Event) []byte {
	text := eventText(e)
	if text == nil {
		return b
	}
	kind, id := eventType(text), ""
	switch e := e.(type) {
	case hub.Joined:
		b, id = appendBeginning(b, e.Begins), place(e.Room.Epoch(), e.Seq)
	case hub.Resumed:
		b = appendBeginning(b, e.Begins)
	case hub.Skipped:
		id = place(e.Epoch, e.Seq)
	case hub.Closed:
		if e.Retry > 0 {
			b = appendRetry(b, e.Retry.Milliseconds())
		}
	}
	return frame.AppendEvent(b, id, kind, text)
}

// eventType returns the type of a message that the relay has made.
func eventType(text []byte) string {
	kind, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte(`{"type":"`)), []byte{'"'})
	return string(kind)
}

// padding makes some proxies and browsers pass on what follows: they hold back the
// first 2 KB.
var padding = ":" + strings.Repeat(" ", 2<<10) + "\n\n"

// appendBeginning appends the head of the response and what comes before the first
// event, or nothing if the response has begun already. The end of the connection is
// the end of the response.
func appendBeginning(b []byte, e *hub.Beginning) []byte {
	if e == nil {
		return b
	}
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"...)
	b = append(b, "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n"...)
	b = append(appendCORS(b, e.Origin), "\r\n"...)
	return appendRetry(append(b, padding...), e.Retry.Milliseconds())
}

// appendCORS appends the header fields for a page that reads the response (Fetch
// standard 3.2).
func appendCORS(b []byte, origin string) []byte {
	b = append(b, "Vary: Origin\r\n"...)
	if origin == "" {
		return b
	}
	return append(append(append(b, "Access-Control-Allow-Origin: "...), origin...), "\r\n"...)
}

// appendRetry appends how long a client should wait before it reconnects.
func appendRetry(b []byte, ms int64) []byte { return fmt.Appendf(b, "retry: %d\n\n", ms) }

// statuses has the HTTP status of refusals. The rest have 400.
var statuses = map[hub.RefusalKind]int{
	hub.SecretRequired:   403,
	hub.WrongSecret:      403,
	hub.BadToken:         403,
	hub.OriginNotAllowed: 403,
	hub.RoomNotFound:     404,
	hub.RoomFull:         503,
	hub.ServerFull:       503,
	hub.AddressFull:      503,
	hub.NotReady:         503,
	hub.RelayBusy:        503,
	hub.TooManyAttempts:  429,

	// Of messages by POST:
	hub.NotInRoom:        409,
	hub.AlreadyInRoom:    409,
	hub.NotHost:          403,
	hub.IsHost:           403,
	hub.CreateForbidden:  403,
	hub.NoSuchViewer:     404,
	hub.HostAway:         409,
	hub.UnexpectedNumber: 409,
	hub.NumberUsed:       422,
	hub.TooLarge:         413,
	hub.DirectTooLarge:   413,

	hub.TooManyRooms:            503,
	hub.TooManyRoomsFromAddress: 503,
	hub.HistoryWithoutHost:      503,
	hub.HostBusy:                429,
	hub.ViewerBusy:              429,
	hub.HistoryPending:          429,
	hub.HistoryTooSoon:          429,
	hub.ListTooSoon:             429,
	hub.TooManyMessages:         429,
	hub.TooManyErrors:           429,
}

// Status returns the HTTP status of a refusal.
func Status(f *hub.Refusal) int {
	if status, ok := statuses[f.Kind]; ok {
		return status
	}
	return 400
}

// AppendRefusal appends the response to a request for a stream that is refused. Its
// body is the API's envelope, with the error's name.
func (*Events) AppendRefusal(b []byte, f *hub.Refusal, origin string) []byte {
	status := Status(f)
	body := encode(struct {
		Code    int    `json:"code"`
		Error   string `json:"error"`
		Message string `json:"message"`
	}{status, f.Kind.Code(), Sentence(f)})
	b = frame.AppendStatus(b, status)
	if wait := (f.Retry.Milliseconds() + 999) / 1000; wait > 0 {
		b = fmt.Appendf(b, "Retry-After: %d\r\n", wait)
	}
	b = fmt.Appendf(appendCORS(b, origin), "Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body))
	return append(b, body...)
}

// AppendPollHead appends the head of a response to a poll.
func (*Events) AppendPollHead(b []byte, origin string, size int, keeps bool) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"...)
	b = fmt.Appendf(appendCORS(b, origin), "Content-Length: %d\r\n", size)
	if !keeps {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

// ReadRequest reads a request for a stream. A client that can set headers gives its
// token and its place in Authorization and Last-Event-ID.
func (*Events) ReadRequest(r hub.EventRequest) (e hub.JoinRequest, f *hub.Refusal) {
	e.Code, e.Name = r.Code, r.Query.Get("name")
	if scheme, token, ok := strings.Cut(r.Header("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		e.Token, e.Back = strings.TrimSpace(token), true
	}
	if !utf8.ValidString(e.Name) || utf8.RuneCountInString(e.Name) > r.MaxName {
		return e, badMessage(fmt.Sprintf("the name must be UTF-8 of at most %d characters", r.MaxName))
	}
	e.History = r.Query.Get("history") == "true"
	if e.Ticket = r.Query.Get("ticket"); e.Ticket != "" && e.Back {
		return e, badMessage("a request has a ticket or a token, not both")
	}
	if r.Query.Has("wait") {
		var err error
		e.Wait, err = time.ParseDuration(r.Query.Get("wait"))
		if err != nil || e.Wait < hub.MinPollWait || e.Wait > hub.MaxPollWait {
			return e, badMessage("wait must be from 1s to 60s")
		}
	}
	last := r.Header("Last-Event-ID")
	if last == "" {
		last = r.Query.Get("last_event_id")
	}
	if epoch, seq, ok := strings.Cut(last, "-"); ok {
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			return e, badMessage("the last event's id is not one of this relay's")
		}
		e.Last = hub.Place{Epoch: epoch, Seq: n}
	}
	return e, nil
}
