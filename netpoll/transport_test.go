//go:build linux

package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A wire is what connections of a test go over.
type wire string

const (
	plain  wire = "plain"
	masked wire = "masked" // through a mask
)

// overEach runs a test of the reactor over plain connections and through a
// transport.
func overEach(t *testing.T, test func(*testing.T, wire)) {
	for _, over := range []wire{plain, masked} {
		t.Run(string(over), func(t *testing.T) { test(t, over) })
	}
}

// A mask is a transport of records with a header of 8 bytes: the length of what
// follows, a kind and the record's number, which begins the mask that the rest is
// XORed with. It answers each question, and says what was wrong, as TLS answers
// KeyUpdate and sends alerts.
type mask struct {
	sent, heard uint32 // records
	in          []byte // an incomplete record
	due         []byte // kinds of what it has to say
	size        int    // of the records' contents; 0 for the most
}

const (
	maskHeader = 8
	maskData   = iota
	maskQuestion
	maskAnswer
	maskAlert
	maskEnd
)

var errMask = errors.New("broken record")

func (m *mask) record(dst []byte, kind byte, p []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(p)))
	dst = append(dst, kind, 0)
	dst = binary.BigEndian.AppendUint32(dst, m.sent)
	for i, b := range p {
		dst = append(dst, b^byte(m.sent)^byte(i))
	}
	m.sent++
	return dst
}

func (m *mask) Seal(dst, p []byte) ([]byte, int) {
	if len(m.due) > 0 {
		kind := m.due[0]
		m.due = m.due[1:]
		return m.record(dst, kind, nil), 0
	}
	n := min(len(p), MaxRest-maskHeader)
	if m.size > 0 {
		n = min(n, m.size)
	}
	if n == 0 {
		return dst, 0
	}
	return m.record(dst, maskData, p[:n]), n
}

func (m *mask) Open(dst, chunk []byte) ([]byte, error) {
	m.in = append(m.in, chunk...)
	for len(m.in) >= maskHeader {
		n := int(binary.BigEndian.Uint16(m.in))
		if n > MaxRest || binary.BigEndian.Uint32(m.in[4:]) != m.heard {
			m.due = append(m.due, maskAlert)
			return dst, errMask
		}
		if len(m.in) < maskHeader+n {
			break
		}
		kind, p := m.in[2], m.in[maskHeader:maskHeader+n]
		for i, b := range p {
			dst = append(dst, b^byte(m.heard)^byte(i))
		}
		m.in = m.in[maskHeader+n:]
		m.heard++
		switch kind {
		case maskQuestion:
			m.due = append(m.due, maskAnswer)
		case maskEnd, maskAlert:
			return dst, io.EOF
		}
	}
	if len(m.in) == 0 {
		m.in = nil
	}
	return dst, nil
}

func (m *mask) End(dst []byte) []byte { return m.record(dst, maskEnd, nil) }

func (m *mask) Rewind(records int) { m.sent -= uint32(records) }

func (m *mask) Buffered() int { return len(m.in) }

func (m *mask) Close() {}

// A client is the peer of a connection.
type client struct {
	*net.TCPConn
	mask   *mask // nil if it is plain
	opened []byte
	err    error
}

func (c *client) Read(p []byte) (int, error) {
	if c.mask == nil {
		return c.TCPConn.Read(p)
	}
	for len(c.opened) == 0 && c.err == nil {
		chunk := make([]byte, 32<<10)
		var n int
		n, c.err = c.TCPConn.Read(chunk)
		if c.err == io.EOF {
			c.err = io.ErrUnexpectedEOF // the last record did not come
		}
		var err error
		if c.opened, err = c.mask.Open(nil, chunk[:n]); err != nil {
			c.err = err
		}
	}
	if len(c.opened) == 0 {
		return 0, c.err
	}
	n := copy(p, c.opened)
	c.opened = c.opened[n:]
	return n, nil
}

func (c *client) Write(p []byte) (written int, err error) {
	if c.mask == nil {
		return c.TCPConn.Write(p)
	}
	for len(p) > 0 {
		record, n := c.mask.Seal(nil, p)
		if _, err := c.TCPConn.Write(record); err != nil {
			return written, err
		}
		p = p[n:]
		written += n
	}
	return written, nil
}

