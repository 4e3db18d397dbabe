//go:build linux

package netpoll

import (
	"errors"
	"slices"
)

// MaxRest bounds a record of a [Transport], in bytes. What a full socket did not
// take of its last record is all that a connection holds.
const MaxRest = 4 << 10

// A Transport stands between a session's bytes and its socket's, as TLS does. It
// does no I/O: the reactor hands it bytes, and sends what it returns. A connection
// without a Transport is plain, and pays for this seam with one nil check for each
// send and each read.
//
// A Transport belongs to one connection. Its methods are called by one goroutine
// at a time.
type Transport interface {
	// Seal appends one record of at most [MaxRest] bytes to dst. The record carries
	// the first n bytes of p, or something that the transport has to say itself,
	// with n 0. It returns dst unchanged if the transport has nothing to say and p is
	// empty, or must wait for a handshake. It must not keep p.
	Seal(dst, p []byte) (record []byte, n int)
	// Open takes bytes of the socket, cut anywhere, and appends the session's to
	// dst. It may change chunk, and keeps a record that is incomplete in memory of
	// its own. An error ends the connection after what was appended and what Seal
	// has to say; it is io.EOF when the peer has ended its sending side.
	Open(dst, chunk []byte) (plain []byte, err error)
	// End appends a last record of at most [MaxRest] bytes, after which this side
	// sends nothing; it may append nothing.
	End(dst []byte) []byte
	// Buffered returns about how many bytes the transport holds in memory: an
	// incomplete record, or a handshake. It is asked after each Open.
	Buffered() int
	// Close frees what the transport holds. It is called last: the connection is
	// gone.
	Close()
}

// A Rewinder is a Transport that can take records back. Then several records go into
// one send, and what a full socket did not take is still less than one.
type Rewinder interface {
	Transport
	// Rewind undoes the last calls of Seal, which carried data. Nothing of these
	// records has left the process, and the same place in the sequence may carry
	// something else.
	Rewind(records int)
}

// maxBatch is about how many bytes of records go into one send. A socket that was full
// gets fewer, because it takes few, and sealing the rest would be for nothing.
const (
	maxBatch     = 64 << 10
	maxBatchFull = 16 << 10
)

// ErrMemory is the error of a connection that held an incomplete record when the
// memory had run out.
var ErrMemory = errors.New("netpoll: no memory for an incomplete record")

// spareBuffer is how many bytes a transport may buffer when memory has run out.
const spareBuffer = 2 << 10

// A carrier is the state that a connection with a transport has in addition.
// Everything in it is owned by the connection's worker.
type carrier struct {
	transport Transport
	rewinder  Rewinder // the transport, nil if it cannot
	rest      []byte   // of the last record; nil unless the socket is full
	buffered  int32    // bytes of the transport's that are counted
	full      bool     // the session knows that the socket is full
	ended     bool     // the last record was made
	awaiting  bool     // see Await
	expiring  bool     // the last tick found only the rest
}

// scratch is a worker's memory for the bytes on their way through transports.
type scratch struct {
	sealed []byte // records before they are sent
	ends   []end  // of these records
	opened []byte // what a session is about to receive
}

// maxChunk is how many bytes are read at once through a transport, so that what a
// handshake has not looked at is bounded.
const maxChunk = 16 << 10

// An end is where a record of a batch ends: in the batch, and in what it carries.
type end struct{ sealed, plain int }

// Through has the connection's bytes go through a transport. An [OpenFunc] may call
// it before it returns, and a transport that ends its work, such as a handshake,
// from Open with the one that follows.
func (c *Conn) Through(t Transport) {
	if c.fd < 0 {
		return // the connection has left with the transport before
	}
	if c.carrier == nil {
		c.carrier = new(carrier)
	}
	c.carrier.transport = t
	c.carrier.rewinder, _ = t.(Rewinder)
}

// Await stops reading until Proceed is called. A transport calls it while it works
// in another goroutine.
func (c *Conn) Await() { c.carrier.awaiting = true }

// Proceed has the transport go on, after work in another goroutine: what it has to say is
// sent, its Open is called with no bytes, and reading is resumed.
func (c *Conn) Proceed() {
	if c.fd < 0 {
		return
	}
	c.carrier.awaiting = false
	c.Flush() // first, or what Open returns may take the connection elsewhere with a part of the work
	if c.fd < 0 || !c.open(nil) {
		return
	}
	c.Flush()
	c.resume()
	if c.fd >= 0 && !c.carrier.awaiting {
		c.offload()
	}
}

// open takes bytes that came through a transport, and reports whether the
// connection goes on.
func (c *Conn) open(chunk []byte) bool {
	scratch := &c.worker.scratch
	plain, failed := c.carrier.transport.Open(scratch.opened[:0], chunk)
	if cap(plain) <= 2*maxVisit {
		scratch.opened = plain[:0]
	}
	if len(plain) > 0 {
		c.session.Receive(plain)
	}
	if c.fd >= 0 && !c.carrier.count(c.worker) && failed == nil {
		failed = ErrMemory
	}
	if failed != nil && c.fd >= 0 {
		c.Flush()
		c.sayEnd()
		c.close(failed)
	}
	return c.fd >= 0
}

