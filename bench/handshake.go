package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxHead is the longest answer to a handshake that is read, in bytes.
const maxHead = 16 << 10

// A handshake is the request that all connections of a run send, and the
// answer that they expect. They share one key: its only purpose is to tell a
// WebSocket server from another, and one is enough for that.
type handshake struct {
	request string // immutable; {room} in its path is not yet filled in
	accept  string // immutable; the Sec-WebSocket-Accept that answers the key
}

func newHandshake(u *url.URL, o Options) handshake {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	key := base64.StdEncoding.EncodeToString(nonce)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))

	path := strings.NewReplacer("%7B", "{", "%7D", "}").Replace(u.RequestURI())
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, u.Host)
	b.WriteString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\n", key)
	if o.Template.Subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", o.Template.Subprotocol)
	}
	for _, h := range o.Headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return handshake{request: b.String(), accept: base64.StdEncoding.EncodeToString(sum[:])}
}

// A statusError is an HTTP answer other than 101.
type statusError int

func (s statusError) Error() string { return "HTTP " + strconv.Itoa(int(s)) }

// answer looks at what a server sent so far. used is the length of the whole
// head, 0 while it is incomplete.
func (h handshake) answer(b []byte) (used int, err error) {
	const version = "HTTP/1."
	if n := min(len(b), len(version)); string(b[:n]) != version[:n] {
		return 0, fmt.Errorf("%w: the answer to the handshake is not HTTP", errGarbage)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHead {
			return 0, fmt.Errorf("%w: more than %d bytes of handshake", errGarbage, maxHead)
		}
		return 0, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	_, status, _ := strings.Cut(lines[0], " ")
	status, _, _ = strings.Cut(status, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		return 0, fmt.Errorf("%w: the status line %.40q", errGarbage, lines[0])
	}
	if code != 101 {
		return 0, statusError(code)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == h.accept {
			return end + 4, nil
		}
	}
	return 0, fmt.Errorf("%w: the handshake's answer lacks the right Sec-WebSocket-Accept", errGarbage)
}
