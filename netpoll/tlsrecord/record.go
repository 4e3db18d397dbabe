// Package tlsrecord is the record layer of TLS 1.3 (RFC 8446 5) without I/O and
// without a handshake: two traffic secrets, two counters. crypto/tls makes the
// handshake; what it leaves behind is taken over here, because a tls.Conn holds 7 to 22
// KB for an idle connection and wants to read and write for itself.
//
// # States
//
//	open       records in both directions
//	peer ended close_notify came: Open answers io.EOF, Seal goes on
//	ended      End was called: nothing more is sealed
//	failed     a broken record or a fatal alert came: Open has answered an error, and
//	           Seal says one alert if there is one to say
package tlsrecord

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of records (RFC 8446 5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

const (
	headerSize = 5
	// maxPlain is how many bytes a record carries at most (RFC 8446 5.1).
	maxPlain = 1 << 14
	// maxSealed is how long a record's body may be (RFC 8446 5.2).
	maxSealed = maxPlain + 256

	version13 = 0x0304
	version12 = 0x0303 // what every record says that it is (RFC 8446 5.1)

	// overhead is how many bytes a record has besides what it carries: header, type
	// and tag.
	overhead = headerSize + 1 + tagSize
	tagSize  = 16
)

const (
	// maxUseless is how many records in a row may carry no data: a peer could keep
	// the relay decrypting for nothing. crypto/tls allows as many.
	maxUseless = 16
	// maxUpdates is how many KeyUpdates a peer may send at once, and dataPerUpdate how
	// many records with data it must send for each more. A new key costs as much as
	// the opening of some thirty small records.
	maxUpdates    = 16
	dataPerUpdate = 64
	// maxSeals is after how many records this side takes a new key. AES-GCM is good for
	// 2^24.5 records with one (RFC 8446 5.5); the rest is for a peer that is behind.
	maxSeals = 1 << 24
	// maxMessage is how many bytes a handshake message may have after the
	// handshake. Only KeyUpdate is understood, which has five; tickets are skipped.
	maxMessage = 16 << 10
)

// An Alert is a TLS alert (RFC 8446 6), as the error of a connection.
type Alert struct {
	Code byte
	Ours bool // this side found the fault
}

// The alerts that this package knows by name.
const (
	closeNotify       = 0
	unexpectedMessage = 10
	badRecordMAC      = 20
	recordOverflow    = 22
	decodeError       = 50
	userCanceled      = 90
)

var alertNames = map[byte]string{
	closeNotify: "close_notify", unexpectedMessage: "unexpected_message", badRecordMAC: "bad_record_mac",
	recordOverflow: "record_overflow", decodeError: "decode_error", userCanceled: "user_canceled",
}

// Error names the alert and the side that found the fault.
func (a *Alert) Error() string {
	name := alertNames[a.Code]
	if name == "" {
		name = fmt.Sprintf("alert %d", a.Code)
	}
	if a.Ours {
		return "tls: " + name
	}
	return "tls: the peer sent " + name
}

// ErrTooManyUseless is the error of a peer that sends records without data.
var ErrTooManyUseless = errors.New("tlsrecord: too many records without data")

// A Conn is the record layer of one connection. Its methods may be called by one
// goroutine at a time.
type Conn struct {
	out half // first, beside what Seal asks for

	maxRecord int    // bytes of a record that is sealed
	maxSeals  uint64 // records that are sealed with one key, about
	update    bool   // a KeyUpdate is due, because the peer asked for one
	alert     byte   // an alert is due, see failed
	failed    bool
	peerEnded,
	ended bool

	in half

	partial []byte // a record that is incomplete
	message []byte // a handshake message that is incomplete
	useless int    // records in a row that carried no data
	updates int    // KeyUpdates that no data has paid for, times dataPerUpdate
}

// A half is one direction.
type half struct {
	aead   cipher.AEAD
	seq    uint64
	iv     [ivSize]byte
	nonce  [ivSize]byte // here and not on the stack, from where it would escape
	header [headerSize]byte
	suite  *suite
	secret []byte // the traffic secret, for the next one
}

// State is what a handshake leaves behind.
type State struct {
	CipherSuite uint16 // one of crypto/tls' TLS 1.3 suites

	// The application traffic secrets (RFC 8446 7.1), and how many records were sent
	// and read with each: a server's session tickets are.
	ReadSecret, WriteSecret []byte
	ReadSeq, WriteSeq       uint64

	// MaxRecord is how many bytes a record has at most that is sealed, header and tag
	// included: what a full socket did not take of it has to be held. Default 4 KiB.
	MaxRecord int
}

const defaultMaxRecord = 4 << 10

// New returns the record layer of a connection whose handshake is complete. It
// copies the secrets.
func New(s State) (*Conn, error) {
	suite := suites[s.CipherSuite]
	if suite == nil {
		return nil, fmt.Errorf("tlsrecord: no TLS 1.3 cipher suite %#04x", s.CipherSuite)
	}
	c := &Conn{maxRecord: s.MaxRecord, maxSeals: maxSeals}
	if c.maxRecord == 0 {
		c.maxRecord = defaultMaxRecord
	}
	for _, h := range []struct {
		half   *half
		secret []byte
		seq    uint64
	}{{&c.in, s.ReadSecret, s.ReadSeq}, {&c.out, s.WriteSecret, s.WriteSeq}} {
		if err := h.half.set(suite, h.secret); err != nil {
			return nil, err
		}
		h.half.seq = h.seq
	}
	return c, nil
}

// Seal appends one record to dst. It carries the first n bytes of p, or, with n 0, an
// alert or a KeyUpdate that is due. It returns dst unchanged if there is nothing to say.
// A key that has sealed many records is changed when p is empty: that is when the peer
// has been sent everything.
func (c *Conn) Seal(dst, p []byte) (record []byte, n int) {
	switch {
	case c.ended:
		return dst, 0
	case c.failed:
		c.ended = true
		return c.out.seal(dst, typeAlert, []byte{2, c.alert}), 0
	case c.update, len(p) == 0 && c.out.seq >= c.maxSeals: // with nothing else, so that it is never taken back
		c.update = false
		dst = c.out.seal(dst, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0})
		c.out.next()
		return dst, 0
	case len(p) == 0:
		return dst, 0
	}
	n = min(len(p), c.maxRecord-overhead, maxPlain)
	return c.out.seal(dst, typeData, p[:n]), n
}

