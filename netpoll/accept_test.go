//go:build linux

package netpoll

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCloseDuringAFlood has connections come without end, so that accept never
// finds the backlog empty.
func TestCloseDuringAFlood(t *testing.T) {
	pool, err := New(Config{Workers: 1, MaxConns: 1000})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(context.Background(), "127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var flood atomic.Int64
	l.accept = func(int) (int, syscall.Errno) {
		flood.Add(1)
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err.(syscall.Errno)
		}
		_ = unix.Close(pair[1])
		return pair[0], 0
	}
	served := make(chan error, 1)
	go func() {
		served <- pool.Serve(l, func(_ *Worker, c *Conn) Session {
			return &echo{conn: c, reading: true, writing: true, closed: make(chan error, 2)}
		})
	}()
	peer, err := net.Dial("tcp", l.Addr().String()) // has the accept loop begin
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	for flood.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- pool.Close() }()
	if err := within(t, "closing", closed); err != nil {
		t.Error(err)
	}
	if err := within(t, "the end of serving", served); err != nil {
		t.Error(err)
	}
	if n := pool.quota.held.Load(); n != 0 {
		t.Errorf("%d connections are still counted", n)
	}
}

// TestConnectionsAreBounded has more come than there may be. Those that have
// left the reactor count until they are closed.
func TestConnectionsAreBounded(t *testing.T) {
	const limit, peers = 10, 25
	shortages, detached := make(chan error, peers), make(chan net.Conn, peers)
	s := serve(t, Config{Workers: 2, MaxConns: limit, Failed: func(err error) { shortages <- err }}, SocketOptions{}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) {
			c, err := e.conn.Detach(nil)
			if err != nil {
				t.Error(err)
			}
			detached <- c
		}
	})
	var all []*client
	for range peers {
		all = append(all, s.dial(t))
	}
	come := func(n int) {
		t.Helper()
		for range n {
			within(t, "a session", s.sessions)
		}
		time.Sleep(2 * acceptRetry) // in which another one could come
		if more := len(s.sessions); more > 0 || s.pool.quota.held.Load() != limit {
			t.Fatalf("%d more came; %d connections are held, %d may be", more, s.pool.quota.held.Load(), limit)
		}
	}
	come(limit)
	if !s.pool.Crowded() {
		t.Error("a full pool does not say that it is crowded")
	}
	if err := within(t, "the report", shortages); !errors.Is(err, ErrFull) {
		t.Errorf("reported: %v", err)
	}
	for i := range 5 {
		_ = all[i].Close()
	}
	come(5)
	for i := 5; i < 10; i++ {
		if _, err := all[i].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	var out []net.Conn
	for range 5 {
		out = append(out, within(t, "a connection", detached))
	}
	come(0)
	for _, c := range out {
		_, _ = c.Close(), c.Close() // counts once
	}
	come(5)
	if len(shortages) != 0 {
		t.Errorf("reported again: %v", <-shortages)
	}
	for _, c := range all {
		_ = c.Close()
	}
	eventuallyNoConns(t, s.pool)
	for range peers - limit - 10 {
		within(t, "the last sessions", s.sessions)
	}
	for s.pool.quota.held.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
	if s.pool.Crowded() {
		t.Error("an empty pool says that it is crowded")
	}
}

// TestProbesAreSpread reads when the kernel will probe connections that were
// accepted together.
func TestProbesAreSpread(t *testing.T) {
	const idle, peers = 40, 400
	descriptors := make(chan int32, peers)
	s := serve(t, Config{}, SocketOptions{KeepAlive: idle * time.Second}, func(e *echo) {
		e.onBytes = func(e *echo, p []byte) { descriptors <- e.conn.fd }
	})
	seconds := make(map[int]int)
	for range peers {
		if _, err := s.dial(t).Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		n, err := unix.GetsockoptInt(int(within(t, "a descriptor", descriptors)), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		if err != nil || n < idle*3/5 || n > idle {
			t.Fatalf("TCP_KEEPIDLE is %d s (%v), want %d to %d", n, err, idle*3/5, idle)
		}
		seconds[n]++
	}
	for n, together := range seconds {
		if together > peers/2 {
			t.Errorf("%d of %d are probed after %d s", together, peers, n)
		}
	}
}

// TestTicksKeepNoWorkerWarm looks at a worker that has a connection and nothing
// to do.
func TestTicksKeepNoWorkerWarm(t *testing.T) {
	visits := make(chan bool, 100)
	s := serve(t, Config{Workers: 1}, SocketOptions{}, nil)
	e := tickedEcho{echo: &echo{reading: true, writing: true, closed: make(chan error, 2)}, visits: visits}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	s.pool.Adopt(pair[0], func(_ *Worker, c *Conn) Session { e.conn = c; return e })
	const looks = 12 // one each tickEvery; it is warm for warmFor after its last task
	cold := false
	for n := 0; n < looks && !cold; n++ {
		cold = within(t, "a tick", visits)
	}
	if !cold {
		t.Errorf("after %d ticks it is still warm", looks)
	}
	done := make(chan bool)
	e.conn.worker.Post(func() bool { close(done); return false })
	within(t, "the task", done)
	if within(t, "a tick", visits) {
		t.Error("a task did not warm it")
	}
}

// A tickedEcho tells at each tick whether its worker is cold.
type tickedEcho struct {
	*echo
	visits chan<- bool
}

func (s tickedEcho) Tick() time.Duration {
	s.visits <- !s.conn.worker.warm.armed
	return 0
}
