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
	request string // immutable; {room} in its path is not yet filled in
	accept  string // immutable; the Sec-WebSocket-Accept that answers the key
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

// Request returns what a client sends first. {room} and {viewer} in it stand for the
// room and the viewer's number.
func (w WebSocket) Request() string { return w.request }

// Answer looks at what a server sent so far. used is the length of the whole
// head, 0 while it is incomplete. An answer other than 101 is a [ws.StatusError].
func (w WebSocket) Answer(b []byte) (used int, err error) {
	const version = "HTTP/1."
	if n := min(len(b), len(version)); string(b[:n]) != version[:n] {
		return 0, fmt.Errorf("%w: the answer to the handshake is not HTTP", ErrGarbage)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > MaxHead {
			return 0, fmt.Errorf("%w: more than %d bytes of handshake", ErrGarbage, MaxHead)
		}
		return 0, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	_, status, _ := strings.Cut(lines[0], " ")
	status, _, _ = strings.Cut(status, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		return 0, fmt.Errorf("%w: the status line %.40q", ErrGarbage, lines[0])
	}
	if code != 101 {
		return 0, ws.StatusError(code)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == w.accept {
			return end + 4, nil
		}
	}
	return 0, fmt.Errorf("%w: the handshake's answer lacks the right Sec-WebSocket-Accept", ErrGarbage)
}
