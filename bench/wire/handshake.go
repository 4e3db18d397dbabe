package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// MaxHead is the longest answer to a handshake that is read, in bytes.
const MaxHead = 16 << 10

// A WebSocket is how a client speaks WebSocket to a server: the request that all
// connections of a run send, the answer that they expect, and frames. They share a
// key, because its only purpose is to tell a WebSocket server from another server
// (RFC 6455 1.3).
type WebSocket struct {
	request  string // immutable; {room} in its path is not yet filled in
	accept   string // immutable; the Sec-WebSocket-Accept that answers the key
	deflates bool   // immutable; it offers compression
}

// NewWebSocket makes the request for a URL, with "Name: value" lines of the
// caller's. An empty subprotocol is not offered.
func NewWebSocket(u *url.URL, subprotocol string, headers []string) WebSocket {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	key := base64.StdEncoding.EncodeToString(nonce)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))

	path := strings.NewReplacer("%7B", "{", "%7D", "}").Replace(u.RequestURI())
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, u.Host)
	b.WriteString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\n", key)
	if subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return WebSocket{request: b.String(), accept: base64.StdEncoding.EncodeToString(sum[:])}
}

// A Place is what a viewer asks for in its request, if it does not do so later.
type Place struct {
	Token   string // of a viewer that comes back
	Last    string // the id of the last event that it has
	History bool   // it asks for the history
}

// Request returns what a client sends first. {room} and {viewer} in it stand for the
// room and the viewer's number.
func (w WebSocket) Request(Place) string { return w.request }

// Answer looks at what a server sent so far. used is the length of the whole
// head. An answer other than 101 is a [ws.StatusError].
func (w WebSocket) Answer(b []byte) (used int, complete bool, err error) {
	used, lines, err := readHead(b, 101)
	if used > 0 && field(lines, "Sec-WebSocket-Accept") != w.accept {
		return 0, false, fmt.Errorf("%w: the handshake's answer lacks the right Sec-WebSocket-Accept", ErrGarbage)
	}
	if used > 0 && w.deflates {
		err = checkOffer(field(lines, "Sec-WebSocket-Extensions"))
	}
	return used, used > 0, err
}

// readHead reads the head of a response whose status must be want. used is its length, 0
// while it is incomplete.
func readHead(b []byte, want int) (used int, lines []string, err error) {
	const version = "HTTP/1."
	if n := min(len(b), len(version)); string(b[:n]) != version[:n] {
		return 0, nil, fmt.Errorf("%w: the answer to the handshake is not HTTP", ErrGarbage)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > MaxHead {
			return 0, nil, fmt.Errorf("%w: more than %d bytes of handshake", ErrGarbage, MaxHead)
		}
		return 0, nil, nil
	}
	lines = strings.Split(string(b[:end]), "\r\n")
	_, status, _ := strings.Cut(lines[0], " ")
	status, _, _ = strings.Cut(status, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: the status line %.40q", ErrGarbage, lines[0])
	}
	if code != want {
		return 0, nil, ws.StatusError(code)
	}
	return end + 4, lines[1:], nil
}

// field returns the value of a field of a head, empty if it is missing.
func field(lines []string, name string) string {
	for _, line := range lines {
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
