package frame

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// A Request is what an accepted upgrade asked for. Its strings are copies, as
// the client wrote them: nothing is unescaped or lower-cased.
type Request struct {
	Method       string // empty after Upgrade, which is always GET
	Path         string // never empty
	Query        string // without the question mark
	Host         string // never empty
	Origin       string // empty if there was none
	ForwardedFor string // the X-Forwarded-For lines, joined by ", "
}

// fields are the parts of a head that decide about an upgrade. They alias it.
type fields struct {
	method, target, version []byte

	host, origin, key, wsVersion single
	forwardedFor                 []byte
	protocols                    [][]byte // the Sec-WebSocket-Protocol lines
	deflate                      offer    // of the Sec-WebSocket-Extensions lines
	websocket                    bool     // an Upgrade line names websocket
	upgrade                      bool     // a Connection line names upgrade
	body                         bool     // one follows, or may
	length                       single   // Content-Length
	coded                        bool     // there is a Transfer-Encoding
	lists                        int      // Upgrade and Connection lines
	plainLists                   int      // those that name nothing but websocket or upgrade
}

// single is a header field that may be there once.
type single struct {
	value []byte
	count int
}

func (s *single) set(value []byte) {
	s.value = value
	s.count++
}

// parseFields reads a head whose lines were checked. It takes only what decides
// about an upgrade, and ignores every other field.
func parseFields(head []byte) fields {
	var f fields
	for line := range bytes.Lines(head) {
		line = trimLineEnd(line)
		if f.method == nil {
			f.method, f.target, f.version, _ = splitRequestLine(line)
			continue
		}
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok {
			f.set(name, bytes.Trim(value, " \t"))
		}
	}
	return f
}

// set takes a header field. Names know no case (RFC 9110 5.1).
func (f *fields) set(name, value []byte) {
	var lower [32]byte // holds every name below
	if len(name) > len(lower) {
		return
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "host":
		f.host.set(value)
	case "origin":
		f.origin.set(value)
	case "sec-websocket-key":
		f.key.set(value)
	case "sec-websocket-version":
		f.wsVersion.set(value)
	case "sec-websocket-protocol": // may be there several times, RFC 6455 11.3.4
		f.protocols = append(f.protocols, value)
	case "sec-websocket-extensions": // may be there several times, RFC 6455 11.3.2
		f.deflate.read(value)
	case "upgrade":
		f.websocket = f.setList(value, "websocket") || f.websocket
	case "connection":
		f.upgrade = f.setList(value, "upgrade") || f.upgrade
	case "content-length": // a body's bytes would be taken for frames
		f.body = f.body || string(value) != "0"
		f.length.set(value)
	case "transfer-encoding":
		f.body, f.coded = true, true
	case "x-forwarded-for": // each proxy may have added a line
		if f.forwardedFor != nil {
			value = fmt.Appendf(nil, "%s, %s", f.forwardedFor, value)
		}
		f.forwardedFor = value
	}
}

// bodySize returns the size of the body, -1 if Content-Length alone does not tell
// it: servers differ about requests with a Transfer-Encoding as well, or with several
// lengths (RFC 9112 6.3).
func (f *fields) bodySize() int64 {
	switch {
	case f.coded || f.length.count > 1:
		return -1
	case f.length.count == 0:
		return 0
	}
	for _, c := range f.length.value {
		if !isDigit(c) { // ParseInt takes a sign
			return -1
		}
	}
	n, err := strconv.ParseInt(string(f.length.value), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// setList looks for a token in a field that is a comma-separated list.
func (f *fields) setList(value []byte, token string) (found bool) {
	f.lists++
	if strings.EqualFold(string(value), token) {
		f.plainLists++
		return true
	}
	for item := range listItems(value) {
		if strings.EqualFold(string(item), token) {
			return true
		}
	}
	return false
}

// check returns what is wrong with an upgrade, RFC 6455 4.2.1, or nil. A field
// that decides something must be there once: two servers that each pick another
// one of two are a hole.
func (f *fields) check() *refusal {
	switch _, _, pathFound := f.splitTarget(); {
	case string(f.version) == "HTTP/1.0":
		return &refusal{505, "a WebSocket upgrade needs HTTP/1.1"}
	case string(f.method) != "GET":
		return &refusal{405, "a WebSocket upgrade must be a GET request"}
	case !pathFound:
		return badRequest("the request's target is not a path")
	case f.host.count > 1:
		return badRequest("Host is given more than once")
	case len(f.host.value) == 0:
		return badRequest("Host is missing")
	case f.origin.count > 1:
		return badRequest("Origin is given more than once")
	case f.body:
		return badRequest("a WebSocket upgrade must have no body")
	case !f.upgrade:
		return badRequest("Connection does not name upgrade")
	case f.wsVersion.count > 1:
		return badRequest("Sec-WebSocket-Version is given more than once")
	case f.wsVersion.count == 0:
		return &refusal{426, "Sec-WebSocket-Version is missing, it must be 13"}
	case string(f.wsVersion.value) != "13":
		return &refusal{426, "Sec-WebSocket-Version must be 13"}
	case f.key.count > 1:
		return badRequest("Sec-WebSocket-Key is given more than once")
	case f.key.count == 0:
		return badRequest("Sec-WebSocket-Key is missing")
	case !validKey(f.key.value):
		return badRequest("Sec-WebSocket-Key is not 16 bytes in base64")
	case !validProtocols(f.protocols):
		return badRequest("Sec-WebSocket-Protocol is not a list of different names")
	case f.deflate.malformed: // RFC 6455 9.1
		return badRequest("Sec-WebSocket-Extensions is not a list of extensions")
	}
	return nil
}

// validProtocols reports whether the lines are lists of subprotocols as RFC 6455
// 4.1 wants them: tokens, at least one on each line, and none twice. Empty items
// are ignored (RFC 9110 5.6.1.2).
func validProtocols(lines [][]byte) bool {
	if len(lines) == 0 {
		return true
	}
	seen := make(map[string]struct{})
	for _, line := range lines {
		before := len(seen)
		for item := range listItems(line) {
			if _, twice := seen[string(item)]; twice || !isTokens(item) {
				return false
			}
			seen[string(item)] = struct{}{}
		}
		if len(seen) == before {
			return false
		}
	}
	return true
}

// offers reports whether the client asks for the subprotocol.
func (f *fields) offers(protocol string) bool {
	for _, line := range f.protocols {
		for item := range listItems(line) {
			if string(item) == protocol {
				return true
			}
		}
	}
	return false
}

// listItems returns the items of a comma-separated list, without empty ones.
func listItems(line []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for item := range bytes.SplitSeq(line, []byte{','}) {
			if item = bytes.Trim(item, " \t"); len(item) > 0 && !yield(item) {
				return
			}
		}
	}
}

// validKey reports whether key is 16 bytes in base64 (RFC 6455 4.1); gobwas/ws
// looks at its length only.
func validKey(key []byte) bool {
	var nonce [18]byte // DecodedLen of 24 characters
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], key)
	return err == nil && n == 16
}

