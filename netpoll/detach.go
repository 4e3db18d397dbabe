//go:build linux

package netpoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Detach takes the connection out of the reactor and returns it as a net.Conn that
// reads the given bytes first. The session's Closed is not called. Until it is
// closed it counts as one of the pool's connections (see MaxConns). Detach needs a
// spare descriptor for a moment; without one the connection stays where it is and
// the error is EMFILE.
func (c *Conn) Detach(unread []byte) (*Detached, error) {
	if c.fd < 0 {
		return nil, ErrClosed
	}
	dup, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("detach connection: %w", os.NewSyscallError("fcntl", err))
	}
	d := &Detached{pool: c.worker.pool, unread: unread, kernel: c.sending.has(encrypting)}
	if c.carrier != nil {
		d.carried = &carried{transport: c.carrier.transport, rest: c.carrier.rest}
	}
	_ = unix.Close(c.release())
	if c.carrier != nil {
		c.carrier.forget()
	}
	file := os.NewFile(uintptr(dup), "detached connection")
	d.Conn, err = net.FileConn(file)
	_ = file.Close()
	if err != nil {
		d.pool.quota.give()
		if d.carried != nil {
			d.carried.transport.Close()
		}
		c.session.Closed(err)
		return nil, fmt.Errorf("detach connection: %w", err)
	}
	return d, nil
}

// A Detached is a connection that has left the reactor, and may come back. Its
// bytes go through the same transport as before. Reads may be concurrent with
// writes, but not with each other or with Attach.
type Detached struct {
	net.Conn
	pool    *Pool    // immutable
	carried *carried // immutable; nil without a transport
	kernel  bool     // immutable; the kernel makes the TLS records
	unread  []byte   // owned by the reader; what the reactor read already
	left    atomic.Bool
}

// Close closes the connection. Further calls return an error.
func (d *Detached) Close() error {
	if !d.left.Swap(true) {
		if d.carried != nil {
			d.carried.end(d.Conn)
			defer d.carried.close()
		}
		if d.kernel {
			d.endKernel()
		}
		d.pool.quota.give()
	}
	return d.Conn.Close()
}

// Read reads what the reactor had read already, and then from the connection.
func (d *Detached) Read(p []byte) (int, error) {
	for len(d.unread) == 0 && d.carried != nil {
		plain, err := d.carried.read(d.Conn)
		d.unread = plain
		if err != nil && len(plain) == 0 {
			return 0, err
		}
	}
	if len(d.unread) > 0 {
		n := copy(p, d.unread)
		d.unread = d.unread[n:]
		return n, nil
	}
	n, err := d.Conn.Read(p)
	if d.kernel && errors.Is(err, syscall.EIO) {
		err = io.EOF // a record that is no data: close_notify, or what ends the connection, too
	}
	return n, err
}

// endKernel sends the last record of a connection that the kernel encrypts.
func (d *Detached) endKernel() {
	if socket, ok := d.Conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { endKernel(int(fd)) })
		}
	}
}

// Write writes all of p, unless it returns an error.
func (d *Detached) Write(p []byte) (int, error) {
	if d.carried != nil {
		return d.carried.write(d.Conn, p)
	}
	return d.Conn.Write(p)
}

// Attach gives the connection back to the reactor, to the worker with the fewest
// connections. The new session receives the given bytes first, which become its
// own. After an error the connection is where it was: EMFILE when there is no
// spare descriptor, net.ErrClosed when it, or the pool, is closed.
func (d *Detached) Attach(unread []byte, open OpenFunc) error {
	fd, err := d.duplicate()
	if err != nil {
		return fmt.Errorf("attach connection: %w", err)
	}
	a := arrival{fd: fd, kernel: d.kernel, unread: append(unread, d.unread...), open: open}
	if d.carried != nil {
		a.transport, a.rest = d.carried.transport, d.carried.left()
	}
	if !d.pool.attach(a, d) {
		_ = unix.Close(fd)
		return fmt.Errorf("attach connection: %w", net.ErrClosed)
	}
	return d.Conn.Close()
}

// attach has a worker adopt a connection, unless that or the pool is closed.
func (p *Pool) attach(a arrival, d *Detached) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || d.left.Swap(true) {
		return false
	}
	p.leastBusy().adopt(a)
	return true
}

// duplicate returns another descriptor of the connection's socket.
func (d *Detached) duplicate() (fd int, err error) {
	socket, ok := d.Conn.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	control := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if control != nil {
		return -1, control
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// carried takes the bytes of a detached connection through its transport.
type carried struct {
	writing sync.Mutex // held while records are written, in their order
	rest    []byte     // guarded by writing; of the reactor's last record

	mu        sync.Mutex
	transport Transport // guarded by mu
}

// read reads once, and returns what came for the reader.
func (c *carried) read(from net.Conn) (plain []byte, err error) {
	chunk := make([]byte, MaxRest)
	n, failed := from.Read(chunk)
	if n > 0 {
		c.mu.Lock()
		plain, err = c.transport.Open(nil, chunk[:n])
		c.mu.Unlock()
		if _, failed := c.write(from, nil); err == nil { // what the transport has to say
			err = failed
		}
	}
	if err == nil {
		err = failed
	}
	return plain, err
}

// left returns what has not been sent of the last record.
func (c *carried) left() []byte {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.rest
}

// end writes the last record if the socket takes it at once and nobody writes.
func (c *carried) end(to net.Conn) {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	c.mu.Lock()
	record := c.transport.End(nil)
	c.mu.Unlock()
	if len(record) > 0 && len(c.rest) == 0 {
		_ = to.SetWriteDeadline(time.Now().Add(endTime))
		_, _ = to.Write(record)
	}
}

// close closes the transport. What is being read or written with it ends first.
func (c *carried) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.Close()
}

// endTime bounds the wait for a socket to take a connection's last record.
const endTime = time.Millisecond

// write writes p in records.
func (c *carried) write(to net.Conn, p []byte) (written int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(c.rest) > 0 {
		if _, err := to.Write(c.rest); err != nil {
			return 0, err
		}
		c.rest = nil
	}
	for {
		c.mu.Lock()
		record, n := c.transport.Seal(nil, p[:min(len(p), MaxRest)])
		c.mu.Unlock()
		if len(record) == 0 {
			if len(p) > 0 { // its last record was made
				err = net.ErrClosed
			}
			return written, err
		}
		if _, err := to.Write(record); err != nil {
			return written, err
		}
		p = p[n:]
		written += n
	}
}