func (c *client) CloseWrite() error {
	if c.mask != nil {
		_, _ = c.TCPConn.Write(c.mask.End(nil))
	}
	return c.TCPConn.CloseWrite()
}

// WriteTo and ReadFrom hide those of the TCPConn, which know nothing of a mask.
func (c *client) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

func (c *client) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// TestRecordsMayBeCutAnywhere sends records of every size in pieces of every size.
func TestRecordsMayBeCutAnywhere(t *testing.T) {
	s := masked.serve(t, Config{Workers: 1}, SocketOptions{}, nil)
	for piece := 1; piece <= 3*maskHeader; piece++ {
		c := s.dial(t)
		var sealed, want []byte
		for size := range 24 {
			p := bytes.Repeat([]byte{byte(size)}, size)
			sealed = c.mask.record(sealed, maskData, p)
			want = append(want, p...)
		}
		go func() {
			for part := range bytesIn(sealed, piece) {
				if _, err := c.TCPConn.Write(part); err != nil {
					t.Error(err)
				}
			}
		}()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d: %v, same %t", piece, err, bytes.Equal(got, want))
		}
	}
}

func bytesIn(p []byte, piece int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := min(piece, len(p))
			if !yield(p[:n]) {
				return
			}
			p = p[n:]
		}
	}
}

// TestWhatAFullSocketLeavesIsBounded has many peers not read: of each, less than a
// record is held, the session is told that the socket is full, and everything comes
// when they read.
func TestWhatAFullSocketLeavesIsBounded(t *testing.T) {
	const peers, size = 20, 2 << 20
	s := masked.serve(t, Config{Workers: 1}, SocketOptions{SendBuffer: 64 << 10}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) { e.due = bytes.Repeat([]byte("0123456789abcdef"), size/16) }
	})
	w := s.pool.Workers()[0]
	var all []*client
	for range peers {
		c := s.dial(t)
		if _, err := c.Write([]byte("go")); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	full := make(chan int)
	count := func() bool {
		n := 0
		for _, c := range w.conns {
			if len(c.carrier.rest) > MaxRest {
				t.Errorf("a connection holds %d bytes", len(c.carrier.rest))
			}
			if c.session.(*echo).full > 0 {
				n++
			}
		}
		full <- n
		return false
	}
	eventually(t, "all sessions know that their sockets are full", func() bool {
		w.Post(count)
		if held := w.Stats().Held; held > peers*MaxRest {
			t.Fatalf("%d bytes are held of %d connections", held, peers)
		}
		return <-full == peers
	})
	if w.Stats().Held == 0 {
		t.Error("nothing is held: the records end where the sockets do")
	}
	for _, c := range all[1:] {
		got := make([]byte, size)
		if _, err := io.ReadFull(c, got); err != nil || strings.Trim(string(got[size-16:]), "0123456789abcdef") != "" {
			t.Fatal(err)
		}
	}
	_ = all[0].SetLinger(0)
	_ = all[0].Close() // and what is held of a peer that goes is given up
	eventually(t, "nothing is held", func() bool { return w.Stats().Held == 0 })
}

func eventually(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for range 1000 {
		if reached() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it took too long:", what)
}

// TestATransportHasItsSay answers questions that come between data, and says what
// was wrong before it ends a connection.
func TestATransportHasItsSay(t *testing.T) {
	s := masked.serve(t, Config{Workers: 1}, SocketOptions{}, nil)
	c := s.dial(t)
	var sealed []byte
	for i := range 100 {
		sealed = c.mask.record(sealed, maskQuestion, nil)
		sealed = c.mask.record(sealed, maskData, fmt.Appendf(nil, "%02d", i))
	}
	if _, err := c.TCPConn.Write(sealed); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 200)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.HasPrefix(got, []byte("000102")) || !bytes.HasSuffix(got, []byte("9899")) {
		t.Errorf("heard %q, %v", got, err)
	}
	if c.mask.heard < 101 {
		t.Errorf("%d records came, of which 100 should be answers", c.mask.heard)
	}
	if _, err := c.TCPConn.Write(make([]byte, 3*maskHeader)); err != nil { // the number is wrong
		t.Fatal(err)
	}
	if n, err := c.Read(got); n != 0 || err != io.EOF {
		t.Errorf("after garbage came %d bytes, %v, and not the alert", n, err)
	}
	if err := within(t, "the end", within(t, "the session", s.sessions).closed); !errors.Is(err, errMask) {
		t.Errorf("closed by %v", err)
	}
}

