package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Viewers over wss:// do not live on the reactor: crypto/tls wants a blocking
// connection. Each has a goroutine of its own and some 25 KB, which is enough
// for some ten thousand; the bench's CPU then includes the decryption.

// tlsChunk is the size of a read: the largest record.
const tlsChunk = 16 << 10

// A pumped conn is one whose goroutine looks after it.
type pumped struct {
	conn net.Conn
}

func (p pumped) Abort() { _ = p.conn.Close() }

// Flush wakes the goroutine from its read, so that it looks what is due.
func (p pumped) Flush() { _ = p.conn.SetReadDeadline(time.Now()) }

// pump carries one viewer over TLS, from its dialling to its end.
func (v *viewer) pump(ctx context.Context, began int64) {
	conn, err := v.crowd.dialNet(ctx, int(v.index))
	lock := &v.lane.mu
	if err != nil {
		lock.Lock()
		defer lock.Unlock()
		v.Closed(err)
		return
	}
	defer conn.Close()
	lock.Lock()
	v.attach(pumped{conn}, began)
	lock.Unlock()

	buf := make([]byte, tlsChunk)
	for {
		lock.Lock()
		out, over, reads := v.out, v.state == ended, v.reads
		v.out = nil
		lock.Unlock()
		if len(out) > 0 {
			if err = v.write(conn, out); err != nil {
				break
			}
		}
		if over {
			return
		}
		n := 0
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if reads {
			n, err = conn.Read(buf)
		} else {
			time.Sleep(50 * time.Millisecond) // it has stopped reading, and looks now and then whether it should again
		}
		lock.Lock()
		if n > 0 {
			v.Receive(buf[:n])
		}
		v.Tick()
		lock.Unlock()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	lock.Lock()
	defer lock.Unlock()
	v.Closed(err)
}

func (v *viewer) write(conn net.Conn, out []byte) error {
	_ = conn.SetWriteDeadline(time.Now().Add(v.crowd.options.Timeout))
	n, err := conn.Write(out)
	v.lane.mu.Lock()
	defer v.lane.mu.Unlock()
	if n > 0 && v.state == connecting {
		v.enter(upgrading)
	}
	return err
}
