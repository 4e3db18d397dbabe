//go:build linux

package netpoll

import "slices"

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
	// with n 0. It returns dst unchanged only if p is empty and the transport has
	// nothing to say. It must not keep p.
	Seal(dst, p []byte) (record []byte, n int)
	// Open takes bytes of the socket, cut anywhere, and appends the session's to
	// dst. It may change chunk, and keeps a record that is incomplete in memory of
	// its own. An error ends the connection after what was appended and what Seal
	// has to say; it is io.EOF when the peer has ended its sending side.
	Open(dst, chunk []byte) (plain []byte, err error)
	// End appends a last record of at most [MaxRest] bytes, after which this side
	// sends nothing; it may append nothing.
	End(dst []byte) []byte
}

// A carrier is the state that a connection with a transport has in addition.
// Everything in it is owned by the connection's worker.
type carrier struct {
	transport Transport
	rest      []byte // of the last record; nil unless the socket is full
	full      bool   // the session knows that the socket is full
	ended     bool   // the last record was made
}

// scratch is a worker's memory for the bytes on their way through transports.
type scratch struct {
	sealed []byte // a record before it is sent
	opened []byte // what a session is about to receive
}

// Through has the connection's bytes go through a transport. Only an [OpenFunc] may
// call it, before it returns.
func (c *Conn) Through(t Transport) { c.carrier = &carrier{transport: t} }

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
	if failed != nil && c.fd >= 0 {
		c.Flush()
		c.carrier.end(c)
		c.close(failed)
	}
	return c.fd >= 0
}

// flush is Flush for a connection with a transport: a record at a time, and none
// before the socket has taken the one before.
func (c *carrier) flush(conn *Conn) {
	for conn.fd >= 0 && c.sendRest(conn) {
		p := conn.session.Next()
		if len(p) == 0 && c.full {
			c.full = false
			conn.session.Sent(0, false)
			continue
		}
		record, n := c.transport.Seal(conn.worker.scratch.sealed[:0], p[:min(len(p), MaxRest)])
		if len(record) == 0 && len(p) > 0 || len(record) > MaxRest {
			panic("netpoll: a transport made no record, or one larger than MaxRest")
		}
		if len(record) == 0 {
			c.drained(conn)
			return
		}
		if !c.send(conn, record) {
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
	conn.worker.stats.held.Add(-int64(n))
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
		c.rest = slices.Clone(record[n:])
		conn.worker.stats.held.Add(int64(len(c.rest)))
	}
	return ok
}

// drained acts on what the session wants when nothing is due. The last record
// comes before the end of this side.
func (c *carrier) drained(conn *Conn) {
	if _, writing := conn.session.Wants(); !writing && !c.end(conn) {
		return
	}
	conn.drained()
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

// drop gives up what has not been sent. The connection is closing.
func (c *carrier) drop(w *Worker) {
	w.stats.held.Add(-int64(len(c.rest)))
	c.rest = nil
}