// beginAndLeave has sessions say so many bytes at the first word, "begin", and leave the
// reactor at the next.
func beginAndLeave(t *testing.T, size int, detached chan<- *Detached) func(*echo) {
	return func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			if string(p) == "begin" {
				e.due = make([]byte, size)
				return
			}
			d, err := e.conn.Detach(nil)
			if err != nil {
				t.Error(err)
			}
			detached <- d
		}
	}
}

// TestDetachWithARecordUnderWay takes a connection out of the reactor while its
// socket is full, and gives it back: no byte is lost, none comes twice.
func TestDetachWithARecordUnderWay(t *testing.T) {
	overEach(t, func(t *testing.T, over wire) {
		const size = 8 << 20
		detached, second := make(chan *Detached, 1), make(chan *echo, 1)
		s := over.serve(t, Config{Workers: 1}, SocketOptions{}, beginAndLeave(t, size, detached))
		c := s.dial(t)
		w := s.pool.Workers()[0]
		write(t, c, "begin")
		eventually(t, "the socket is full", func() bool { return w.Stats().Blocked > 0 })
		write(t, c, "leave")
		d := within(t, "the connection", detached)
		if held := w.Stats().Held; held != 0 {
			t.Errorf("the reactor still holds %d bytes", held)
		}
		left := size - len(within(t, "the session", s.sessions).due)
		wrote := make(chan error, 1)
		go func() {
			_, err := d.Write([]byte("detached"))
			wrote <- err
		}()
		want := append(make([]byte, left), "detached"...)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v, same %t", err, bytes.Equal(got, want))
		}
		if err := within(t, "the write", wrote); err != nil {
			t.Fatal(err)
		}

		write(t, c, "read by net/http")
		if _, err := io.ReadFull(d, got[:len("read ")]); err != nil || string(got[:5]) != "read " {
			t.Fatalf("%q, %v", got[:5], err)
		}
		rest := make([]byte, 100)
		n := 0
		if over == plain { // a record is opened whole
			n, _ = d.Read(rest)
		}
		err := d.Attach(rest[:n], func(_ *Worker, conn *Conn) Session {
			e := &echo{conn: conn, reading: true, writing: true, closed: make(chan error, 2)}
			second <- e
			return e
		})
		if err != nil {
			t.Fatal(err)
		}
		write(t, c, ", and back")
		heard := "by net/http, and back"
		if _, err := io.ReadFull(c, got[:len(heard)]); err != nil || string(got[:len(heard)]) != heard {
			t.Errorf("heard %q, %v", got[:len(heard)], err)
		}
		if err := d.Attach(nil, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("attached twice: %v", err)
		}
		_ = d.Close() // does nothing any more
		if held := s.pool.quota.held.Load(); held != 1 {
			t.Errorf("%d connections are counted", held)
		}
		_ = c.CloseWrite()
		if err := within(t, "the end", within(t, "the second session", second).closed); err != io.EOF {
			t.Errorf("closed by %v", err)
		}
		eventually(t, "nothing is counted", func() bool { return s.pool.quota.held.Load() == 0 })
	})
}