// Rewind takes the last records back, which carried data. Nothing of them may have left
// the process: their nonces are used again.
func (c *Conn) Rewind(records int) { c.out.seq -= uint64(records) }

// End appends close_notify (RFC 8446 6.1), after which nothing is sealed.
func (c *Conn) End(dst []byte) []byte {
	if c.ended {
		return dst
	}
	c.ended = true
	return c.out.seal(dst, typeAlert, []byte{1, closeNotify})
}

// Open takes bytes of the socket, cut anywhere, and appends the data in them to dst.
// Records are opened in place: the chunk is changed. A record that is incomplete is
// kept. The error is io.EOF after close_notify, an [Alert], or ErrTooManyUseless; then
// Seal may have an alert to say, and nothing more is opened.
func (c *Conn) Open(dst, chunk []byte) (plain []byte, err error) {
	for len(chunk) > 0 {
		if c.failed || c.peerEnded {
			return dst, io.EOF // what comes behind the end does not count
		}
		record, rest, err := c.cut(chunk)
		if err != nil {
			return dst, c.fail(err)
		}
		if record == nil {
			return dst, nil
		}
		if dst, err = c.open(dst, record); err != nil {
			return dst, c.fail(err)
		}
		chunk = rest
	}
	if c.peerEnded {
		return dst, io.EOF
	}
	return dst, nil
}

// Buffered returns how many bytes are kept of records and messages that are
// incomplete.
func (c *Conn) Buffered() int { return cap(c.partial) + cap(c.message) }

// Close does nothing: there is only memory.
func (c *Conn) Close() {}

