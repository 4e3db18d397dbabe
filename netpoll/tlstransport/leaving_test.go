//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"lectern/netpoll"
)

// A leaver leaves the reactor with the first bytes that come.
type leaver struct {
	echo
	left chan *netpoll.Detached
}

func (l *leaver) Receive(p []byte) {
	d, err := l.conn.Detach(bytes.Clone(p))
	if err != nil {
		l.conn.Abort()
		return
	}
	l.left <- d
}

// serveLeavers has each connection leave the reactor. Its handshakes are counted until
// they are collected.
func serveLeavers(t *testing.T) (r *relay, left chan *netpoll.Detached, handshakes *atomic.Int64) {
	left, handshakes = make(chan *netpoll.Detached, 100), new(atomic.Int64)
	r = serveSessions(t, Config{}, netpoll.Config{}, func(r *relay, w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		l := &leaver{echo: echo{conn: c, closed: r.closed}, left: left}
		h := &handshake{server: r.Server, worker: w, conn: c, network: c.Peer(), begun: func() { l.begun = true }}
		handshakes.Add(1)
		runtime.AddCleanup(h, func(n *atomic.Int64) { n.Add(-1) }, handshakes)
		c.Through(h)
		return l
	})
	return r, left, handshakes
}

// TestARequestLeavesTheReactor right behind its handshake, is answered elsewhere, and
// comes back. What was the handshake's is free when that is over, although the connection
// left before the worker had sent anything.
func TestARequestLeavesTheReactor(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r, left, handshakes := serveLeavers(t)
		for i := range 10 {
			c := tls.Client(r.dial(t), r.version(version))
			request := bytes.Repeat([]byte("request"), 1000)
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			d := <-left
			if n := r.held.Load(); n != 0 && i == 0 {
				t.Errorf("%d bytes are counted outside the reactor", n)
			}
			got := make([]byte, len(request))
			if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, request) {
				t.Fatalf("%d bytes left as others: %v", len(got), err)
			}
			answered := make(chan error, 1)
			go func() {
				_, err := d.Write(request)
				answered <- err
			}()
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, request) {
				t.Fatalf("%d bytes came as others: %v", len(got), err)
			}
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			back := &echo{begun: true, closed: r.closed}
			err := d.Attach([]byte("read ahead "), func(_ *netpoll.Worker, conn *netpoll.Conn) netpoll.Session {
				back.conn = conn
				return back
			})
			if err != nil {
				t.Fatal(err)
			}
			ahead := make([]byte, len("read ahead "))
			if _, err := io.ReadFull(c, ahead); err != nil || string(ahead) != "read ahead " {
				t.Fatalf("heard %q, %v", ahead, err)
			}
			exchange(t, c, request)
			t.Cleanup(func() { runtime.KeepAlive(back) })
		}
		eventually(t, "all handshakes are collected", func() bool {
			runtime.GC()
			return handshakes.Load() == 0
		})
	})
}

// TestAttachedConnectionsCount what their transports hold although no byte comes.
func TestAttachedConnectionsCount(t *testing.T) {
	r, left, _ := serveLeavers(t)
	late := &gathering{Conn: r.dial(t)}
	config := r.client.Clone()
	config.DynamicRecordSizingDisabled = true
	c := tls.Client(late, config)
	if _, err := c.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	d := <-left
	if _, err := io.ReadFull(d, make([]byte, len("request"))); err != nil {
		t.Fatal(err)
	}
	late.gather = func([]byte) bool { return true }
	_, _ = c.Write(make([]byte, 10_000))
	if _, err := late.Conn.Write(late.kept[:9000]); err != nil {
		t.Fatal(err)
	}
	_ = d.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := d.Read(make([]byte, 100)); n != 0 || err == nil {
		t.Fatalf("%d bytes of an incomplete record were read, %v", n, err)
	}
	err := d.Attach(nil, func(_ *netpoll.Worker, conn *netpoll.Conn) netpoll.Session {
		return &echo{conn: conn, begun: true, closed: r.closed}
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record is counted", func() bool { return r.held.Load() >= 9000 })
	_, _ = late.Conn.Write(late.kept[9000:])
	late.gather, late.kept = nil, nil
	if _, err := io.ReadFull(c, make([]byte, 10_000)); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is counted", func() bool { return r.held.Load() == 0 })
}

// TestAConnectionIsClosedOutsideTheReactor while another goroutine reads and one writes.
func TestAConnectionIsClosedOutsideTheReactor(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r, left, _ := serveLeavers(t)
		for range 20 {
			c := tls.Client(r.dial(t), r.version(version))
			if _, err := c.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			d := <-left
			reads, writes := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, struct{ io.Reader }{d})
				reads <- err
			}()
			go func() {
				for {
					if _, err := d.Write(make([]byte, 100_000)); err != nil {
						writes <- err
						return
					}
				}
			}()
			if _, err := io.ReadFull(c, make([]byte, 300_000)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(d.Close()); err != nil {
				t.Error(err)
			}
			if <-reads == nil || <-writes == nil {
				t.Error("a closed connection goes on")
			}
		}
	})
}
