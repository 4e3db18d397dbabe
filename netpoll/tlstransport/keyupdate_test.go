//go:build linux

package tlstransport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"lectern/netpoll"
	"lectern/netpoll/tlsrecord"
)

// A rekeyer is a client of TLS 1.3 that asks for new keys. It reads with tlsrecord, and
// writes with its own few lines.
type rekeyer struct {
	*net.TCPConn
	records *tlsrecord.Conn
	secret  []byte
	seq     uint64
}

func newRekeyer(t *testing.T, c *net.TCPConn) *rekeyer {
	var log strings.Builder
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &log})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("the peers agree on ", tls.CipherSuiteName(suite))
	}
	secret := func(label string) []byte {
		_, line, _ := strings.Cut(log.String(), label+" ")
		fields := strings.Fields(line)
		b, err := hex.DecodeString(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := &rekeyer{TCPConn: c, secret: secret("CLIENT_TRAFFIC_SECRET_0")}
	var err error
	r.records, err = tlsrecord.New(tlsrecord.State{
		CipherSuite: tls.TLS_AES_128_GCM_SHA256, ReadSecret: secret("SERVER_TRAFFIC_SECRET_0"), WriteSecret: r.secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rekeyer) expand(label string, size int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(size)), byte(len(label)))
	out, err := hkdf.Expand(sha256.New, r.secret, string(append(append(info, label...), 0)), size)
	if err != nil {
		panic(err)
	}
	return out
}

// seal appends a record of a type.
func (r *rekeyer) seal(b []byte, kind byte, content ...byte) []byte {
	block, err := aes.NewCipher(r.expand("key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := r.expand("iv", 12)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^r.seq)
	r.seq++
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(content)+17))
	return aead.Seal(append(b, header...), nonce, append(content, kind), header)
}

// keyUpdate appends a new key of this side, and asks for one of the other.
func (r *rekeyer) keyUpdate(b []byte) []byte {
	b = r.seal(b, 22, 24, 0, 0, 1, 1)
	r.secret, r.seq = r.expand("traffic upd", 32), 0
	return b
}

// A fountain has much to send for each byte that it receives: numbers that count up.
type fountain struct {
	echo
	next uint32
}

const gush = 100_000 // numbers

func (f *fountain) Receive(p []byte) {
	for range len(p) * gush {
		f.due = binary.BigEndian.AppendUint32(f.due, f.next)
		f.next++
	}
}

func (f *fountain) Wants() (bool, bool) { return true, true }

// TestKeysChangeWhileTheSocketIsFull asks for new keys again and again while batches of
// records are cut off and taken back. Each record opens in its turn: none was sealed
// twice under a number, and no change of keys was taken back.
func TestKeysChangeWhileTheSocketIsFull(t *testing.T) {
	server, _ := certificate(t)
	server.SessionTicketsDisabled = true // the client's library would have read them
	r := serveSessions(t, Config{TLS: server}, netpoll.Config{}, func(r *relay, w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		f := &fountain{echo: echo{conn: c, closed: r.closed}}
		r.Accept(w, c, c.Peer(), func() { f.begun = true })
		return f
	})
	raw := r.dial(t)
	_ = raw.SetReadBuffer(16 << 10)
	c := newRekeyer(t, raw)
	const asks = 12
	var plain []byte
	chunk := make([]byte, 64<<10)
	for range asks {
		wire := c.keyUpdate(c.seal(nil, 23, 'x'))
		for len(wire) > 0 { // also cut
			n := 1 + rand.IntN(len(wire))
			if _, err := c.Write(wire[:n]); err != nil {
				t.Fatal(err)
			}
			wire = wire[n:]
		}
		for want := len(plain) + gush; len(plain) < want; { // not all of it
			n, err := c.Read(chunk[:1+rand.IntN(len(chunk))])
			if err == nil {
				plain, err = c.records.Open(plain, chunk[:n])
			}
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(plain), err)
			}
			if rand.IntN(20) == 0 {
				time.Sleep(time.Millisecond) // the socket fills
			}
		}
	}
	for len(plain) < asks*gush*4 {
		n, err := c.Read(chunk)
		if err == nil {
			plain, err = c.records.Open(plain, chunk[:n])
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(plain), err)
		}
	}
	for i := range asks * gush {
		if n := binary.BigEndian.Uint32(plain[4*i:]); n != uint32(i) {
			t.Fatalf("number %d came as %d", i, n)
		}
	}
	blocked := uint64(0)
	for _, w := range r.pool.Workers() {
		blocked += w.Stats().Blocked
	}
	if blocked == 0 {
		t.Error("the socket was never full")
	}
}

// TestAFullSocketOfEachVersion has a client of crypto/tls read slowly.
func TestAFullSocketOfEachVersion(t *testing.T) {
	overEach(t, func(t *testing.T, version uint16) {
		r := serveSessions(t, Config{}, netpoll.Config{}, func(r *relay, w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
			f := &fountain{echo: echo{conn: c, closed: r.closed}}
			r.Accept(w, c, c.Peer(), func() { f.begun = true })
			return f
		})
		c := tls.Client(r.dial(t), r.version(version))
		const asks = 40
		if _, err := c.Write(make([]byte, asks)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the socket is full", func() bool {
			blocked := uint64(0)
			for _, w := range r.pool.Workers() {
				blocked += w.Stats().Blocked
			}
			return blocked > 0
		})
		if held := r.held.Load(); held > netpoll.MaxRest+2*legacyBytes {
			t.Errorf("%d bytes are held", held)
		}
		got := new(bytes.Buffer)
		if _, err := io.CopyN(got, c, asks*gush*4); err != nil {
			t.Fatal(err)
		}
		for i := range asks * gush {
			if n := binary.BigEndian.Uint32(got.Bytes()[4*i:]); n != uint32(i) {
				t.Fatalf("number %d came as %d", i, n)
			}
		}
	})
}
