//go:build linux

package tlstransport

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"lectern/netpoll"
	"lectern/netpoll/tlsrecord"
)

// A handshake is a connection's transport until its handshake is complete.
//
//	collecting  the worker waits for the ClientHello
//	running     the goroutine waits for its turn, computes, or waits for the client
//	over        next goes on, once out has been sent; or err ends the connection
//
// While the goroutine computes the worker does not read: what it has read already is
// one chunk at most.
type handshake struct {
	server  *Server         // immutable
	worker  *netpoll.Worker // immutable
	conn    *netpoll.Conn   // immutable; for the worker only
	network netip.Addr      // immutable
	begun   func()          // immutable

	waits *list.Element // guarded by server.mu; nil unless it waits for its turn

	client  bool // immutable; this side begins
	running bool // owned by the worker

	waited time.Duration // owned by the goroutine; for its client, so far

	mu     sync.Mutex
	in     []byte            // guarded by mu; of the client, not yet read by crypto/tls
	out    []byte            // guarded by mu; of crypto/tls, not yet sent
	wants  bool              // guarded by mu; the goroutine waits for bytes
	begins bool              // guarded by mu; the goroutine has its turn
	over   bool              // guarded by mu; the goroutine has ended
	closed bool              // guarded by mu; the connection is gone
	next   netpoll.Transport // guarded by mu; what goes on, nil after an error
	err    error             // guarded by mu
	wake   chan struct{}     // holds one when in or closed has changed
}

// Open takes bytes of the client.
func (h *handshake) Open(dst, chunk []byte) ([]byte, error) {
	plain, err := h.open(dst, chunk)
	if err != nil && err != io.EOF {
		h.server.failed.Add(1)
		h.server.config.Failed(h.network, err)
	}
	return plain, err
}

func (h *handshake) open(dst, chunk []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return h.finish(dst, chunk)
	}
	if len(chunk) > 0 && h.server.config.Full() {
		return dst, ErrMemory
	}
	h.in = append(h.in, chunk...)
	switch {
	case !h.running:
		complete, err := judgeHello(h.in)
		if err == ErrPlain {
			h.out = h.server.config.Plain
		}
		if err != nil {
			h.over, h.err = true, err
			return dst, err
		}
		if complete {
			h.running = true
			h.begun()
			h.wake = make(chan struct{}, 1)
			h.conn.Await()
			h.server.start(h)
		}
	case len(h.in) > 0 && h.wants:
		h.wants = false
		h.conn.Await()
		h.signal()
	case !h.wants:
		h.conn.Await()
	}
	return dst, nil
}

// finish takes what came behind the handshake to the transport that goes on. The
// caller holds mu.
func (h *handshake) finish(dst, chunk []byte) ([]byte, error) {
	if h.next == nil {
		err := h.err
		if errors.Is(err, net.ErrClosed) {
			err = io.EOF
		}
		return dst, err
	}
	if len(h.in) > 0 {
		chunk = append(h.in, chunk...)
		h.in = nil
	}
	if len(h.out) == 0 {
		h.conn.Through(h.next) // now: the data may take the connection out of the reactor
	}
	return h.next.Open(dst, chunk)
}

// Buffered returns about how many bytes the handshake takes.
func (h *handshake) Buffered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.next != nil:
		return h.next.Buffered()
	case h.over:
		return 0
	case h.begins:
		return handshakeBytes
	}
	return cap(h.in)
}

// Seal returns bytes of the handshake, and those of the transport that goes on when
// they have been sent.
func (h *handshake) Seal(dst, p []byte) ([]byte, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.out) > 0 {
		n := min(len(h.out), netpoll.MaxRest)
		dst = append(dst, h.out[:n]...)
		if h.out = h.out[n:]; len(h.out) == 0 {
			h.out = nil
		}
		return dst, 0
	}
	if h.next == nil {
		return dst, 0
	}
	if len(h.in) == 0 {
		h.conn.Through(h.next)
	}
	return h.next.Seal(dst, p)
}

