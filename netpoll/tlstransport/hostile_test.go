//go:build linux

package tlstransport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// dialFrom connects from one of the addresses of the loopback interface.
func (r *relay) dialFrom(t testing.TB, last byte) *net.TCPConn {
	t.Helper()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}
	c, err := from.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// TestHandshakesThatWaitTakeLittle has an address begin many more handshakes than may
// run. Those that wait hold their ClientHellos, and count as that.
func TestHandshakesThatWaitTakeLittle(t *testing.T) {
	const clients = 300
	r := serve(t, Config{MaxHandshakes: 8})
	whole := hello(t, r.client)
	for range clients {
		if _, err := r.dial(t).Write(whole); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all have begun", func() bool { return r.Stats().Waiting >= clients-10 })
	if held, most := r.held.Load(), int64(8*handshakeBytes+clients*2*len(whole)); held > most {
		t.Errorf("%d bytes are counted of %d handshakes that wait, want at most %d", held, clients, most)
	}
}

// TestADripDoesNotHoldAPlace has clients send a byte now and then, so that no single wait
// for them is long. Together the waits are, and those who queue get the places.
func TestADripDoesNotHoldAPlace(t *testing.T) {
	t.Parallel() // it waits
	r := serve(t, Config{MaxHandshakes: 8})
	whole := hello(t, r.client)
	const rest = "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x35"
	var stop atomic.Bool
	defer stop.Store(true)
	for range 2 { // the share of an address
		c := r.dial(t)
		if _, err := c.Write(whole); err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := 0; i < len(rest) && !stop.Load(); i++ {
				if _, err := c.Write([]byte{rest[i]}); err != nil {
					return
				}
				time.Sleep(patience / 2)
			}
		}()
	}
	eventually(t, "the share is taken", func() bool { return r.Stats().Running == 2 })
	began := time.Now()
	exchange(t, tls.Client(r.dial(t), r.client), []byte("hello"))
	if took := time.Since(began); took > patience*3/2 {
		t.Errorf("a client waited %v behind two that drip", took)
	}
	if err := r.lastFailure(); !errors.Is(err, ErrDisplaced) {
		t.Errorf("those that drip ended with %v", err)
	}
}

// TestASlowClientKeepsAPlaceThatNobodyElseCouldHave: an address that has filled its own
// share, and waits, displaces no client of another one.
func TestASlowClientKeepsAPlaceThatNobodyElseCouldHave(t *testing.T) {
	t.Parallel() // it waits
	r := serve(t, Config{MaxHandshakes: 8})
	whole := hello(t, r.client)
	for range 50 {
		if _, err := r.dial(t).Write(whole); err != nil {
			t.Fatal(err)
		}
	}
	slow := &gathering{Conn: r.dialFrom(t, 2)}
	slow.gather = func([]byte) bool {
		if slow.reads > 0 { // the second flight
			time.Sleep(patience + patience/2)
		}
		return false
	}
	exchange(t, tls.Client(slow, r.client), []byte("hello"))
}

// TestAResetIsNoticedWhileAHandshakeWaits for its turn: the connection, its place in the
// queue and its descriptor are free at once.
func TestAResetIsNoticedWhileAHandshakeWaits(t *testing.T) {
	const clients = 100
	r := serve(t, Config{MaxHandshakes: 4})
	whole := hello(t, r.client)
	first := r.dial(t) // takes the share
	if _, err := first.Write(whole); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first runs", func() bool { return r.Stats().Running == 1 })
	began := time.Now()
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i] = r.dial(t)
		if _, err := conns[i].Write(whole); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the others wait", func() bool { return r.Stats().Waiting >= clients-3 })
	for _, c := range conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	for range clients { // and the reset may be there already when the ClientHello is read
		c := r.dial(t)
		_ = c.SetLinger(0)
		_, _ = c.Write(whole)
		_ = c.Close()
	}
	eventually(t, "all are closed", func() bool { return len(r.closed) == 2*clients })
	if took := time.Since(began); took > patience {
		t.Errorf("that took %v, until the first was displaced", took)
	}
}

// TestResetsInEveryPhase cuts the bytes of a whole connection at each place, with a reset,
// with an end and with silence. Nothing stays.
func TestResetsInEveryPhase(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		ends := map[string]func(*net.TCPConn){
			"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
			"end":        func(c *net.TCPConn) { _ = c.Close() },
			"half close": func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c); _ = c.Close() },
		}
		conns := 0
		for name, end := range ends {
			whole := false
			for at := 1; !whole; at += 1 + at/7 {
				raw := r.dial(t)
				cut := &cutting{Conn: raw, left: at}
				c := tls.Client(cut, r.version(version))
				_, err := c.Write([]byte("hello"))
				if err == nil {
					_, err = c.Read(make([]byte, 5))
				}
				if err == nil {
					whole = true
				} else if !errors.Is(err, errCut) {
					t.Errorf("%s after %d bytes: %v", name, at, err)
				}
				end(raw)
				conns++
			}
		}
		eventually(t, "all are closed", func() bool { return len(r.closed) == conns })
		eventually(t, "no handshake runs", func() bool { return r.Stats().Running == 0 })
		if n := r.held.Load(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}

var errCut = errors.New("cut")

// A cutting connection takes so many bytes and no more.
type cutting struct {
	net.Conn
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; err == nil && n < len(p) {
		err = errCut
	}
	return n, err
}
