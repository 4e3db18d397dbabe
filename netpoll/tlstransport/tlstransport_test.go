//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lectern/netpoll"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func overEach(t *testing.T, test func(t *testing.T, version uint16)) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) { test(t, version) })
	}
}

func TestEchoes(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		c := r.dialTLS(t, r.version(version))
		for _, size := range []int{1, 2, 100, 4067, 4096, 16 << 10, 70_000, 3 << 20} {
			exchange(t, c, bytes.Repeat([]byte("abcdefg"), size/7+1)[:size])
		}
		if _, err := c.Write([]byte("end\n")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "end\n" {
			t.Errorf("at the end: %q, %v, and not close_notify", got, err)
		}
	})
}

// TestTheClientSaysGoodbye ends a connection with close_notify, and with none.
func TestTheClientSaysGoodbye(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		c := r.dialTLS(t, r.version(version))
		exchange(t, c, []byte("hello"))
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-r.closed; err != io.EOF {
			t.Errorf("with close_notify: %v", err)
		}
		c = r.dialTLS(t, r.version(version))
		exchange(t, c, []byte("hello"))
		_ = c.NetConn().Close()
		if err := <-r.closed; err != io.EOF {
			t.Errorf("without: %v", err)
		}
		c = r.dialTLS(t, r.version(version))
		exchange(t, c, []byte("hello"))
		_ = c.NetConn().(*net.TCPConn).SetLinger(0)
		_ = c.NetConn().Close()
		if err := <-r.closed; err == nil || err == io.EOF {
			t.Errorf("reset: %v", err)
		}
	})
}

// TestSessionsAreResumed comes back with a ticket.
func TestSessionsAreResumed(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		config := r.version(version)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for i := range 3 {
			c := r.dialTLS(t, config)
			exchange(t, c, []byte("hello"))
			if resumed := c.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("connection %d resumed: %t", i, resumed)
			}
			_ = c.Close()
		}
		s := r.Stats()
		if full, resumed := s.Full12+s.Full13, s.Resumed12+s.Resumed13; full != 1 || resumed != 2 {
			t.Errorf("%d full handshakes, %d resumed", full, resumed)
		}
	})
}

// A trickle is a connection that writes a few bytes at a time.
type trickle struct {
	net.Conn
	piece int
}

func (c trickle) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		size := min(c.piece, len(p))
		if _, err = c.Conn.Write(p[:size]); err == nil {
			n, p = n+size, p[size:]
		}
		runtime.Gosched()
	}
	return n, err
}

// TestItMayComeInPieces cuts handshake and records everywhere.
func TestItMayComeInPieces(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		for _, piece := range []int{1, 2, 3, 5, 6, 7, 100} {
			c := tls.Client(trickle{r.dial(t), piece}, r.version(version))
			exchange(t, c, bytes.Repeat([]byte("text"), 100))
			_ = c.Close()
		}
	})
}

// TestARequestBehindTheHandshake arrives in one chunk with the client's Finished.
func TestARequestBehindTheHandshake(t *testing.T) {
	r := serve(t, Config{})
	for range 20 {
		late := &gathering{Conn: r.dial(t)}
		c := tls.Client(late, r.client)
		late.gather = func(p []byte) bool { return late.reads > 0 } // the second flight waits for the data
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		late.gather = nil
		exchange(t, c, bytes.Repeat([]byte("early"), 2000))
	}
}

// A gathering connection keeps what is written while gather says so.
type gathering struct {
	net.Conn
	gather func([]byte) bool
	reads  int
	kept   []byte
}

func (g *gathering) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.reads++
	return n, err
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.gather != nil && g.gather(p) {
		g.kept = append(g.kept, p...)
		return len(p), nil
	}
	_, err := g.Conn.Write(append(g.kept, p...))
	g.kept = nil
	return len(p), err
}

// hello returns the bytes of a ClientHello.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _ = tls.Client(a, config).Handshake() }()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// refused expects the connection to end, and returns what came before.
func refused(t testing.TB, c net.Conn) []byte {
	t.Helper()
	got, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the connection goes on")
	}
	return got
}