// TestAttachWithARecordUnderWay gives a connection back as it was: the rest of a record
// that the socket did not take goes on.
func TestAttachWithARecordUnderWay(t *testing.T) {
	const size = 8 << 20
	detached := make(chan *Detached, 1)
	s := masked.serve(t, Config{Workers: 1}, SocketOptions{SendBuffer: 64 << 10}, beginAndLeave(t, size, detached))
	c := s.dial(t)
	w := s.pool.Workers()[0]
	write(t, c, "begin")
	eventually(t, "a part of a record waits", func() bool { return w.Stats().Held > 0 })
	write(t, c, "leave")
	d := within(t, "the connection", detached)
	left := size - len(within(t, "the session", s.sessions).due)
	err := d.Attach([]byte("back"), func(_ *Worker, conn *Conn) Session {
		return &echo{conn: conn, reading: true, writing: true, closed: make(chan error, 2)}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := append(make([]byte, left), "back"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v, same %t", err, bytes.Equal(got, want))
	}
	eventually(t, "nothing is held", func() bool { return w.Stats().Held == 0 })
}

func write(t *testing.T, c *client, text string) {
	t.Helper()
	if _, err := io.WriteString(struct{ io.Writer }{c}, text); err != nil {
		t.Fatal(err)
	}
}

// TestAttachToAClosedPool leaves the connection to its owner.
func TestAttachToAClosedPool(t *testing.T) {
	detached := make(chan *Detached, 1)
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			d, err := e.conn.Detach(nil)
			if err != nil {
				t.Error(err)
			}
			detached <- d
		}
	})
	c := s.dial(t)
	write(t, c, "x")
	d := within(t, "the connection", detached)
	before := openDescriptors(t)
	if err := s.pool.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(nil, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("attached to a closed pool: %v", err)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	if _, err := d.Write([]byte("still there")); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestTheRestOfARecordDoesNotKeepAConnection has a session end whose peer does not read.
func TestTheRestOfARecordDoesNotKeepAConnection(t *testing.T) {
	s := masked.serve(t, Config{Workers: 1}, SocketOptions{SendBuffer: 64 << 10}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) { e.due = make([]byte, 64<<20) }
	})
	write(t, s.dial(t), "x")
	e := within(t, "the session", s.sessions)
	w := s.pool.Workers()[0]
	for sent := uint64(0); w.Stats().Blocked == 0 || w.Stats().BytesOut > sent; time.Sleep(1500 * time.Millisecond) {
		sent = w.Stats().BytesOut
	}
	w.Post(func() bool {
		e.due, e.reading, e.writing = nil, false, false
		return false
	})
	if err := within(t, "the end", e.closed); err != ErrClosed {
		t.Errorf("closed by %v", err)
	}
	eventually(t, "nothing is held", func() bool { return w.Stats().Held == 0 })
}

// TestAClosedConnectionForgetsItsTransport, although its session still has it: a list of
// sessions may have one for long after its end.
func TestAClosedConnectionForgetsItsTransport(t *testing.T) {
	var transports atomic.Int64
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		m := new(mask)
		transports.Add(1)
		runtime.AddCleanup(m, func(n *atomic.Int64) { n.Add(-1) }, &transports)
		e.conn.Through(m)
		e.onBytes = func(e *echo, p []byte) {
			if d, err := e.conn.Detach(nil); err == nil {
				_ = d.Close()
			}
		}
	})
	s.over = masked
	var sessions []*echo
	for range 10 {
		c := s.dial(t)
		sessions = append(sessions, within(t, "the session", s.sessions))
		_ = c.Close()
		within(t, "the end", sessions[len(sessions)-1].closed)
		write(t, s.dial(t), "leave")
		sessions = append(sessions, within(t, "the session", s.sessions))
	}
	eventually(t, "the transports are collected", func() bool {
		runtime.GC()
		return transports.Load() == 0
	})
	runtime.KeepAlive(sessions)
}

// TestSmallRecords has a record for each few bytes go through the socket's limit.
func TestSmallRecords(t *testing.T) {
	const size = 300_000
	s := serve(t, Config{Workers: 1}, SocketOptions{SendBuffer: 4096}, func(e *echo) {
		e.conn.Through(&mask{size: 7})
		e.onBytes = func(e *echo, p []byte) { e.due, e.reading, e.writing = make([]byte, size), true, false }
	})
	s.over = masked
	c := s.dial(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10) })
	write(t, c, "x")
	n, err := io.Copy(io.Discard, c)
	if n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if blocked := s.pool.Workers()[0].Stats().Blocked; blocked == 0 {
		t.Error("the socket was never full")
	}
}

// TestASessionMayAbortWhileItsBytesAreSent, also the last of its worker's.
func TestASessionMayAbortWhileItsBytesAreSent(t *testing.T) {
	overEach(t, func(t *testing.T, over wire) {
		s := over.serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
			e.onBytes = func(e *echo, p []byte) {
				e.due = make([]byte, 64<<20)
				e.onFull = func() { e.conn.Abort() }
			}
		})
		for range 3 {
			write(t, s.dial(t), "x")
			if err := within(t, "the end", within(t, "the session", s.sessions).closed); err != ErrClosed {
				t.Errorf("closed by %v", err)
			}
		}
		eventuallyNoConns(t, s.pool)
		if held := s.pool.Workers()[0].Stats().Held; held != 0 {
			t.Errorf("%d bytes are held", held)
		}
	})
}