// accept lets gobwas/ws have the final say on a head that passed check, and
// returns its 101 response. It agrees to the subprotocol if the client offers it,
// and to compression as the caller says. What else is offered is declined by not
// answering it (RFC 6455 4.2.2).
func (f *fields) accept(head []byte, subprotocol string, agreed Deflate) (reply []byte, refused *refusal) {
	if f.lists != 2 || f.plainLists != 2 {
		head = f.plainHead(head)
	}
	var conn exchange
	conn.request.Reset(head)
	conn.response.Grow(responseSize)
	var headers string
	if agreed != NoDeflate {
		headers = extensionHeaders[f.deflate.window]
	}
	if subprotocol != "" && f.offers(subprotocol) {
		headers += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	var upgrader ws.Upgrader
	if headers != "" {
		upgrader.Header = ws.HandshakeHeaderString(headers)
	}
	if _, err := upgrader.Upgrade(&conn); err != nil {
		return nil, badRequest("not a WebSocket upgrade: " + err.Error())
	}
	return conn.response.Bytes(), nil
}

// responseSize is more than a 101 response has without a subprotocol, in bytes.
const responseSize = 288

// An exchange is a request that a server reads, and the response that it writes.
type exchange struct {
	request  bytes.Reader
	response bytes.Buffer
}

func (e *exchange) Read(p []byte) (int, error)  { return e.request.Read(p) }
func (e *exchange) Write(p []byte) (int, error) { return e.response.Write(p) }

// plainHead returns a copy of head in which the Upgrade and Connection lists
// name only what matters. They may have several items and several lines (RFC
// 9110 5.3), of which gobwas/ws takes only some.
func (f *fields) plainHead(head []byte) []byte {
	plain := make([]byte, 0, len(head)+64)
	for line := range bytes.Lines(head) {
		name, _, _ := bytes.Cut(line, []byte{':'})
		switch {
		case bytes.EqualFold(name, []byte("Upgrade")), bytes.EqualFold(name, []byte("Connection")):
		case len(trimLineEnd(line)) == 0:
			plain = append(plain, "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"...)
		default:
			plain = append(plain, line...)
		}
	}
	return plain
}

// splitTarget takes the request's target apart. It may be a path or, when it
// came through a proxy, a whole URL, whose host then counts (RFC 9112 3.2.2).
// There is no user in it: RFC 9110 4.2.4.
func (f *fields) splitTarget() (host, path string, ok bool) {
	target := string(f.target)
	if strings.HasPrefix(target, "/") {
		return string(f.host.value), target, true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "ws") {
		return "", "", false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, path = rest[:end], rest[end:]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return host, path, host != "" && !strings.Contains(host, "@")
}

func (f *fields) request() Request {
	host, target, _ := f.splitTarget()
	path, query, _ := strings.Cut(target, "?")
	return Request{
		Path: path, Query: query, Host: host,
		Origin:       string(f.origin.value),
		ForwardedFor: string(f.forwardedFor),
	}
}
