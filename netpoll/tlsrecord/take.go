package tlsrecord

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
)

// ErrVersion is the error of a handshake that has agreed on an older version than TLS
// 1.3: its tls.Conn goes on.
var ErrVersion = errors.New("tlsrecord: not TLS 1.3")

// Server makes a server's handshake on conn with crypto/tls and takes the connection
// over: it returns what is left to be done with the bytes of the socket. Nothing behind
// the handshake has been read from conn. The error wraps ErrVersion when the peers agreed
// on TLS 1.2; then the tls.Conn that is returned goes on. Its NetConn has a method
// Continue(net.Conn), which has it go on over another connection.
//
// The config is cloned, because the secrets of a connection are taken from its
// KeyLogWriter. Its session ticket keys should be set, as clones do not share those that
// crypto/tls draws itself.
func Server(ctx context.Context, conn net.Conn, config *tls.Config) (*Conn, *tls.Conn, error) {
	return take(ctx, conn, config, tls.Server, "CLIENT", "SERVER")
}

// Client is Server for the other side.
func Client(ctx context.Context, conn net.Conn, config *tls.Config) (*Conn, *tls.Conn, error) {
	return take(ctx, conn, config, tls.Client, "SERVER", "CLIENT")
}

func take(ctx context.Context, conn net.Conn, config *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn, peer, me string) (*Conn, *tls.Conn, error) {
	var secrets keyLog
	config = logTo(&secrets, config)
	wire := &wire{Conn: conn}
	t := side(wire, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, t, err
	}
	state := t.ConnectionState()
	if state.Version != tls.VersionTLS13 {
		wire.Continue(conn)
		return nil, t, ErrVersion
	}
	s := State{CipherSuite: state.CipherSuite}
	var err error
	if s.ReadSecret, err = secrets.secret(peer + "_TRAFFIC_SECRET_0"); err != nil {
		return nil, t, err
	}
	if s.WriteSecret, err = secrets.secret(me + "_TRAFFIC_SECRET_0"); err != nil {
		return nil, t, err
	}
	// A server's session tickets are sealed with the secret already.
	sent := half{}
	if err := sent.set(suites[s.CipherSuite], s.WriteSecret); err != nil {
		return nil, t, err
	}
	s.WriteSeq = sent.countRecords(wire.written.Bytes())
	c, err := New(s)
	return c, t, err
}

// logTo returns a clone of the config that has crypto/tls log the secrets.
func logTo(secrets *keyLog, config *tls.Config) *tls.Config {
	config = config.Clone()
	config.KeyLogWriter = secrets
	if choose := config.GetConfigForClient; choose != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen != nil {
				chosen = chosen.Clone()
				chosen.KeyLogWriter = secrets
			}
			return chosen, err
		}
	}
	return config
}

// countRecords returns how many of the records in b are sealed with the half's
// secret.
func (h *half) countRecords(b []byte) (n uint64) {
	for len(b) >= headerSize {
		size, err := anyRecordSize(b)
		if err != nil || len(b) < size {
			break
		}
		record := bytes.Clone(b[:size])
		b = b[size:]
		h.seq = n
		if record[0] != typeData {
			continue
		}
		if _, err := h.open(record); err == nil {
			n++
		}
	}
	return n
}

// anyRecordSize is recordSize for records of all types.
func anyRecordSize(b []byte) (int, error) {
	if b[0] < typeChangeCipherSpec || b[0] > typeData {
		return 0, &Alert{Code: unexpectedMessage, Ours: true}
	}
	return recordSize(append([]byte{typeData}, b[1:headerSize]...))
}

// A wire is a connection during its handshake. It gives crypto/tls one record at a time,
// so that nothing behind the handshake is read, and keeps what was written.
type wire struct {
	net.Conn
	header  [headerSize]byte
	had     int  // bytes of the header that have been read from the connection
	given   int  // and that have been given
	left    int  // bytes of the record's body that have not been read
	over    bool // the handshake
	written bytes.Buffer
}

// Continue ends the handshake. What follows goes over another connection.
func (w *wire) Continue(conn net.Conn) { w.Conn, w.over, w.written = conn, true, bytes.Buffer{} }

// Read reads to the end of the present record at most.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.left > 0 {
		n, err := w.Conn.Read(p[:min(len(p), w.left)])
		if w.left -= n; w.left == 0 {
			w.had, w.given = 0, 0
		}
		return n, err
	}
	for w.had < headerSize {
		n, err := w.Conn.Read(w.header[w.had:])
		w.had += n
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, w.header[w.given:])
	if w.given += n; w.given == headerSize {
		w.left = int(w.header[3])<<8 | int(w.header[4])
		if w.left == 0 {
			w.had, w.given = 0, 0
		}
	}
	return n, nil
}

// maxFlight bounds what is kept of a handshake: a server's flight with a long chain
// of certificates.
const maxFlight = 256 << 10

func (w *wire) Write(p []byte) (int, error) {
	if w.over {
		return w.Conn.Write(p)
	}
	if w.written.Len()+len(p) > maxFlight {
		return 0, fmt.Errorf("tlsrecord: a handshake of more than %d bytes", maxFlight)
	}
	w.written.Write(p)
	return w.Conn.Write(p)
}

// A keyLog collects the secrets of one connection, in the format of NSS key logs.
type keyLog struct{ lines bytes.Buffer }

func (k *keyLog) Write(line []byte) (int, error) { return k.lines.Write(line) }

// secret returns the secret with a label.
func (k *keyLog) secret(label string) ([]byte, error) {
	for line := range bytes.Lines(k.lines.Bytes()) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == label {
			return hex.AppendDecode(nil, fields[2])
		}
	}
	return nil, fmt.Errorf("tlsrecord: crypto/tls has not told %s", label)
}
