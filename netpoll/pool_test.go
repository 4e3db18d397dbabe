//go:build linux

package netpoll

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An echo sends back what it gets, and can be told to do other things. Its
// fields are the worker's, but for closed.
type echo struct {
	conn     *Conn
	due      []byte
	maxDue   int // stops reading past this; 0 for never
	stranger bool
	reading  bool
	writing  bool
	onBytes  func(*echo, []byte)
	onClosed func()
	onFull   func()
	full     int // times the socket was full
	ticks    *atomic.Int64
	next     time.Duration // what Tick returns
	closed   chan error
}

func (s *echo) Receive(p []byte) {
	if s.onBytes != nil {
		s.onBytes(s, p)
		return
	}
	s.due = append(s.due, p...)
}
func (s *echo) Next() []byte { return s.due }
func (s *echo) Sent(n int, full bool) {
	s.due = s.due[n:]
	if full {
		s.full++
		if s.onFull != nil {
			s.onFull()
		}
	}
}
func (s *echo) Established() bool { return !s.stranger }
func (s *echo) Wants() (reading, writing bool) {
	return s.reading && (s.maxDue == 0 || len(s.due) <= s.maxDue), s.writing
}
func (s *echo) Tick() time.Duration {
	if s.ticks != nil {
		s.ticks.Add(1)
	}
	return s.next
}
func (s *echo) Shutdown() { s.due, s.reading, s.writing = append(s.due, "bye"...), false, false }
func (s *echo) Closed(err error) {
	if s.onClosed != nil {
		s.onClosed()
	}
	s.closed <- err
}

// A server is a pool that serves sessions made by the test.
type server struct {
	pool     *Pool
	addr     string
	sessions chan *echo
	listener *Listener
	over     wire
}

// serve serves plain connections.
func serve(t testing.TB, config Config, options SocketOptions, prepare func(*echo)) *server {
	t.Helper()
	return plain.serve(t, config, options, prepare)
}

func (over wire) serve(t testing.TB, config Config, options SocketOptions, prepare func(*echo)) *server {
	t.Helper()
	pool, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(context.Background(), "127.0.0.1:0", options)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{pool: pool, addr: l.Addr().String(), sessions: make(chan *echo, 20_000), listener: l, over: over}
	served := make(chan error, 1)
	go func() {
		served <- pool.Serve(l, func(_ *Worker, c *Conn) Session {
			if over == masked {
				c.Through(new(mask))
			}
			e := &echo{conn: c, reading: true, writing: true, closed: make(chan error, 2)}
			if prepare != nil {
				prepare(e)
			}
			s.sessions <- e
			return e
		})
	}()
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	peer := &client{TCPConn: c.(*net.TCPConn)}
	if s.over == masked {
		peer.mask = new(mask)
	}
	return peer
}

func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("it took too long:", what)
	}
	return v
}

func TestEchoOfMegabytesBothWays(t *testing.T) { overEach(t, testEchoOfMegabytesBothWays) }

func testEchoOfMegabytesBothWays(t *testing.T, over wire) {
	s := over.serve(t, Config{Workers: 2}, SocketOptions{}, func(e *echo) { e.maxDue = 100_000 })
	const conns, size = 8, 3 << 20
	var all sync.WaitGroup
	for i := range conns {
		c := s.dial(t)
		all.Go(func() {
			sent := bytes.Repeat([]byte(fmt.Sprintf("connection %d.", i)), size/13)
			go func() {
				for p := sent; len(p) > 0; {
					n, err := c.Write(p[:min(len(p), 77_777)])
					if err != nil {
						t.Error(err)
						return
					}
					p = p[n:]
				}
				_ = c.CloseWrite()
			}()
			// The relay ends a connection whose peer has ended, so read exactly.
			got := make([]byte, len(sent)-200_000)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent[:len(got)]) {
				t.Errorf("connection %d: read %v, same %v", i, err, bytes.Equal(got, sent[:len(got)]))
			}
		})
	}
	all.Wait()
}

// TestPeersThatSendAndCloseAreNotForgotten would leave ghosts if a short read
// were taken for a drained socket although the hang-up had been seen.
func TestPeersThatSendAndCloseAreNotForgotten(t *testing.T) {
	overEach(t, testPeersThatSendAndCloseAreNotForgotten)
}

