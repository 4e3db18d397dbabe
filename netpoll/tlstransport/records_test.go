//go:build linux

package tlstransport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"lectern/netpoll/tlsrecord"
)

// A forger speaks TLS 1.3 with its own record layer, so that it can cut, repeat and
// break records.
type forger struct {
	*net.TCPConn
	records *tlsrecord.Conn
}

func (r *relay) forge(t testing.TB) *forger {
	t.Helper()
	c := r.dial(t)
	records, _, err := tlsrecord.Client(context.Background(), c, r.version(tls.VersionTLS13))
	if err != nil {
		t.Fatal(err)
	}
	return &forger{TCPConn: c, records: records}
}

// seal returns the records that carry p, of at most size bytes each.
func (f *forger) seal(p []byte, size int) (wire []byte) {
	for len(p) > 0 {
		record, n := f.records.Seal(nil, p[:min(len(p), size)])
		wire, p = append(wire, record...), p[n:]
	}
	return wire
}

// hear reads n bytes of data, or to the end with n < 0.
func (f *forger) hear(n int) (plain []byte, err error) {
	for chunk := make([]byte, 16<<10); err == nil && (n < 0 || len(plain) < n); {
		var m int
		if m, err = f.TCPConn.Read(chunk); m > 0 {
			var ended error
			if plain, ended = f.records.Open(plain, chunk[:m]); ended != nil {
				err = ended
			}
		}
	}
	return plain, err
}

// TestRecordsOfOneByte has the reactor open thousands of them, cut anywhere.
func TestRecordsOfOneByte(t *testing.T) {
	r := serve(t, Config{})
	f := r.forge(t)
	text := bytes.Repeat([]byte("0123456789"), 1000)
	wire := f.seal(text, 1)
	sent := make(chan error, 1)
	go func() {
		var err error
		for piece := 1; len(wire) > 0 && err == nil; piece = piece*3%1009 + 1 {
			n := min(piece, len(wire))
			_, err = f.Write(wire[:n])
			wire = wire[n:]
		}
		sent <- err
	}()
	if got, err := f.hear(len(text)); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(text), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestRecordsCutAtEveryByte sends a maximal record, of a client that makes such, in two
// parts that the reactor reads one after the other.
func TestRecordsCutAtEveryByte(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		config := r.version(version)
		config.DynamicRecordSizingDisabled = true
		late := &gathering{Conn: r.dial(t)}
		c := tls.Client(late, config)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{[]byte("small"), bytes.Repeat([]byte("x"), 1<<14)} {
			for cut := 1; ; cut += 1 + len(text)/50 {
				late.gather = func([]byte) bool { return true }
				if _, err := c.Write(text); err != nil {
					t.Fatal(err)
				}
				wire := late.kept
				late.gather, late.kept = nil, nil
				if cut >= len(wire) {
					_, _ = late.Conn.Write(wire)
					_, _ = io.ReadFull(c, make([]byte, len(text)))
					break
				}
				if _, err := late.Conn.Write(wire[:cut]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(200 * time.Microsecond)
				if _, err := late.Conn.Write(wire[cut:]); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(text))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("cut at %d of %d: %v", cut, len(wire), err)
				}
			}
		}
		if version == tls.VersionTLS13 && r.held.Load() != 0 {
			t.Errorf("%d bytes are held", r.held.Load())
		}
	})
}

// TestGarbageAfterTheHandshake ends the connection with an alert, and nothing stays.
func TestGarbageAfterTheHandshake(t *testing.T) {
	changed := func(wire []byte, at int) []byte {
		wire = bytes.Clone(wire)
		wire[at] ^= 1
		return wire
	}
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{})
		conns := 0
		for name, broken := range map[string]func(record []byte) []byte{
			"HTTP":            func([]byte) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") },
			"a ClientHello":   func([]byte) []byte { return hello(t, r.client) },
			"zeros":           func([]byte) []byte { return make([]byte, 100) },
			"a plain alert":   func([]byte) []byte { return []byte{21, 3, 3, 0, 2, 2, 40} },
			"an empty record": func([]byte) []byte { return []byte{23, 3, 3, 0, 0} },
			"a long record":   func([]byte) []byte { return []byte{23, 3, 3, 0xff, 0xff} },
			"another type":    func(p []byte) []byte { return changed(p, 0) },
			"another tag":     func(p []byte) []byte { return changed(p, len(p)-1) },
			"another byte":    func(p []byte) []byte { return changed(p, 6) },
			"once again":      func(p []byte) []byte { return append(bytes.Clone(p), p...) },
		} {
			late := &gathering{Conn: r.dial(t)}
			c := tls.Client(late, r.version(version))
			exchange(t, c, []byte("before"))
			late.gather = func([]byte) bool { return true }
			_, _ = c.Write([]byte("last words"))
			if _, err := late.Conn.Write(broken(late.kept)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if len(got) > 0 {
				t.Errorf("%s: echoed %q", name, got)
			}
			if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s: ended with %v, and not with an alert", name, err)
			}
			conns++
		}
		eventually(t, "all are closed", func() bool { return len(r.closed) == conns && r.held.Load() == 0 })
		for range conns {
			if err := <-r.closed; err == nil || err == io.EOF {
				t.Errorf("closed by %v", err)
			}
		}
	})
}

