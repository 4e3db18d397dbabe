package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// An eventReader reads the response to a request for an event stream as WHATWG HTML
// 9.2.6 says, byte by byte. It knows nothing of how the relay writes one.
type eventReader struct {
	status  int // 0 until the head is complete
	header  textproto.MIMEHeader
	head    []byte
	body    []byte // of a refusal
	retry   string
	silence int // comments and other events without data

	line  []byte
	cr    bool // the last byte was a CR
	id    string
	kind  string
	data  []string
	last  string // id of the last event
	ready []streamEvent
}

// A streamEvent is an event that the client's script is told.
type streamEvent struct{ id, kind, data string }

// feed reads one byte.
func (r *eventReader) feed(c byte) {
	switch {
	case r.status == 0:
		if r.head = append(r.head, c); strings.HasSuffix(string(r.head), "\r\n\r\n") {
			r.readHead()
		}
	case r.status != http.StatusOK:
		r.body = append(r.body, c)
	case c == '\n' && r.cr:
		r.cr = false
	case c == '\n' || c == '\r':
		r.cr = c == '\r'
		r.readLine(string(r.line))
		r.line = r.line[:0]
	default:
		r.cr = false
		r.line = append(r.line, c)
	}
}

func (r *eventReader) readHead() {
	first, fields, _ := strings.Cut(string(r.head), "\r\n")
	version, status, _ := strings.Cut(first, " ")
	r.status, _ = strconv.Atoi(strings.Fields(status + " ")[0])
	r.header = make(textproto.MIMEHeader)
	for line := range strings.SplitSeq(strings.TrimSuffix(fields, "\r\n\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || version != "HTTP/1.1" {
			r.status = -1
			return
		}
		r.header.Add(name, value)
	}
}

func (r *eventReader) readLine(line string) {
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "":
		r.dispatch()
	case field == "event":
		r.kind = value
	case field == "data":
		r.data = append(r.data, value)
	case field == "id" && !strings.Contains(value, "\x00"):
		r.id = value
	case field == "retry":
		r.retry = value
	}
}

func (r *eventReader) dispatch() {
	r.last = r.id
	if r.data == nil {
		r.kind = ""
		r.silence++
		return
	}
	r.ready = append(r.ready, streamEvent{r.last, r.kind, strings.Join(r.data, "\n")})
	r.kind, r.data = "", nil
}

// dialStream returns a peer that reads an event stream. It sends its request when it
// says that it joins.
func (r *testRelay) dialStream(worker int, from netip.Addr) *peer {
	p := r.connect(worker)
	p.from = from
	p.stream = new(eventReader)
	return p
}

// requestStream sends the request that does what a join does over a WebSocket.
func (p *peer) requestStream(text string) {
	var join struct {
		Type, Code, Name, Epoch string
		Secret, Token           *string
		Seq                     *uint64
		History                 bool
	}
	if err := json.Unmarshal([]byte(text), &join); err != nil || join.Type != "join" {
		p.relay.t.Fatalf("an event stream cannot say %s", text)
	}
	query, head, code := url.Values{}, "", join.Code
	if join.Name != "" {
		query.Set("name", join.Name)
	}
	if join.History {
		query.Set("history", "true")
	}
	if join.Secret != nil {
		code += "-" + *join.Secret
	}
	if join.Token != nil {
		head = "Authorization: Bearer " + *join.Token + "\r\n"
	}
	if join.Seq != nil {
		head += fmt.Sprintf("Last-Event-ID: %s-%d\r\n", join.Epoch, *join.Seq)
	}
	p.bytes([]byte(streamRequest(code, query.Encode(), head)))
}

// streamRequest is a request for an event stream.
func streamRequest(code, query, head string) string {
	return "GET /v1/rooms/" + url.PathEscape(code) + "/events?" + query + " HTTP/1.1\r\nHost: test\r\n" + head + "\r\n"
}