func testPeersThatSendAndCloseAreNotForgotten(t *testing.T, over wire) {
	s := over.serve(t, Config{Workers: 2}, SocketOptions{}, nil)
	const peers = 500
	for range peers {
		c := s.dial(t)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	for range peers {
		e := within(t, "a session", s.sessions)
		if err := within(t, "its end", e.closed); err == nil {
			t.Error("ended without an error")
		}
	}
	eventuallyNoConns(t, s.pool)
}

func eventuallyNoConns(t testing.TB, p *Pool) {
	t.Helper()
	var left int64
	for range 2000 {
		left = 0
		for _, w := range p.Workers() {
			left += w.Stats().Conns
		}
		if left == 0 && p.open.Load() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d ghosts (%d open)", left, p.open.Load())
}

func TestHowAConnectionEnds(t *testing.T) { overEach(t, testHowAConnectionEnds) }

func testHowAConnectionEnds(t *testing.T, over wire) {
	for name, c := range map[string]struct {
		end  func(*client)
		want error
	}{
		"close": {func(c *client) { _ = c.Close() }, io.EOF},
		"half":  {func(c *client) { _ = c.CloseWrite() }, io.EOF},
		"reset": {func(c *client) { _ = c.SetLinger(0); _ = c.Close() }, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			s := over.serve(t, Config{}, SocketOptions{}, nil)
			peer := s.dial(t)
			e := within(t, "the session", s.sessions)
			c.end(peer)
			if err := within(t, "the end", e.closed); !errors.Is(err, c.want) {
				t.Errorf("closed by %v, want %v", err, c.want)
			}
			select {
			case err := <-e.closed:
				t.Errorf("closed again by %v", err)
			case <-time.After(20 * time.Millisecond):
			}
		})
	}
}

func TestResetWhileHeldBackAndWhileBlocked(t *testing.T) {
	overEach(t, testResetWhileHeldBackAndWhileBlocked)
}

func testResetWhileHeldBackAndWhileBlocked(t *testing.T, over wire) {
	s := over.serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		e.maxDue = 10
		e.onBytes = func(e *echo, p []byte) { e.due = append(e.due, make([]byte, 64<<20)...) }
	})
	c := s.dial(t)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	e := within(t, "the session", s.sessions)
	for s.pool.Workers()[0].Stats().Blocked == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = c.SetLinger(0)
	_ = c.Close()
	within(t, "the end", e.closed)
	eventuallyNoConns(t, s.pool)
}

func TestFinishShutsDownAndReadsToTheEnd(t *testing.T) {
	overEach(t, testFinishShutsDownAndReadsToTheEnd)
}

func testFinishShutsDownAndReadsToTheEnd(t *testing.T, over wire) {
	var received atomic.Int64
	s := over.serve(t, Config{}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			if e.writing {
				e.due, e.writing = []byte("enough"), false
			}
			received.Add(int64(len(p)))
		}
	})
	c := s.dial(t)
	if _, err := c.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c) // ends with the relay's FIN
	if err != nil || string(got) != "enough" {
		t.Fatalf("read %q, %v", got, err)
	}
	if _, err := c.Write(make([]byte, 100_000)); err != nil {
		t.Fatal("the relay must read on:", err)
	}
	_ = c.CloseWrite()
	if err := within(t, "the end", within(t, "the session", s.sessions).closed); err != io.EOF {
		t.Errorf("closed by %v", err)
	}
	if received.Load() != 100_005 {
		t.Errorf("received %d bytes", received.Load())
	}
}

// TestLastQuestionIsAnswered has a peer ask and shut down its side at once.
func TestLastQuestionIsAnswered(t *testing.T) { overEach(t, testLastQuestionIsAnswered) }

func testLastQuestionIsAnswered(t *testing.T, over wire) {
	s := over.serve(t, Config{}, SocketOptions{}, nil)
	for range 50 {
		c := s.dial(t)
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "question" {
			t.Fatalf("heard %q, %v", got, err)
		}
	}
}

func TestARoundOfTicksComesToEverybody(t *testing.T) {
	for _, conns := range []int{1, 3, 4, 5, 17, 1000} {
		var s scan
		visited, left := 0, conns
		for range tickParts {
			s.begin(left)
			n := min(s.left, left)
			visited += n
			left -= n // each one closes as it is visited
		}
		if visited != conns {
			t.Errorf("%d of %d visited", visited, conns)
		}
	}
}