func TestWhatIsNoHandshake(t *testing.T) {
	r := serve(t, Config{Plain: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})
	whole := hello(t, r.client)
	long := []byte{22, 3, 1, 0x40, 0, 1, 0, 0x40, 1} // a ClientHello of 16,385 bytes
	for name, c := range map[string]struct {
		bytes  []byte
		answer string
		err    error
	}{
		"plain HTTP":             {[]byte("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ", ErrPlain},
		"SSH":                    {[]byte{0, 0, 0, 1}, "", ErrNotTLS},
		"SSL 2":                  {[]byte{0x80, 0x2e, 1, 0, 2}, "", ErrNotTLS},
		"an alert":               {[]byte{21, 3, 1, 0, 2, 2, 40}, "", ErrNotTLS},
		"a ServerHello":          {[]byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, "", ErrNotTLS},
		"a larger hello":         {long, "", ErrHello},
		"records without bytes":  {[]byte{22, 3, 1, 0, 0}, "", ErrHello},
		"a record too large":     {[]byte{22, 3, 1, 0xff, 0xff}, "", ErrHello},
		"data in the hello":      {append(append([]byte{22, 3, 1, 0, 1, 1}, 23, 3, 3, 0, 1), 0), "", ErrHello},
		"garbage in the middle":  {append(bytes.Clone(whole), []byte("garbage")...), "\x16\x03", nil},
		"a hello that is broken": {append(append([]byte{}, whole[:60]...), make([]byte, len(whole)-60)...), "\x15\x03", nil},
	} {
		t.Run(name, func(t *testing.T) {
			conn := r.dial(t)
			if _, err := conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			if got := refused(t, conn); !strings.Contains(string(got), c.answer) {
				t.Errorf("the answer is %.20q", got)
			}
			if err := r.lastFailure(); err == nil || c.err != nil && err != c.err {
				t.Errorf("refused for %v", err)
			}
		})
	}
}

// TestAHelloMayBeCutIntoRecords sends a ClientHello a byte a record.
func TestAHelloMayBeCutIntoRecords(t *testing.T) {
	r := serve(t, Config{})
	c := tls.Client(&splitting{Conn: r.dial(t), size: 400}, r.client)
	if err := c.Handshake(); err != nil {
		t.Errorf("in four records: %v", err)
	}
	whole := hello(t, r.client)[recordHeader:]
	complete := false
	for size := 1; size < 50 && !complete; size += 7 {
		var cut []byte
		for rest := whole; len(rest) > 0; {
			n := min(size, len(rest))
			cut = append(append(cut, 22, 3, 1, 0, byte(n)), rest[:n]...)
			rest = rest[n:]
		}
		for end := range cut {
			if complete, err := judgeHello(cut[:end]); complete || err != nil {
				t.Fatalf("records of %d bytes, cut at %d of %d: %t, %v", size, end, len(cut), complete, err)
			}
		}
		if complete, err := judgeHello(cut); !complete || err != nil {
			t.Fatalf("records of %d bytes: %t, %v", size, complete, err)
		}
	}
}

// A splitting connection cuts the first record.
type splitting struct {
	net.Conn
	size int
	over bool
}

func (s *splitting) Write(p []byte) (int, error) {
	if s.over {
		return s.Conn.Write(p)
	}
	s.over = true
	var cut []byte
	for rest := p[recordHeader:]; len(rest) > 0; {
		n := min(s.size, len(rest))
		cut = append(append(cut, 22, 3, 1, byte(n>>8), byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	_, err := s.Conn.Write(cut)
	return len(p), err
}

// TestThoseWhoWaitTakeTurns has an address fill its share with handshakes that it
// leaves. It keeps nobody else from theirs, and its own go on when those are displaced.
func TestThoseWhoWaitTakeTurns(t *testing.T) {
	r := serve(t, Config{MaxHandshakes: 8})
	whole := hello(t, r.client)
	for range 20 {
		if _, err := r.dial(t).Write(whole); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a share is taken", func() bool {
		s := r.Stats()
		return s.Running == 2 && s.Waiting == 18
	})
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := from.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := tls.Client(other, r.client)
	exchange(t, c, []byte("hello"))
	if took := time.Since(began); took > patience/2 {
		t.Errorf("another address waited %v", took)
	}
	_ = c.Close()
	eventually(t, "some are displaced", func() bool { return errors.Is(r.lastFailure(), ErrDisplaced) })
}

// TestLeftHandshakesLeaveNothing begins thousands of handshakes and leaves them, in
// every phase. No goroutine and no byte stays, and an honest client is served meanwhile.
func TestLeftHandshakesLeaveNothing(t *testing.T) {
	r := serve(t, Config{})
	before := runtime.NumGoroutine()
	whole := hello(t, r.client)
	const clients = 2000
	for i := range clients {
		c := r.dial(t)
		_, _ = c.Write(whole[:min(len(whole), 1+i%(len(whole)+300))])
		if i%3 == 0 {
			_ = c.SetLinger(0)
		}
		if i%5 != 0 {
			_ = c.Close()
		}
		if i%400 == 0 {
			from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(3+i/400))}}
			other, err := from.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = other.SetDeadline(time.Now().Add(20 * time.Second))
			honest := tls.Client(other, r.client)
			exchange(t, honest, []byte("hello"))
			_ = honest.Close()
		}
	}
	if err := r.pool.Close(); err != nil {
		t.Error(err)
	}
	r.Wait()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestNothingIsAcceptedWithoutMemory refuses handshakes when memory is short, and
// incomplete records when there is none.
func TestNothingIsAcceptedWithoutMemory(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		var short atomic.Bool
		r := serve(t, Config{Full: short.Load})
		late := &gathering{Conn: r.dial(t)}
		c := tls.Client(late, r.version(version))
		exchange(t, c, []byte("hello"))
		short.Store(true)
		exchange(t, c, []byte("still there"))
		if err := tls.Client(r.dial(t), r.client).Handshake(); err == nil {
			t.Error("a handshake when memory is short")
		}
		if err := r.lastFailure(); err != ErrMemory {
			t.Errorf("refused for %v", err)
		}
		r.out.Store(true)
		exchange(t, c, []byte("still there"))
		late.gather = func([]byte) bool { return true }
		_, _ = c.Write(make([]byte, 10_000))
		_, _ = late.Conn.Write(late.kept[:9_000])
		refused(t, late.Conn)
	})
}

