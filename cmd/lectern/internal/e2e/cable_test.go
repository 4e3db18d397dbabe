package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A cable carries TCP connections to the relay, and can be cut.
type cable struct {
	t      *testing.T
	to     string
	listen net.Listener
	done   sync.WaitGroup
	fray   func(nth int) (bytes int) // immutable; after how many to the client the nth connection is cut, from 0; negative for never

	mu     sync.Mutex
	used   int       // guarded by mu; connections so far
	strand []*strand // guarded by mu; those that there are
	ended  bool      // guarded by mu
}

// A strand is one connection.
type strand struct {
	near, far *net.TCPConn
	torn      bool // guarded by the cable's mu; the relay's end is left alone
}

// newCable plugs a cable in. Without fray it holds until it is cut.
func newCable(t *testing.T, to string, fray func(nth int) (bytes int)) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, to: to, listen: listener, fray: fray}
	if fray == nil {
		c.fray = func(int) int { return -1 }
	}
	c.done.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			c.done.Go(func() { c.carry(near.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		c.mu.Lock()
		c.ended = true
		for _, s := range c.strand {
			s.reset()
		}
		c.mu.Unlock()
		c.done.Wait()
	})
	return c
}

func (c *cable) addr() string { return c.listen.Addr().String() }

// count returns how many connections there have been.
func (c *cable) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// carry passes on what both ends say.
func (c *cable) carry(near *net.TCPConn) {
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		near.Close()
		return // the relay has ended, or the client hears of it
	}
	s := &strand{near: near, far: far.(*net.TCPConn)}
	c.mu.Lock()
	nth := c.used
	c.used++
	c.strand = append(c.strand, s)
	if c.ended {
		s.reset()
	}
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(s.far, near); c.end(s, s.far) })
	both.Go(func() {
		if n := c.fray(nth); n < 0 {
			_, _ = io.Copy(near, s.far)
		} else if _, err := io.CopyN(near, s.far, int64(n)); err == nil {
			s.reset()
		}
		c.end(s, near)
	})
	both.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	near.Close()
	if !s.torn {
		far.Close()
	}
}

// end tells one end of a strand that the other has ended.
func (c *cable) end(s *strand, to *net.TCPConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.torn {
		_ = to.CloseWrite()
	}
}

// cut resets the connections at both ends.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.strand {
		if !s.torn {
			s.reset()
		}
	}
}

// tear resets the connections at the client's end. The relay hears nothing of
// it: nobody reads from its end any more.
func (c *cable) tear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.strand {
		s.torn = true
		reset(s.near)
	}
}

func (s *strand) reset() {
	reset(s.near)
	reset(s.far)
}