// streamed takes the whole events that arrived, as a viewer over a WebSocket that asked
// for numbers would have heard them. The end of the response stands for the close frame.
func (p *peer) streamed() (all []string) {
	r, t := p.stream, p.relay.t
	t.Helper()
	for _, c := range p.wire {
		r.feed(c)
	}
	p.wire = nil
	for _, e := range r.ready {
		if text := p.inWords(e); text != "" {
			all = append(all, text)
		}
	}
	r.ready = nil
	length, _ := strconv.Atoi(r.header.Get("Content-Length"))
	switch {
	case r.status < 0:
		t.Fatalf("garbled response: %q", r.head)
	case r.status == 0 || !p.ended || r.last == responseEnded || len(r.body) < length:
	case r.status == http.StatusOK:
		if p.closeCode != 0 { // otherwise the connection was given up
			all = append(all, fmt.Sprintf("close %d", p.closeCode))
		}
		r.last = responseEnded
	default:
		var body struct{ Error, Message string }
		if err := json.Unmarshal(r.body, &body); err != nil {
			t.Fatalf("refused with %q", r.body)
		}
		message, _ := json.Marshal(body.Message)
		all = append(all, fmt.Sprintf(`{"type":"error","error":"%s","message":%s,"re":"join"}`, body.Error, message), "refused")
		r.last = responseEnded
	}
	return all
}

const responseEnded = "the end"

// inWords returns the text of an event, with its number if it is a host's message, and
// checks its fields.
func (p *peer) inWords(e streamEvent) string {
	t := p.relay.t
	t.Helper()
	asDescribed(t, e.data)
	var told struct {
		Type, Reason, Epoch string
		Seq                 *uint64
	}
	if err := json.Unmarshal([]byte(e.data), &told); err != nil || told.Type != e.kind {
		t.Fatalf("event %q has %q: %v", e.kind, e.data, err)
	}
	_, number, _ := strings.Cut(e.id, "-")
	switch told.Type {
	case "command", "activate", "broadcast", "history":
		if told.Seq == nil {
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("%q has the id %q", e.data, e.id)
			}
			return withNumber(n, e.data)
		}
	case "joined", "skipped":
	case "closed":
		for _, why := range Reasons() {
			if why.String() == told.Reason {
				p.closeCode = int(endings[why].code)
			}
		}
		return e.data
	case "presence":
		p.presence = append(p.presence, e.data)
		return ""
	case "viewers":
		p.counts = append(p.counts, e.data)
		return ""
	default:
		if hostTokens.MatchString(e.data) {
			p.lastHost = e.data
		}
		return e.data
	}
	if number != strconv.FormatUint(*told.Seq, 10) {
		t.Fatalf("%q has the id %q", e.data, e.id)
	}
	return e.data
}

// TestEventReader compares the reader of these tests with the standard's examples.
func TestEventReader(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	for name, c := range map[string]struct {
		body string
		want []streamEvent
	}{
		"three lines of data":  {"data: YHOO\ndata: +2\ndata: 10\n\n", []streamEvent{{"", "", "YHOO\n+2\n10"}}},
		"four blocks":          {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", []streamEvent{{"1", "", "first event"}, {"", "", "second event"}, {"", "", " third event"}}},
		"empty data, unended":  {"data\n\ndata\ndata\n\ndata:", []streamEvent{{"", "", ""}, {"", "", "\n"}}},
		"with and without gap": {"data:test\n\ndata: test\n\n", []streamEvent{{"", "", "test"}, {"", "", "test"}}},
		"all line ends":        {"event: a\rid: 7\r\ndata: x\n\r\ndata: y\r\r", []streamEvent{{"7", "a", "x"}, {"7", "", "y"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(eventReader)
			for _, c := range []byte(head + c.body) {
				r.feed(c)
			}
			if fmt.Sprint(r.ready) != fmt.Sprint(c.want) {
				t.Errorf("read %q, want %q", r.ready, c.want)
			}
		})
	}
}
