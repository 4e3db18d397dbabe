package classroom

import (
	"encoding/json"

	"lectern/hub"
)

// Clients without a connection join by POST. The bodies are the messages with which they
// would join over a WebSocket.

// ReadViewer reads the body of a request to join a room as a viewer: the fields of a
// message of the type join. The code is in the URL, and the type may be missing.
func ReadViewer(body []byte, code string, c *hub.Config) (e hub.JoinRequest, f *hub.Refusal) {
	var p parser
	r, f := p.parse(body)
	switch {
	case f != nil && f.Kind == hub.BadMessage && p.values[0] == nil && isObject(body):
		r = request{text: body, parser: &p}
	case f != nil:
		return e, f
	case r.kind != "join":
		return e, r.wrong("type", `"join", or missing`)
	}
	text, _ := json.Marshal(code) // cannot fail for a string
	p.values[indexOf([]byte("code"))] = text
	if e, f = readJoin(r, c); f == nil {
		e.Encoding = 0 // there is only one for event streams
	}
	return e, f
}

// isObject reports whether valid JSON is an object.
func isObject(text []byte) bool {
	for _, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == '{'
		}
	}
	return false
}

// CheckHost checks that the body of a request to become a host is a message that creates
// or resumes a room.
func CheckHost(body []byte) *hub.Refusal {
	var p parser
	r, f := p.parse(body)
	if f == nil && r.kind != "create" && r.kind != "resume" {
		f = r.wrong("type", `"create" or "resume"`)
	}
	return f
}

// AppendRefusalBody appends the body of a response to a request that is refused: the
// API's envelope, with the error's name and what else the message error has.
func AppendRefusalBody(b []byte, f *hub.Refusal) []byte {
	return append(b, encode(struct {
		Code    int    `json:"code"`
		Error   string `json:"error"`
		Message string `json:"message"`
		Retry   int64  `json:"retry_ms,omitempty"`
		Number  uint64 `json:"number,omitempty"`
	}{Status(f), f.Kind.Code(), Sentence(f), f.Retry.Milliseconds(), f.Number})...)
}
