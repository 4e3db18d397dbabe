package main

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"lectern/frame"
)

// httpConnBytes is about what a connection takes while net/http serves it: its
// buffers, the parsed request, two goroutines' stacks and the socket's
// structures. TestAnHTTPConnectionTakesWhatIsCounted measures it.
const httpConnBytes = 44 << 10

const (
	maxHTTPRead = 4 << 10 // bytes read at once of what follows a request
	maxBlank    = 4       // bytes of blank lines before a request, which net/http does not get
)

// An httpConn is a connection of the HTTP server on the relay's own port. It
// counts the answers, bounds the time to write each, and puts those that
// net/http makes by itself into the JSON envelope.
//
// A connection may carry several requests. net/http gets a request's head only
// when [frame.Handshake] has found it complete and plain, as the reactor did with
// the first one. Everything else goes back to the reactor with the bytes that were
// read: a WebSocket's upgrade, what is no HTTP, a head that comes in parts, and a
// request that a proxy sends for another client. So one parser judges all heads,
// and a slow one has the reactor's limits.
type httpConn struct {
	net.Conn
	handover *handover  // immutable
	from     netip.Addr // immutable; its network

	// Owned by the goroutine that serves, or by its read in the background:
	in       []byte // read, and not yet given to net/http
	head     []byte // of the request, not yet given
	body     int64  // bytes of the request that are not yet given; negative until the connection's end
	ahead    int    // bytes of the next head that were given before it was judged: 0 or 1
	started  bool   // the first head was judged
	keeps    bool   // another request may follow
	answered bool   // the answer has begun

	mu      sync.Mutex
	leaving bool // guarded by mu; Close gives it back to the reactor
	closed  bool // guarded by mu
}

// Read gives net/http a request's head, then its body, and then the next head.
func (c *httpConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.head) == 0 && c.body == 0 {
		if len(p) == 1 && c.started {
			return c.peek(p)
		}
		if err := c.nextHead(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	if c.body > 0 {
		p = p[:min(int64(len(p)), c.body)]
	}
	n, err := c.read(p)
	if c.body > 0 {
		c.body -= int64(n)
	}
	return n, err
}

// Keeps reports whether another request may follow the one that is being answered.
// None may where servers differ about the end of this one (RFC 9112 6.1 and 6.3). It
// is for the goroutine that serves.
func (c *httpConn) Keeps() bool { return c.keeps }

// read reads bytes that are no head.
func (c *httpConn) read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.in)
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.in = nil
	}
	return n, nil
}

// peek gives net/http the first byte of the next head. While a request is answered
// net/http reads one byte ahead, to learn that the client has disconnected. Blank
// lines are left out, because nextHead leaves them out too.
func (c *httpConn) peek(p []byte) (int, error) {
	for c.ahead == 0 {
		at := 0
		for at < len(c.in) && at < maxBlank && (c.in[at] == '\r' || c.in[at] == '\n') {
			at++
		}
		if at < len(c.in) {
			c.ahead, p[0] = 1, c.in[at]
			return 1, nil
		}
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	return 0, c.leave()
}

// hasBegun reports whether something has come of the next head, but for blank lines.
func (c *httpConn) hasBegun() bool {
	return len(c.in) > maxBlank || len(bytes.TrimLeft(c.in, "\r\n")) > 0
}

// receive reads what is there of what follows.
func (c *httpConn) receive() error {
	buf := make([]byte, maxHTTPRead)
	n, err := c.Conn.Read(buf)
	c.in = append(c.in, buf[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// nextHead reads and judges the head of the next request.
func (c *httpConn) nextHead() error {
	for !c.hasBegun() {
		if err := c.receive(); err != nil {
			return err
		}
	}
	config := c.handover.hub.Config()
	handshake := frame.Handshake{MaxHead: config.MaxHead}
	if handshake.Feed(c.in) != frame.Plain {
		return c.leave()
	}
	if c.handover.hub.IsEventRequest(handshake.Request()) {
		return c.leave() // the reactor serves it
	}
	if c.started && network(config.Client(c.peer(), handshake.Request().ForwardedFor)) != c.from {
		return c.leave() // the request counts for another client
	}
	head, body := handshake.Framing()
	all := handshake.Head()
	c.head, c.in, c.body = all[c.ahead:head:head], all[head:], body
	c.ahead, c.started, c.answered = 0, true, false
	c.keeps = body >= 0
	return nil
}

// peer returns the address at the other end.
func (c *httpConn) peer() netip.Addr {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// leave returns an error on which net/http gives the connection up and closes it.
func (c *httpConn) leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	return io.EOF
}

// What net/http writes by itself.
var (
	ownError    = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
	ownUpgrade  = []byte("\r\nConnection: close\r\n")
	withUpgrade = []byte("\r\nConnection: close, Upgrade\r\n")
)

// Write sends a part of an answer. A whole answer must be written within
// answerTimeout of its first byte, whether the client reads or not.
func (c *httpConn) Write(p []byte) (int, error) {
	if c.isLeaving() {
		return len(p), nil // net/http refuses what was read ahead of an upgrade
	}
	status := statusOf(p)
	if c.answered || status == 0 {
		return c.Conn.Write(p)
	}
	_ = c.SetWriteDeadline(time.Now().Add(answerTimeout))
	if status == 100 { // RFC 9110 15.2.1: the answer is yet to come
		return c.Conn.Write(p)
	}
	c.answered = true
	c.handover.hub.Answered(status)
	if _, err := c.Conn.Write(inEnvelope(status, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *httpConn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

func (c *httpConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close frees the connection's place, and closes the connection or gives it back to
// the reactor. It may be called from anywhere; further calls do nothing.
func (c *httpConn) Close() error {
	c.mu.Lock()
	closed, leaving := c.closed, c.leaving
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.handover.gone(c)
	if leaving {
		return c.handover.giveBack(c.Conn, c.in)
	}
	return c.Conn.Close()
}

// statusOf returns the status of an answer that begins with these bytes, 0 if
// they begin none.
func statusOf(p []byte) int {
	rest, ok := bytes.CutPrefix(p, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 {
		return 0
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil {
		return 0
	}
	return status
}

// inEnvelope returns an answer as PROTOCOL.md has it. net/http answers what it
// cannot parse with a line of text, and an Expect that it does not know with
// nothing. It also takes Upgrade, which RFC 9110 7.8 wants beside a header of that
// name, out of the Connection header.
func inEnvelope(status int, p []byte) []byte {
	switch {
	case status == 417:
		return frame.AppendRefusal(nil, status, "the relay knows no other Expect than 100-continue")
	case status == 426:
		return bytes.Replace(p, ownUpgrade, withUpgrade, 1)
	}
	head, text, ok := bytes.Cut(p, ownError)
	if !ok || bytes.Contains(head, []byte("\r\n")) {
		return p
	}
	_, reason, found := bytes.Cut(text, []byte(": "))
	if !found {
		reason = text // "400 Bad Request", or a sentence
	}
	return frame.AppendRefusal(nil, status, string(reason))
}
