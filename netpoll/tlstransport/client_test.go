//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lectern/netpoll"
)

// A speaker says something, and expects it back.
type speaker struct {
	due, heard []byte
	over       chan error // the end, nil when all came back
	said       []byte
	ended      bool
}

func (s *speaker) Receive(p []byte) {
	if s.heard = append(s.heard, p...); bytes.Equal(s.heard, s.said) {
		s.ended = true
	}
}
func (s *speaker) Next() []byte       { return s.due }
func (s *speaker) Sent(n int, _ bool) { s.due = s.due[n:] }
func (s *speaker) Wants() (bool, bool) {
	return !s.ended, !s.ended
}
func (s *speaker) Established() bool          { return true }
func (s *speaker) Tick() (next time.Duration) { return 0 }
func (s *speaker) Shutdown()                  { s.ended = true }
func (s *speaker) Closed(err error) {
	if s.ended {
		err = nil
	}
	s.over <- err
}

// TestClientsOnTheReactor has both ends of many connections there, which begin before
// their sockets are connected.
func TestClientsOnTheReactor(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		pool, err := netpoll.New(netpoll.Config{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		client := NewClient(r.version(version))
		const clients = 100
		over := make(chan error, clients)
		dial := func(to *net.TCPAddr, said []byte) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
			if err != nil && !errors.Is(err, unix.EINPROGRESS) {
				t.Fatal(err)
			}
			pool.Adopt(fd, func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
				client.Connect(w, c)
				return &speaker{due: said, said: said, over: over}
			})
		}
		to, err := net.ResolveTCPAddr("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		for i := range clients {
			dial(to, bytes.Repeat([]byte{byte(i)}, 1+i*i*i/2))
		}
		for range clients {
			if err := <-over; err != nil {
				t.Error(err)
			}
		}
		dial(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, []byte("nobody listens there"))
		if err := <-over; !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
		client.Wait()
		if r.Stats().Failed > 0 {
			t.Errorf("%d handshakes failed", r.Stats().Failed)
		}
	})
}

// TestAClientLooksAtTheCertificate ends with an error that tells why.
func TestAClientLooksAtTheCertificate(t *testing.T) {
	r := serve(t, Config{})
	pool, err := netpoll.New(netpoll.Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	wrong := r.client.Clone()
	wrong.ServerName = "another.example"
	client := NewClient(wrong)
	over := make(chan error, 1)
	c := r.dial(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	_ = raw.Control(func(from uintptr) { fd, err = unix.Dup(int(from)) })
	if err != nil {
		t.Fatal(err)
	}
	pool.Adopt(fd, func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		client.Connect(w, c)
		return &speaker{due: []byte("x"), said: []byte("x"), over: over}
	})
	var invalid *tls.CertificateVerificationError
	if err := <-over; !errors.As(err, &invalid) {
		t.Errorf("closed by %v", err)
	}
}
