//go:build linux

package netpoll

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxVisit = 64 << 10 // bytes read from one connection before the others have their turn
	maxSend  = 64 << 10 // bytes given to one send; larger ones lengthen the collector's pauses
)

// ErrClosed is the error of a connection that this side closed.
var ErrClosed = errors.New("netpoll: connection closed")

// A Session is what a [Conn] carries: it is pushed the bytes that arrive and
// pulled for the bytes that are due. All its methods are called by the
// connection's worker.
type Session interface {
	// Receive takes bytes from the peer. The chunk is the session's to change
	// until Receive returns, and not to keep.
	Receive(chunk []byte)
	// Next returns bytes that are due now, empty if there are none. They must
	// stay as they are until Sent is called.
	Next() []byte
	// Sent says how many bytes of what Next returned the socket took, and
	// whether it is full: then nothing more goes out until it has drained.
	Sent(n int, full bool)
	// Wants says what the session still wants of the connection. Without
	// reading, nothing is received until it wants to read again, which it is
	// asked after each Sent. Without writing, the sending side is shut down once
	// nothing is due; without either, the connection is then closed.
	Wants() (reading, writing bool)
	// Established reports whether the session has finished its entry. Established
	// connections are served before all others, until they hang up: a crowd that
	// connects or disconnects delays them by no more than a slice.
	Established() bool
	// Tick checks the session's time limits and returns how long it need not be
	// called again if nothing happens. The next call comes after that time, rounded
	// up to a second, and after eight seconds at the latest. It comes within a second
	// when bytes arrive, when the socket is full, and when the session is no longer
	// established.
	Tick() (next time.Duration)
	// Shutdown tells the session that the server ends.
	Shutdown()
	// Closed is called once, last: the connection is gone, by ErrClosed if this
	// side closed it, io.EOF if the peer did, or a system call's error.
	Closed(err error)
}

// A Conn is one socket on a worker. Its methods may be called by that worker
// only, which is to say from the methods of its Session and from posted tasks.
type Conn struct {
	worker  *Worker  // immutable
	session Session  // owned by the worker; as open returned it, or as of the last Become
	carrier *carrier // owned by the worker; nil without a transport
	fd      int32    // owned by the worker; -1 once closed
	slot    int32    // owned by the worker; place in worker.conns
	events  events   // owned by the worker; events not yet looked at

	queued  bool    // owned by the worker; is in worker.ready
	hungUp  bool    // owned by the worker; a hang-up or error event was seen
	held    bool    // owned by the worker; reading waits until the session wants it
	sending sending // owned by the worker
}

// sending is what becomes of the bytes that a connection sends.
type sending uint8

const (
	finished   sending = 1 << iota // the sending side was shut down
	encrypting                     // the kernel makes the TLS records, see offload
)

func (s sending) has(flag sending) bool { return s&flag != 0 }

// notify is the epoll callback: it only notes the events and queues the
// connection.
func (c *Conn) notify(e events) {
	if e != eventClosed {
		c.ready(e, anew)
	}
}

// ready queues the connection for this or the worker's next turn.
func (c *Conn) ready(e events, p place) {
	if c.fd < 0 {
		return
	}
	c.events |= e
	if e&eventHangup != 0 {
		c.hungUp = true
	}
	if !c.queued {
		c.queued = true
		if c.hungUp || !c.session.Established() {
			p = behind
		}
		c.worker.ready[p].push(c)
	}
	c.worker.signal()
}

// serve looks at the events that came since the last visit.
func (c *Conn) serve() {
	c.queued = false
	e := c.events
	c.events = 0
	if c.fd < 0 {
		return
	}
	c.soon()
	if e&(eventRead|eventHangup) != 0 {
		c.receive()
	}
	if e&eventBroken != 0 && c.fd >= 0 && c.carrier != nil && c.carrier.awaiting {
		c.close(socketError(int(c.fd))) // it is not read meanwhile, so that no error would come
		return
	}
	c.Flush()
}

// receive reads until the socket is drained or the visit is over.
func (c *Conn) receive() {
	buf := c.worker.buf
	for read := 0; c.fd >= 0; {
		if c.carrier != nil { // which Become may have brought
			buf = buf[:maxChunk]
		}
		if !c.reads() {
			c.held = true
			return
		}
		n, errno := recv(int(c.fd), buf)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return
		case errno == syscall.EIO && c.sending.has(encrypting):
			c.Flush()
			c.sayEnd()
			c.close(receiveRecord(int(c.fd)))
			return
		case errno != 0:
			c.close(os.NewSyscallError("recv", errno))
			return
		case n == 0:
			c.Flush() // it may have shut down its own side only, after a last question
			c.sayEnd()
			c.close(io.EOF)
			return
		}
		c.worker.stats.bytesIn.Add(uint64(n))
		if c.carrier == nil {
			c.session.Receive(buf[:n])
		} else if !c.open(buf[:n]) {
			return
		}
		// A short read means that the socket was drained, and the next byte is
		// a new edge, unless the peer has hung up: that edge may have been. The
		// kernel also ends a read before a record that is no data.
		if n < len(buf) && !c.hungUp && !c.sending.has(encrypting) {
			return
		}
		if read += n; read >= maxVisit {
			c.ready(eventRead, again) // no new edge comes for what is there already
			return
		}
	}
}