// heapInUse returns the bytes of the heap that are in use.
func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestWhatConnectionsHold measures idle connections, with the sessions of the test.
func TestWhatConnectionsHold(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const clients = 200
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		var conns []*tls.Conn
		raw := make([]*net.TCPConn, clients)
		for i := range raw {
			raw[i] = r.dial(t)
		}
		for _, c := range raw {
			conns = append(conns, tls.Client(c, r.version(version)))
		}
		for _, c := range conns {
			exchange(t, c, []byte("hello"))
		}
		before := heapInUse()
		for _, c := range conns {
			_ = c.NetConn().Close()
		}
		eventually(t, "all are gone", func() bool { return len(r.closed) == clients })
		after := heapInUse()
		t.Logf("%d bytes a connection", (before-after)/clients)
		if each := (before - after) / clients; each > 6<<10 {
			t.Errorf("a connection holds %d bytes", each)
		}
		runtime.KeepAlive(conns)
	})
}

// TestWhatLargeRecordsLeaveIsCounted has clients send a maximal record and then a small
// one. What a tls.Conn has grown to does not shrink.
func TestWhatLargeRecordsLeaveIsCounted(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const clients = 100
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		config := r.version(version)
		config.DynamicRecordSizingDisabled = true
		var conns []*tls.Conn
		for range clients {
			c := r.dialTLS(t, config)
			exchange(t, c, make([]byte, 16<<10))
			exchange(t, c, []byte("small"))
			conns = append(conns, c)
		}
		counted, before := r.held.Load()/clients, heapInUse()
		for _, c := range conns {
			_ = c.NetConn().Close()
		}
		eventually(t, "all are gone", func() bool { return len(r.closed) == clients })
		each := (before - heapInUse()) / clients
		t.Logf("%d bytes a connection, of which %d are counted", each, counted)
		if int64(each) > counted+(6<<10) {
			t.Errorf("a connection holds %d bytes, and %d are counted", each, counted)
		}
		runtime.KeepAlive(conns)
	})
}

func FuzzHello(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	f.Add([]byte("GET / HTTP/1.1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, failed := judgeHello(b)
		for end := range b {
			complete, err := judgeHello(b[:end])
			if complete && !whole {
				t.Fatalf("complete with %d bytes, and not with %d", end, len(b))
			}
			if err != nil && failed == nil {
				t.Fatalf("refused with %d bytes and not with %d: %v", end, len(b), err)
			}
		}
		if len(b) > maxCollected+recordHeader+maxHello && !whole && failed == nil {
			t.Fatalf("%d bytes are collected", len(b))
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	for name, version := range versions {
		for _, resumed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s resumed=%t", name, resumed), func(b *testing.B) {
				r := serve(b, Config{})
				config := r.version(version)
				if resumed {
					config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
				}
				for b.Loop() {
					c, err := tls.Dial("tcp", r.addr, config)
					if err != nil {
						b.Fatal(err)
					}
					exchange(b, c, []byte("hello"))
					_ = c.Close()
				}
			})
		}
	}
}

var _ netpoll.Transport = (*handshake)(nil)

// TestAHandshakeTakesWhatIsCounted measures handshakes that wait for their clients.
func TestAHandshakeTakesWhatIsCounted(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const clients = 50
	r := serve(t, Config{MaxHandshakes: perAddress * clients})
	used := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	whole := hello(t, r.client)
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i] = r.dial(t)
	}
	before := used()
	for _, c := range conns {
		if _, err := c.Write(whole); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	each := (used() - before) / clients
	t.Logf("%d bytes a handshake", each)
	if each > handshakeBytes || each < handshakeBytes/4 {
		t.Errorf("a handshake takes %d bytes, and %d are counted", each, handshakeBytes)
	}
	eventually(t, "each is counted", func() bool { return r.held.Load() == clients*handshakeBytes })
}
