//go:build linux && ktls

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"lectern/netpoll"
)

// TestTheKernelMakesTheRecords needs a kernel with TLS. `make ktls` runs it in one, with
// the tag ktls.
func TestTheKernelMakesTheRecords(t *testing.T) {
	if err := netpoll.KernelTLS(); err != nil {
		t.Fatal(err)
	}
	r := serveWith(t, Config{}, netpoll.Config{KernelTLS: true})
	c := r.dialTLS(t, r.client)
	for _, size := range []int{1, 100, 16 << 10, 70_000, 3 << 20} {
		exchange(t, c, bytes.Repeat([]byte("abcdefg"), size/7+1)[:size])
	}
	kernel := uint64(0)
	for _, w := range r.pool.Workers() {
		kernel += w.Stats().Kernel
	}
	if kernel != 1 {
		t.Errorf("the kernel has %d connections", kernel)
	}
	if n := r.held.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
	if _, err := c.Write([]byte("end\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "end\n" {
		t.Errorf("at the end: %q, %v, and not close_notify", got, err)
	}
	<-r.closed

	for name, end := range map[string]func(c *tls.Conn) error{
		"close_notify":     (*tls.Conn).CloseWrite,
		"no close_notify":  func(c *tls.Conn) error { return c.NetConn().(*net.TCPConn).CloseWrite() },
		"both":             (*tls.Conn).Close,
		"data before both": func(c *tls.Conn) error { _, _ = c.Write([]byte("last words")); return c.Close() },
	} {
		c := r.dialTLS(t, r.client)
		exchange(t, c, []byte("hello"))
		if err := end(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-r.closed; err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}

	c = r.dialTLS(t, r.client)
	exchange(t, c, []byte("hello"))
	if _, err := c.NetConn().Write([]byte("\x17\x03\x03\x00\x20 a record of which nothing is true")); err != nil {
		t.Fatal(err)
	}
	if err := <-r.closed; err == nil || err == io.EOF {
		t.Errorf("a false record: %v", err)
	}

	for range 20 { // data behind the handshake, at once
		late := &gathering{Conn: r.dial(t)}
		c := tls.Client(late, r.client)
		late.gather = func([]byte) bool { return late.reads > 0 }
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		late.gather = nil
		exchange(t, c, bytes.Repeat([]byte("early"), 2000))
	}
	exchange(t, r.dialTLS(t, r.version(tls.VersionTLS12)), []byte("TLS 1.2 goes on as ever"))
}