// TestRenegotiationIsRefused in the reactor: a client of TLS 1.2 that begins another
// handshake on its connection gets an alert.
func TestRenegotiationIsRefused(t *testing.T) {
	r := serve(t, Config{})
	late := &gathering{Conn: r.dial(t)}
	c := tls.Client(late, r.version(tls.VersionTLS12))
	exchange(t, c, []byte("before"))
	// A record of a type that crypto/tls does not let a client send: sealed as data, sent
	// as a handshake, it does not open, as RFC 5246 6.2.3.3 authenticates the type.
	late.gather = func([]byte) bool { return true }
	_, _ = c.Write([]byte("\x01\x00\x00\x00"))
	late.kept[0] = typeHandshake
	_, _ = late.Conn.Write(late.kept)
	if got, err := io.ReadAll(c); len(got) > 0 || err == nil {
		t.Errorf("the handshake was answered %q, %v", got, err)
	}
}

// TestAShutdownWhileHandshakesRun ends in time in every phase: those that collect, that
// wait for their turn, and that wait for their clients. No goroutine is left.
func TestAShutdownWhileHandshakesRun(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serve(t, Config{MaxHandshakes: 8})
		whole := hello(t, r.version(version))
		const clients = 30
		for i := range clients {
			wire := whole
			if i%3 == 0 {
				wire = whole[:len(whole)/2]
			}
			if _, err := r.dial(t).Write(wire); err != nil {
				t.Fatal(err)
			}
		}
		for range clients / 3 {
			r.dialFrom(t, 2) // silent
		}
		eventually(t, "they have begun", func() bool { s := r.Stats(); return s.Running == 2 && s.Waiting == clients*2/3-2 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		began := time.Now()
		if cut := r.pool.Drain(ctx); cut > 0 {
			t.Errorf("%d connections had to be cut off", cut)
		}
		if err := r.pool.Close(); err != nil {
			t.Error(err)
		}
		r.Wait()
		if took := time.Since(began); took > patience/2 {
			t.Errorf("that took %v", took)
		}
	})
}

// FuzzServer sends arbitrary bytes to a connection of the reactor, behind a real
// handshake and cut anywhere. The relay goes on, and holds nothing of it.
func FuzzServer(f *testing.F) {
	r := serve(f, Config{})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 3, true, true)
	f.Add([]byte{23, 3, 3, 0, 17, 1, 2, 3}, 5, true, false)
	f.Add([]byte{21, 3, 3, 0, 2, 1, 0}, 1, false, true)
	f.Add([]byte("data"), 2, false, false)
	sessions := tls.NewLRUClientSessionCache(8)
	f.Fuzz(func(t *testing.T, wire []byte, cut int, newest, sealed bool) {
		version := uint16(tls.VersionTLS12)
		if newest {
			version = tls.VersionTLS13
		}
		config := r.version(version)
		config.ClientSessionCache = sessions
		raw := r.dial(t)
		defer raw.Close()
		c := tls.Client(raw, config)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if sealed { // what comes behind it is cut in the reactor's buffer
			if _, err := c.Write([]byte("before")); err != nil {
				t.Fatal(err)
			}
		}
		at := max(0, min(cut, len(wire)))
		_, _ = raw.Write(wire[:at])
		_, _ = raw.Write(wire[at:])
		_ = raw.CloseWrite()
		_, _ = io.Copy(io.Discard, raw)
		within := time.After(10 * time.Second)
		select {
		case <-r.closed:
		case <-within:
			t.Fatal("the connection goes on")
		}
		for range 100 {
			if r.held.Load() == 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%d bytes are held", r.held.Load())
	})
}