// flush is Flush for a connection with a transport. Nothing is sealed before the socket
// has taken what was.
func (c *carrier) flush(conn *Conn) {
	for conn.fd >= 0 && c.sendRest(conn) {
		p := conn.session.Next()
		if len(p) == 0 && c.full {
			c.full = false
			conn.session.Sent(0, false)
			continue
		}
		n, ok := c.sendBatch(conn, p)
		if !ok {
			return
		}
		if n > 0 || c.rest != nil {
			c.full = c.rest != nil
			conn.session.Sent(n, c.full)
		}
		if c.rest != nil {
			conn.soon()
			conn.resume()
			return
		}
		if conn.worker.slice.bytes > sliceBytes {
			conn.ready(eventWrite, again)
			return
		}
	}
}

// sendBatch sends p, or what begins it, in one record or several. It returns how many
// bytes of p need not be sent again, and reports whether the connection goes on.
func (c *carrier) sendBatch(conn *Conn, p []byte) (n int, ok bool) {
	scratch := &conn.worker.scratch
	limit := maxBatch
	if c.full {
		limit = maxBatchFull
	}
	batch, ends := scratch.sealed[:0], scratch.ends[:0]
	for {
		record, carried := c.transport.Seal(batch, p[n:min(len(p), n+MaxRest)])
		if len(record)-len(batch) > MaxRest {
			panic("netpoll: a transport made a record larger than MaxRest")
		}
		batch = record
		n += carried
		ends = append(ends, end{len(batch), n})
		if carried == 0 || c.rewinder == nil || n == len(p) || len(batch) > limit-MaxRest {
			break
		}
	}
	scratch.sealed, scratch.ends = batch[:0], ends[:0]
	if len(batch) == 0 {
		c.drained(conn, len(p) > 0)
		return 0, false
	}
	sent, ok := conn.write(batch)
	if !ok || sent == len(batch) {
		return n, ok
	}
	last := 0
	for ends[last].sealed <= sent {
		last++
	}
	if more := len(ends) - 1 - last; more > 0 {
		c.rewinder.Rewind(more)
	}
	c.keep(conn, batch[sent:ends[last].sealed])
	return ends[last].plain, true
}

// sendRest sends what the socket did not take of the record before, and reports
// whether it has taken everything now.
func (c *carrier) sendRest(conn *Conn) bool {
	if c.rest == nil {
		return true
	}
	n, ok := conn.write(c.rest)
	if !ok {
		return false
	}
	conn.worker.hold(-n)
	if c.rest = c.rest[n:]; len(c.rest) > 0 {
		return false
	}
	c.rest = nil
	return true
}

// send sends a record and keeps what the socket does not take of it. It reports
// whether the connection goes on.
func (c *carrier) send(conn *Conn, record []byte) bool {
	conn.worker.scratch.sealed = record[:0]
	n, ok := conn.write(record)
	if ok && n < len(record) {
		c.keep(conn, record[n:])
	}
	return ok
}

// keep holds what a socket did not take of a record.
func (c *carrier) keep(conn *Conn, rest []byte) {
	c.rest = slices.Clone(rest)
	conn.worker.hold(len(rest))
}

// drained acts on what the session wants when nothing more can be sent. The last
// record comes before the end of this side. A session that ends during a handshake
// has nobody that it could tell.
func (c *carrier) drained(conn *Conn, waits bool) {
	_, writing := conn.session.Wants()
	switch {
	case waits && !writing:
		conn.close(ErrClosed)
	case waits, !writing && !c.end(conn):
	default:
		conn.drained()
	}
}

// end sends the last record, unless the socket is full or that was done before. It
// reports whether all records were sent.
func (c *carrier) end(conn *Conn) bool {
	if !c.ended && c.rest == nil && conn.fd >= 0 {
		c.ended = true
		if record := c.transport.End(conn.worker.scratch.sealed[:0]); len(record) > 0 && !c.send(conn, record) {
			return false
		}
	}
	return c.rest == nil
}

// expire closes a connection of which two ticks in a row, a second apart, found only the
// rest of a record: the session wants nothing any more, and has nothing that it could
// drop.
func (c *carrier) expire(conn *Conn) {
	reading, writing := conn.session.Wants()
	only := c.rest != nil && !reading && !writing && len(conn.session.Next()) == 0
	if only && c.expiring {
		conn.close(ErrClosed)
		return
	}
	c.expiring = only
	if only {
		conn.soon()
	}
}

// drop gives up what has not been sent. The connection leaves its worker.
func (c *carrier) drop(w *Worker) {
	w.hold(-len(c.rest) - int(c.buffered))
	c.rest, c.buffered = nil, 0
}

// forget lets go of the transport: a connection that is closed may be referred to for
// long, and its transport may hold much.
func (c *carrier) forget() { c.transport, c.rewinder = nil, nil }

// count counts what the transport buffers, and reports whether it may.
func (c *carrier) count(w *Worker) (ok bool) {
	n := int32(c.transport.Buffered())
	if n == c.buffered {
		return true
	}
	ok = w.hold(int(n-c.buffered)) || n < c.buffered || n <= spareBuffer
	c.buffered = n
	return ok
}

// hold counts bytes that are held of records, and reports whether there is memory for
// them.
func (w *Worker) hold(n int) (ok bool) {
	if n == 0 {
		return true
	}
	w.stats.held.Add(int64(n))
	return w.pool.hold(int64(n))
}
