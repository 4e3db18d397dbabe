//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lectern/netpoll"
	"lectern/netpoll/selfsigned"
)

// An echo sends back what it receives. A line "end\n" ends the connection.
type echo struct {
	conn   *netpoll.Conn
	due    []byte
	ended  bool
	begun  bool
	full   bool
	closed chan error
}

func (e *echo) Receive(p []byte) {
	e.begun = true
	e.due = append(e.due, p...)
	e.ended = e.ended || bytes.HasSuffix(p, []byte("end\n"))
}
func (e *echo) Next() []byte               { return e.due }
func (e *echo) Sent(n int, full bool)      { e.due, e.full = e.due[n:], full }
func (e *echo) Wants() (bool, bool)        { return !e.ended && len(e.due) < 1<<20, !e.ended }
func (e *echo) Established() bool          { return e.begun }
func (e *echo) Tick() (next time.Duration) { return time.Second }
func (e *echo) Shutdown()                  { e.ended = true }
func (e *echo) Closed(err error)           { e.closed <- err }

// A relay serves echoes over TLS.
type relay struct {
	*Server
	addr     string
	pool     *netpoll.Pool
	client   *tls.Config
	held     atomic.Int64
	out      atomic.Bool // of memory
	closed   chan error  // of every connection
	mu       sync.Mutex
	failures []error // guarded by mu
}

func serve(t testing.TB, config Config) *relay { return serveWith(t, config, netpoll.Config{}) }

func serveWith(t testing.TB, config Config, pool netpoll.Config) *relay {
	t.Helper()
	return serveSessions(t, config, pool, func(r *relay, w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		e := &echo{conn: c, closed: r.closed}
		r.Accept(w, c, c.Peer(), func() { e.begun = true })
		return e
	})
}

// serveSessions serves the sessions that open makes.
func serveSessions(t testing.TB, config Config, pool netpoll.Config, open func(*relay, *netpoll.Worker, *netpoll.Conn) netpoll.Session) *relay {
	t.Helper()
	server, client := certificate(t)
	r := &relay{client: client, closed: make(chan error, 100_000)}
	if config.TLS == nil {
		config.TLS = server
	}
	config.Failed = func(_ netip.Addr, err error) {
		r.mu.Lock()
		r.failures = append(r.failures, err)
		r.mu.Unlock()
	}
	r.Server = NewServer(config)
	var err error
	pool.Workers = 2
	pool.Hold = func(n int64) bool {
		r.held.Add(n)
		return !r.out.Load()
	}
	if r.pool, err = netpoll.New(pool); err != nil {
		t.Fatal(err)
	}
	l, err := netpoll.Listen(t.Context(), "127.0.0.1:0", netpoll.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() {
		done <- r.pool.Serve(l, func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
			return open(r, w, c)
		})
	}()
	t.Cleanup(func() {
		err := errors.Join(r.pool.Close(), <-done)
		r.Wait()
		if err != nil {
			t.Error(err)
		}
		if n := r.held.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
		if s := r.Stats(); s.Running != 0 || s.Waiting != 0 || len(r.from) != 0 || r.turns.Len() != 0 {
			t.Errorf("places are still taken: %+v, %d addresses", s, len(r.from))
		}
	})
	return r
}

func (r *relay) lastFailure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failures) == 0 {
		return nil
	}
	return r.failures[len(r.failures)-1]
}

func (r *relay) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

func (r *relay) dialTLS(t testing.TB, config *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(r.dial(t), config)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// version returns the client's configuration for a version.
func (r *relay) version(version uint16) *tls.Config {
	c := r.client.Clone()
	c.MinVersion, c.MaxVersion = version, version
	return c
}

func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	pair, err := selfsigned.New(time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	if server, client, err = pair.TLS(); err != nil {
		t.Fatal(err)
	}
	server.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	client.ServerName = "test"
	return server, client
}

// exchange has the echo say text.
func exchange(t testing.TB, c io.ReadWriter, text []byte) {
	t.Helper()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(text)
		wrote <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d bytes came back as others: %v", len(text), err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for range 2000 {
		if reached() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it took too long:", what)
}