// End says that nothing more comes.
func (h *handshake) End(dst []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil || len(h.out) > 0 {
		return dst
	}
	return h.next.End(dst)
}

// Close gives the handshake up.
func (h *handshake) Close() {
	h.server.cancel(h)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.signal()
	if h.next != nil {
		h.next.Close()
	}
}

func (h *handshake) signal() {
	if h.wake == nil {
		return
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine.
func (h *handshake) run() {
	s := h.server
	h.mu.Lock()
	h.begins = true
	h.mu.Unlock()
	s.computing <- struct{}{}
	next, state, err := h.negotiate()
	<-s.computing
	if err == nil {
		s.succeeded(state)
	}
	h.mu.Lock()
	h.over, h.next, h.err = true, next, err
	if h.closed && next != nil {
		next.Close()
	}
	h.mu.Unlock()
	s.end(h)
	h.proceed()
}

// challengeProtocol is what a CA speaks that looks for a challenge (RFC 8737).
const challengeProtocol = "acme-tls/1"

// negotiate makes the handshake, and returns the transport that goes on.
func (h *handshake) negotiate() (netpoll.Transport, tls.ConnectionState, error) {
	take := tlsrecord.Server
	if h.client {
		take = tlsrecord.Client
	}
	record, t, err := take(context.Background(), wire{h: h}, h.server.config.TLS)
	switch {
	case t != nil && t.ConnectionState().NegotiatedProtocol == challengeProtocol:
		return nil, tls.ConnectionState{}, io.EOF // the CA has seen the certificate
	case err == nil:
		return record, t.ConnectionState(), nil
	case errors.Is(err, tlsrecord.ErrVersion):
		return newLegacy(t), t.ConnectionState(), nil
	}
	return nil, tls.ConnectionState{}, err
}

// proceed has the worker look at what the goroutine has done.
func (h *handshake) proceed() {
	h.worker.PostBehind(func() bool {
		h.conn.Proceed()
		return false
	})
}

// A wire is a handshake as crypto/tls sees it: a net.Conn whose other end is the
// worker.
type wire struct {
	noSocket
	h *handshake
}

// Read waits for bytes of the client. Meanwhile another handshake may compute. All
// waits count together, or a client that sends a byte now and then could keep its place.
func (w wire) Read(p []byte) (int, error) {
	if n, err := w.take(p); n > 0 || err != nil {
		return n, err
	}
	w.h.proceed() // which sends what was written
	<-w.h.server.computing
	defer func() { w.h.server.computing <- struct{}{} }()
	began := time.Now()
	waiting := time.NewTimer(patience - w.h.waited)
	defer func() {
		waiting.Stop()
		w.h.waited += time.Since(began)
	}()
	for {
		select {
		case <-w.h.wake:
			if n, err := w.take(p); n > 0 || err != nil {
				return n, err
			}
		case <-waiting.C:
			if w.h.server.couldUse(w.h) {
				return 0, ErrDisplaced
			}
			waiting.Reset(patience / 2)
		}
	}
}

// take takes bytes that came. If there are none the worker is to say when some come.
func (w wire) take(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if w.h.closed {
		return 0, net.ErrClosed
	}
	n := copy(p, w.h.in)
	if w.h.in = w.h.in[n:]; len(w.h.in) == 0 {
		w.h.in = nil
	}
	w.h.wants = n == 0
	return n, nil
}

// Write leaves bytes for the worker to send.
func (w wire) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	if w.h.closed {
		return 0, net.ErrClosed
	}
	w.h.out = append(w.h.out, p...)
	return len(p), nil
}

// noSocket is the rest of a net.Conn that has none: the socket is the worker's, and the
// session bounds the time.
type noSocket struct{}

func (noSocket) Close() error                     { return nil }
func (noSocket) LocalAddr() net.Addr              { return nowhere{} }
func (noSocket) RemoteAddr() net.Addr             { return nowhere{} }
func (noSocket) SetDeadline(time.Time) error      { return nil }
func (noSocket) SetReadDeadline(time.Time) error  { return nil }
func (noSocket) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "memory" }
func (nowhere) String() string  { return "memory" }