func TestOverClosesWhenDrained(t *testing.T) { overEach(t, testOverClosesWhenDrained) }

func testOverClosesWhenDrained(t *testing.T, over wire) {
	s := over.serve(t, Config{}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) { e.due, e.reading, e.writing = make([]byte, 5<<20), false, false }
	})
	c := s.dial(t)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, c)
	if n != 5<<20 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := within(t, "the end", within(t, "the session", s.sessions).closed); err != ErrClosed {
		t.Errorf("closed by %v", err)
	}
}

func TestDetach(t *testing.T) { overEach(t, testDetach) }

func testDetach(t *testing.T, over wire) {
	detached := make(chan net.Conn, 1)
	s := over.serve(t, Config{}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			c, err := e.conn.Detach(append([]byte(nil), p...))
			if err != nil {
				t.Error(err)
			}
			detached <- c
		}
	})
	c := s.dial(t)
	if _, err := c.Write([]byte("first ")); err != nil {
		t.Fatal(err)
	}
	d := within(t, "the connection", detached)
	defer d.Close()
	if _, err := c.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("first second"))
	if _, err := io.ReadFull(d, got); err != nil || string(got) != "first second" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := d.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, got[:6]); err != nil || string(got[:6]) != "answer" {
		t.Errorf("heard %q, %v", got[:6], err)
	}
	eventuallyNoConns(t, s.pool)
	e := within(t, "the session", s.sessions)
	if len(e.closed) != 0 {
		t.Error("a detached session was told that it is closed")
	}
}

func TestTasksTakeTurns(t *testing.T) {
	pool, err := New(Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	w := pool.Workers()[0]
	order := make(chan string, 100)
	w.Post(func() bool {
		n := 0
		w.Post(func() bool { n++; order <- fmt.Sprint("long ", n); return n < 3 })
		w.Post(func() bool { order <- "short"; return false })
		return false
	})
	for _, want := range []string{"long 1", "short", "long 2", "long 3"} {
		if got := within(t, want, order); got != want {
			t.Errorf("%s ran, want %s", got, want)
		}
	}
}

// TestPlacesHaveSlicesOfTheirOwn posts a task beside many of another place, each of
// which takes longer than a slice, whether they end or never do: it is next.
func TestPlacesHaveSlicesOfTheirOwn(t *testing.T) {
	for name, c := range map[string]struct {
		post func(*Worker, func() (more bool))
		more int // times that the others run, all together
	}{
		"behind": {(*Worker).PostBehind, 0},
		"again":  {(*Worker).PostAgain, 50},
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := New(Config{Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			w := pool.Workers()[0]
			order := make(chan string, 100)
			w.Post(func() bool {
				for n := range 10 {
					c.post(w, func() bool {
						if n == 0 {
							w.Post(func() bool { order <- "new"; return false })
						}
						order <- fmt.Sprint("other ", n)
						time.Sleep(2 * sliceTime)
						return len(order) < c.more
					})
				}
				return false
			})
			for _, want := range []string{"other 0", "new", "other 1", "other 2"} {
				if got := within(t, want, order); got != want {
					t.Errorf("%s ran, want %s", got, want)
				}
			}
		})
	}
}

// keepBusy keeps a worker busy until release is called.
func keepBusy(w *Worker) (release func()) {
	busy, done := make(chan bool), make(chan bool)
	w.Post(func() bool { busy <- true; <-done; return false })
	<-busy
	return func() { close(done) }
}

// TestStrangersComeLast has a crowd and then a connection that is established send
// something while the worker is busy.
func TestStrangersComeLast(t *testing.T) {
	const crowd = 50
	var dialled atomic.Int64
	order := make(chan bool, crowd+1) // whether it was a stranger
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		e.stranger = dialled.Add(1) <= crowd
		e.onBytes = func(e *echo, _ []byte) { order <- e.stranger }
	})
	var conns []net.Conn
	for range crowd + 1 {
		conns = append(conns, s.dial(t))
		within(t, "a connection", s.sessions)
	}
	release := keepBusy(s.pool.Workers()[0])
	for _, c := range conns {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	for n := range crowd + 1 {
		if stranger := within(t, "what was sent", order); stranger != (n > 0) {
			t.Fatalf("number %d to be served was a stranger: %t", n, stranger)
		}
	}
}

