//go:build linux

package attack

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lectern/netpoll/selfsigned"
	"lectern/netpoll/tlsrecord"
)

// strangerTLS is what attackers and innocents speak: whose certificate it is does not
// matter here.
func strangerTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "relay.test"}
}

// withTLS gives the relay a certificate.
func withTLS(s *scene) error {
	pair, err := selfsigned.New(24*time.Hour, "relay.test")
	if err != nil {
		return err
	}
	certFile, keyFile, err := pair.Write(s.t.TempDir())
	s.setting.flags = append(s.setting.flags, "--tls-cert", certFile, "--tls-key", keyFile)
	s.secure = true
	return err
}

// dialSecure returns a connection after its handshake, all within the limit.
func dialSecure(addr, from string, limit time.Duration) (*tls.Conn, error) {
	dialer := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(limit))
	t := tls.Client(conn, strangerTLS())
	if err := t.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}

// dialRawSecure returns a socket and the record layer of a connection from the innocent
// address.
func dialRawSecure(addr string) (fd int, records *tlsrecord.Conn, err error) {
	dialer := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(innocentAddress)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return -1, nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if records, _, err = tlsrecord.Client(context.Background(), conn, strangerTLS()); err != nil {
		return -1, nil, err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	control := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, records, errors.Join(control, err)
}

// A sealer makes records that no library would send. It speaks TLS 1.3 with
// TLS_AES_128_GCM_SHA256.
type sealer struct {
	conn   net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newSealer makes a handshake and takes the client's secret from it.
func newSealer(addr, from string) (*sealer, error) {
	dialer := net.Dialer{Timeout: peerTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(peerTimeout))
	var log strings.Builder
	config := strangerTLS()
	config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, &log
	t := tls.Client(conn, config)
	if err := t.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := &sealer{conn: conn}
	for line := range strings.Lines(log.String()) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			if err != nil {
				return nil, err
			}
			s.use(secret)
		}
	}
	if suite := t.ConnectionState().CipherSuite; s.aead == nil || suite != tls.TLS_AES_128_GCM_SHA256 {
		_ = conn.Close()
		return nil, fmt.Errorf("no secret of %s", tls.CipherSuiteName(suite))
	}
	return s, nil
}

func (s *sealer) expand(label string, size int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(append(info, byte(len(label))), label...), 0)
	out, _ := hkdf.Expand(sha256.New, s.secret, string(info), size)
	return out
}

func (s *sealer) use(secret []byte) {
	s.secret, s.seq = secret, 0
	block, _ := aes.NewCipher(s.expand("key", 16))
	s.aead, _ = cipher.NewGCM(block)
	s.iv = s.expand("iv", 12)
}

const (
	recordHandshake = 22
	recordData      = 23
)

// record appends a record of any type.
func (s *sealer) record(b []byte, kind byte, content ...byte) []byte {
	nonce := append([]byte(nil), s.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^s.seq)
	s.seq++
	header := binary.BigEndian.AppendUint16([]byte{recordData, 3, 3}, uint16(len(content)+1+16))
	return s.aead.Seal(append(b, header...), nonce, append(content, kind), header)
}

// keyUpdate appends a change of this side's key, and asks for one of the other's.
func (s *sealer) keyUpdate(b []byte) []byte {
	b = s.record(b, recordHandshake, 24, 0, 0, 1, 1)
	s.use(s.expand("traffic upd", sha256.Size))
	return b
}