// Flush sends what the session has due, until there is nothing more, the
// socket is full or the worker's slice is spent (then it goes on by itself).
func (c *Conn) Flush() {
	if c.carrier != nil {
		c.carrier.flush(c)
		return
	}
	for c.fd >= 0 {
		p := c.session.Next()
		if len(p) == 0 {
			c.drained()
			return
		}
		if len(p) > maxSend {
			p = p[:maxSend]
		}
		n, ok := c.write(p)
		if !ok {
			return
		}
		c.session.Sent(n, n < len(p))
		if n < len(p) {
			c.soon()
			c.resume()
			return // the socket is full: its writable edge, or the tick, comes back here
		}
		if c.worker.slice.bytes > sliceBytes {
			c.ready(eventWrite, again)
			return
		}
	}
}

// write gives bytes to the socket and returns how many it took. Without ok the
// connection has broken, and is closed.
func (c *Conn) write(p []byte) (n int, ok bool) {
	for {
		n, errno := send(int(c.fd), p)
		c.worker.slice.charge(n)
		switch errno {
		case 0:
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			c.worker.stats.blocked.Add(1)
		default:
			c.close(os.NewSyscallError("send", errno))
			return 0, false
		}
		c.worker.stats.bytesOut.Add(uint64(n))
		return n, true
	}
}

// soon has the next round of ticks visit the connection, unless it is closed.
func (c *Conn) soon() {
	if c.fd >= 0 {
		c.worker.due[c.slot] = 1
	}
}

// drained acts on what the session wants when nothing is due.
func (c *Conn) drained() {
	if c.fd >= 0 && c.worker.due[c.slot] > 1 && !c.session.Established() {
		c.soon() // a task has ended the session, and its time limits have begun
	}
	reading, writing := c.session.Wants()
	switch {
	case !reading && !writing:
		c.sayEnd()
		c.close(ErrClosed)
	case !writing && !c.sending.has(finished):
		c.sayEnd()
		c.sending |= finished
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
	c.resume()
}

// sayEnd sends the last record of a connection that has records, whoever makes them.
func (c *Conn) sayEnd() {
	switch {
	case c.fd < 0:
	case c.carrier != nil:
		c.carrier.end(c)
	case c.sending == encrypting:
		endKernel(int(c.fd))
	}
}

// resume reads on if reading was held back and need not be any longer.
func (c *Conn) resume() {
	if !c.held || c.fd < 0 {
		return
	}
	if c.reads() {
		c.held = false
		c.ready(eventRead, anew)
	}
}

// reads reports whether the session, and the transport, want bytes.
func (c *Conn) reads() bool {
	reading, _ := c.session.Wants()
	return reading && (c.carrier == nil || !c.carrier.awaiting)
}

// tick has the session check its time limits, and tries a full socket again. A
// kernel that is short of memory returns EAGAIN with nothing in flight, and then no
// edge follows.
func (c *Conn) tick() {
	next := c.session.Tick()
	if c.fd < 0 {
		return
	}
	c.worker.due[c.slot] = rounds(next)
	c.Flush()
	if c.fd >= 0 && c.carrier != nil {
		c.carrier.expire(c)
	}
}

// Peer returns the address at the other end, the zero one if it has gone.
func (c *Conn) Peer() netip.Addr {
	if c.fd < 0 {
		return netip.Addr{}
	}
	return peer(int(c.fd))
}

// Become gives the connection to another session, which receives the unread bytes first,
// through the transport if there is one by now. Only Receive of the session before may
// call it, when nothing of that session is due and as the last thing that it does. The
// session before is not told.
func (c *Conn) Become(next Session, unread []byte) {
	c.session = next
	switch {
	case len(unread) == 0:
	case c.carrier != nil:
		c.open(unread)
	default:
		next.Receive(unread)
	}
}

// Abort closes the connection at once, whatever is still due.
func (c *Conn) Abort() { c.close(ErrClosed) }

func (c *Conn) close(err error) {
	fd := c.release()
	if fd < 0 {
		return
	}
	closeSocket(fd)
	c.worker.pool.quota.give()
	if c.carrier != nil {
		t := c.carrier.transport
		c.carrier.forget()
		t.Close()
	}
	c.session.Closed(err)
}

// release takes the descriptor out of the reactor and returns it, -1 if that
// was done before. The session is not told.
func (c *Conn) release() (fd int) {
	if c.fd < 0 {
		return -1
	}
	fd = int(c.fd)
	c.fd = -1
	if c.carrier != nil {
		c.carrier.drop(c.worker)
	}
	_ = c.worker.poller.del(fd)
	c.worker.remove(c)
	return fd
}