// TestThoseWhoHangUpComeLast has a crowd break off and then a connection send
// something while the worker is busy.
func TestThoseWhoHangUpComeLast(t *testing.T) {
	const crowd = 50
	order := make(chan string, crowd+1)
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(*echo, []byte) { order <- "message" }
		e.onClosed = func() { order <- "end" }
	})
	var conns []*client
	for range crowd + 1 {
		conns = append(conns, s.dial(t))
		within(t, "a connection", s.sessions)
	}
	release := keepBusy(s.pool.Workers()[0])
	for _, c := range conns[:crowd] {
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conns[crowd].Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	release()
	if first := within(t, "what came first", order); first != "message" {
		t.Errorf("the first to be served was the %s of a connection", first)
	}
}

// TestASliceEnds lets a task that always has more to do run beside a
// connection: it must not starve it.
func TestASliceEnds(t *testing.T) {
	s := serve(t, Config{Workers: 1}, SocketOptions{}, nil)
	w := s.pool.Workers()[0]
	var stop atomic.Bool
	defer stop.Store(true)
	w.Post(func() bool {
		for !w.Spent() {
			w.slice.charge(100) // as a send does
		}
		return !stop.Load()
	})
	c := s.dial(t)
	for range 10 {
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASliceEndsWithoutSends(t *testing.T) {
	var s slice
	s.begin(sliceTime)
	for range 2 * clockEvery {
		if s.spent() {
			return
		}
		time.Sleep(sliceTime / 4) // what a visit may take that closes a connection
	}
	t.Errorf("%d visits of %s each are not too long for a slice", 2*clockEvery, sliceTime/4)
}

func TestTicksReachEveryConnection(t *testing.T) {
	var ticks atomic.Int64
	s := serve(t, Config{Workers: 2}, SocketOptions{}, func(e *echo) { e.ticks = &ticks })
	const conns = 10
	for range conns {
		s.dial(t)
	}
	for ticks.Load() < 2*conns {
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTicksPassOverThoseOfWhomNothingIsDue until something happens to them.
func TestTicksPassOverThoseOfWhomNothingIsDue(t *testing.T) {
	var ticks atomic.Int64
	s := serve(t, Config{Workers: 1}, SocketOptions{}, func(e *echo) { e.ticks, e.next = &ticks, time.Hour })
	const conns = tickParts // so that a round comes to each once
	var c *client
	for range conns {
		c = s.dial(t)
		within(t, "the session", s.sessions)
	}
	w := s.pool.Workers()[0]
	goBy := func(n int) { // rounds of ticks
		done := make(chan bool)
		w.Post(func() bool {
			for range n * tickParts {
				w.tickDue.Store(true)
				w.tick()
			}
			close(done)
			return false
		})
		within(t, "the ticks", done)
	}
	goBy(4 * maxRounds)
	if n := ticks.Load(); n < 4*conns || n > 6*conns {
		t.Errorf("%d visits in %d rounds", n, 4*maxRounds)
	}
	before := ticks.Load()
	for range 3 {
		write(t, c, "x")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		goBy(2)
	}
	if n := ticks.Load() - before; n < 3 {
		t.Errorf("%d visits after 3 events", n)
	}
	for _, last := range []struct {
		next time.Duration
		want uint8
	}{{-time.Hour, 1}, {0, 1}, {1, 1}, {time.Second, 1}, {time.Second + 1, 2}, {7 * time.Second, 7}, {time.Hour, maxRounds}} {
		if got := rounds(last.next); got != last.want {
			t.Errorf("due in %s: %d rounds, want %d", last.next, got, last.want)
		}
	}
}

func TestDrainTellsEverybodyAndWaits(t *testing.T) { overEach(t, testDrainTellsEverybodyAndWaits) }

func testDrainTellsEverybodyAndWaits(t *testing.T, over wire) {
	s := over.serve(t, Config{Workers: 2}, SocketOptions{}, nil)
	const conns = 300
	var all []*client
	for range conns {
		all = append(all, s.dial(t))
	}
	for range conns {
		within(t, "a session", s.sessions)
	}
	_ = s.listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if cut := s.pool.Drain(ctx); cut != 0 {
		t.Errorf("%d were cut off", cut)
	}
	for _, c := range all {
		if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
			t.Fatalf("heard %q, %v", got, err)
		}
	}
}

func TestDrainIsBounded(t *testing.T) { overEach(t, testDrainIsBounded) }

func testDrainIsBounded(t *testing.T, over wire) {
	s := over.serve(t, Config{Workers: 2}, SocketOptions{}, func(e *echo) { e.due = make([]byte, 64<<20) })
	s.dial(t) // never reads
	e := within(t, "the session", s.sessions)
	_ = s.listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if cut := s.pool.Drain(ctx); cut != 1 {
		t.Errorf("%d were cut off, want 1", cut)
	}
	if err := within(t, "the end", e.closed); err != ErrClosed {
		t.Errorf("closed by %v", err)
	}
}

func TestCloseIsIdempotentAndPostAfterItDoesNothing(t *testing.T) {
	pool, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
	pool.Workers()[0].Post(func() bool { t.Error("ran"); return true })
}

func TestOptionsReachTheConnection(t *testing.T) {
	descriptors := make(chan int32, 1)
	s := serve(t, Config{}, SocketOptions{NotSentLowat: 20_000, UserTimeout: 7 * time.Second, KeepAlive: 33 * time.Second, SendBuffer: 50_000}, func(e *echo) {
		e.onBytes = func(e *echo, _ []byte) { descriptors <- e.conn.fd }
	})
	if _, err := s.dial(t).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	fd := int(within(t, "the descriptor", descriptors))
	for name, o := range map[string]struct{ level, opt, want int }{
		"TCP_NODELAY":       {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		"TCP_NOTSENT_LOWAT": {unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 20_000},
		"TCP_USER_TIMEOUT":  {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7000},
		"SO_KEEPALIVE":      {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"SO_SNDBUF":         {unix.SOL_SOCKET, unix.SO_SNDBUF, 100_000}, // socket(7): doubled
	} {
		if got, err := unix.GetsockoptInt(fd, o.level, o.opt); err != nil || got != o.want {
			t.Errorf("%s is %d (%v), want %d", name, got, err, o.want)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor is inherited by child processes (%v)", err)
	}
}

// TestNothingIsLeftOpen counts descriptors before and after.
func TestNothingIsLeftOpen(t *testing.T) {
	runtime.GC()
	before := openDescriptors(t)
	for range 5 {
		pool, err := New(Config{Workers: 3})
		if err != nil {
			t.Fatal(err)
		}
		l, err := Listen(context.Background(), "127.0.0.1:0", SocketOptions{})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			served <- pool.Serve(l, func(_ *Worker, c *Conn) Session {
				return &echo{conn: c, reading: true, writing: true, closed: make(chan error, 1)}
			})
		}()
		for range 20 {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("x"))
			_, _ = io.ReadFull(c, make([]byte, 1))
			_ = c.Close()
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func openDescriptors(t *testing.T) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if to, err := os.Readlink(name); err == nil && (strings.HasPrefix(to, "socket:") || strings.Contains(to, "eventfd") || strings.Contains(to, "eventpoll")) {
			n++
		}
	}
	return n
}

func TestListenTellsWhatIsWrong(t *testing.T) {
	l, err := Listen(context.Background(), "127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(context.Background(), l.Addr().String(), SocketOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := Listen(context.Background(), "127.0.0.1:0", SocketOptions{SendBuffer: 1, NotSentLowat: -1}); err != nil {
		t.Errorf("a tiny buffer: %v", err)
	}
}

func TestQueue(t *testing.T) {
	var q queue[int]
	next, want := 0, 0
	for round := range 200 {
		for range round * 37 % 2000 {
			q.push(next)
			next++
		}
		for range min(q.len(), round*41%2000) {
			if got := q.pop(); got != want {
				t.Fatalf("popped %d, want %d", got, want)
			}
			want++
		}
	}
	for q.len() > 0 {
		if got := q.pop(); got != want {
			t.Fatalf("popped %d, want %d", got, want)
		}
		want++
	}
	if want != next || cap(q.items) > maxIdleQueue {
		t.Errorf("popped %d of %d, keeps room for %d", want, next, cap(q.items))
	}
}

func BenchmarkWake(b *testing.B) {
	pool, err := New(Config{Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	w := pool.Workers()[0]
	done := make(chan struct{})
	task := func() bool { done <- struct{}{}; return false }
	b.ReportAllocs()
	for b.Loop() {
		w.Post(task)
		<-done
	}
}
