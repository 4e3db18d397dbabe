package main

import (
	"bytes"
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
const httpConnBytes = 40 << 10

// An httpConn is a connection of the HTTP server on the relay's own port. It
// counts the answer, bounds the time to write it, and puts the answers that
// net/http makes by itself into the JSON envelope.
type httpConn struct {
	net.Conn
	handover *handover
	from     netip.Addr // its network
	answered bool       // owned by the goroutine that writes
	once     sync.Once
}

// What net/http writes by itself.
var (
	ownError    = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
	ownUpgrade  = []byte("\r\nConnection: close\r\n")
	withUpgrade = []byte("\r\nConnection: close, Upgrade\r\n")
)

// Write sends a part of the answer. The whole answer must be written within
// answerTimeout of its first byte, whether the client reads or not.
func (c *httpConn) Write(p []byte) (int, error) {
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

// Close closes the connection and gives its place to another one.
func (c *httpConn) Close() error {
	c.once.Do(func() { c.handover.leave(c.from) })
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
// nothing; and it takes the Upgrade, which must stand there beside a header of
// that name (RFC 9110 7.8), out of the Connection header.
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