// Offload returns the keys of both directions as the kernel takes them, nil if something
// of this package's is still to be said. Nothing may be buffered. The kernel keeps them
// for as long as the connection lasts, however many records that are.
func (c *Conn) Offload() (send, receive []byte) {
	if c.update || c.failed || c.ended || c.peerEnded {
		return nil, nil
	}
	return c.out.kernelInfo(), c.in.kernelInfo()
}

// fail notes an error, of which the peer is told if this side found it.
func (c *Conn) fail(err error) error {
	if err == io.EOF {
		c.peerEnded = true
		return err
	}
	c.failed = true
	alert := (*Alert)(nil)
	switch {
	case !errors.As(err, &alert):
		c.alert = unexpectedMessage
	case alert.Ours:
		c.alert = alert.Code
	default:
		c.ended = true // the peer is not told of its own alert
	}
	return err
}

// cut takes the first record off what is kept and the chunk, nil if it is
// incomplete.
func (c *Conn) cut(chunk []byte) (record, rest []byte, err error) {
	if len(c.partial) == 0 {
		n, err := recordSize(chunk)
		if err != nil {
			return nil, nil, err
		}
		if n > 0 && len(chunk) >= n {
			return chunk[:n], chunk[n:], nil
		}
		c.partial = append(c.partial, chunk...)
		return nil, nil, nil
	}
	for {
		n, err := recordSize(c.partial)
		if err != nil {
			return nil, nil, err
		}
		want := n
		if n == 0 {
			want = headerSize
		}
		take := min(want-len(c.partial), len(chunk))
		c.partial, chunk = append(c.partial, chunk[:take]...), chunk[take:]
		if len(c.partial) < want {
			return nil, nil, nil
		}
		if n > 0 {
			record, c.partial = c.partial, nil
			return record, chunk, nil
		}
	}
}

// recordSize returns how many bytes the record has that begins here, 0 if the
// header is incomplete. What cannot be a record is refused by its first bytes.
func recordSize(b []byte) (int, error) {
	if len(b) > 0 && b[0] != typeData && b[0] != typeChangeCipherSpec {
		return 0, &Alert{Code: unexpectedMessage, Ours: true} // RFC 8446 5: all are protected now
	}
	if len(b) < headerSize {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > maxSealed {
		return 0, &Alert{Code: recordOverflow, Ours: true}
	}
	return headerSize + n, nil
}

// open opens one record, and appends its data.
func (c *Conn) open(dst, record []byte) ([]byte, error) {
	if record[0] == typeChangeCipherSpec {
		return dst, &Alert{Code: unexpectedMessage, Ours: true} // RFC 8446 D.4: only during the handshake
	}
	inner, err := c.in.open(record)
	if err != nil {
		return dst, err
	}
	// RFC 8446 5.4: zeros pad the record, the type is before them.
	end := len(inner)
	for end > 0 && inner[end-1] == 0 {
		end--
	}
	if end == 0 {
		return dst, &Alert{Code: unexpectedMessage, Ours: true}
	}
	kind, content := inner[end-1], inner[:end-1]
	if len(content) > maxPlain {
		return dst, &Alert{Code: recordOverflow, Ours: true}
	}
	if kind != typeHandshake && len(c.message) > 0 {
		return dst, &Alert{Code: unexpectedMessage, Ours: true} // RFC 8446 5.1: nothing in between
	}
	if kind == typeData && len(content) > 0 {
		c.useless = 0
		c.updates = max(0, c.updates-1)
		return append(dst, content...), nil
	}
	if c.useless++; c.useless > maxUseless {
		return dst, ErrTooManyUseless
	}
	switch kind {
	case typeData:
		return dst, nil
	case typeAlert:
		return dst, openAlert(content)
	case typeHandshake:
		return dst, c.handshake(content)
	}
	return dst, &Alert{Code: unexpectedMessage, Ours: true}
}

// openAlert returns the error that an alert is. All but two end the connection
// (RFC 8446 6.2).
func openAlert(content []byte) error {
	if len(content) != 2 {
		return &Alert{Code: decodeError, Ours: true}
	}
	switch content[1] {
	case closeNotify:
		return io.EOF
	case userCanceled:
		return nil
	}
	return &Alert{Code: content[1]}
}
