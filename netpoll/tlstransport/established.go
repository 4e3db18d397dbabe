//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"net"
	"slices"

	"lectern/netpoll"
)

// A legacy connection speaks TLS 1.2 with the tls.Conn of its handshake, which reads
// and writes memory.
type legacy struct {
	tls   *tls.Conn
	in    []byte // of the client, not yet read by tls
	out   []byte // of tls, not yet sent
	kept  int    // bytes at most that tls keeps of an incomplete record
	grown int    // the most that kept has been: the buffer of a tls.Conn never shrinks
	ended bool
}

// maxOverhead is how many bytes a record of TLS 1.2 has besides what it carries: a
// header, a nonce and a tag.
const maxOverhead = 5 + 8 + 16

// legacyBytes is about what a tls.Conn holds of TLS 1.2.
const legacyBytes = 4 << 10

// newLegacy goes on with the tls.Conn of a handshake.
func newLegacy(t *tls.Conn) *legacy {
	l := &legacy{tls: t}
	socket, ok := t.NetConn().(interface{ Continue(net.Conn) })
	if !ok {
		panic("tlstransport: not a connection of tlsrecord's")
	}
	socket.Continue(memory{l: l})
	return l
}

// Open has tls read what came.
func (l *legacy) Open(dst, chunk []byte) ([]byte, error) {
	l.in = append(l.in, chunk...)
	l.kept += len(chunk)
	l.grown = max(l.grown, l.kept)
	for {
		dst = slices.Grow(dst, len(chunk)+bytes.MinRead)
		n, err := l.tls.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if n > 0 {
			l.kept = min(l.kept, len(chunk)) // what came before this chunk has been read
		}
		switch {
		case err == errNoBytes:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// Buffered returns about how many bytes tls holds.
func (l *legacy) Buffered() int { return legacyBytes + l.grown }

// Seal returns what tls has to say, or has it write a record.
func (l *legacy) Seal(dst, p []byte) ([]byte, int) {
	n := 0
	if len(l.out) == 0 && len(p) > 0 && !l.ended {
		n, _ = l.tls.Write(p[:min(len(p), netpoll.MaxRest-maxOverhead)])
	}
	size := min(len(l.out), netpoll.MaxRest)
	dst = append(dst, l.out[:size]...)
	if l.out = l.out[size:]; len(l.out) == 0 {
		l.out = nil
	}
	return dst, n
}

// End says close_notify.
func (l *legacy) End(dst []byte) []byte {
	if l.ended {
		return dst
	}
	l.ended = true
	_ = l.tls.CloseWrite()
	dst = append(dst, l.out...)
	l.out = nil
	return dst
}

// Close does nothing: there is only memory.
func (l *legacy) Close() {}

// errNoBytes is temporary, so that tls.Conn can be asked again.
var errNoBytes net.Error = noBytes{}

type noBytes struct{}

func (noBytes) Error() string   { return "tlstransport: no bytes yet" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

// A memory is a legacy connection as tls sees it.
type memory struct {
	noSocket
	l *legacy
}

// Read reads what came, or returns errNoBytes.
func (m memory) Read(p []byte) (int, error) {
	if len(m.l.in) == 0 {
		m.l.in = nil
		return 0, errNoBytes
	}
	n := copy(p, m.l.in)
	m.l.in = m.l.in[n:]
	return n, nil
}

// Write keeps what is to be sent.
func (m memory) Write(p []byte) (int, error) {
	m.l.out = append(m.l.out, p...)
	return len(p), nil
}
