package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Opcodes, RFC 6455 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// A wireFrame is a frame that is to be sent, good or bad, or a whole message or
// control frame that was received.
type wireFrame struct {
	op      byte
	rsv     byte // the three reserved bits
	more    bool // FIN is not set
	payload []byte
}

func textFrame(payload string) wireFrame   { return wireFrame{op: opText, payload: []byte(payload)} }
func binaryFrame(payload string) wireFrame { return wireFrame{op: opBinary, payload: []byte(payload)} }
func contFrame(payload string) wireFrame {
	return wireFrame{op: opContinuation, payload: []byte(payload)}
}
func pingFrame(payload string) wireFrame { return wireFrame{op: opPing, payload: []byte(payload)} }
func pongFrame(payload string) wireFrame { return wireFrame{op: opPong, payload: []byte(payload)} }

// closeFrame has a code and a reason; wireFrame{op: opClose} has neither.
func closeFrame(code int, reason string) wireFrame {
	return wireFrame{op: opClose, payload: append([]byte{byte(code >> 8), byte(code)}, reason...)}
}

func (f wireFrame) notLast() wireFrame {
	f.more = true
	return f
}

func (f wireFrame) reserved(bits byte) wireFrame {
	f.rsv = bits
	return f
}

func (f wireFrame) String() string {
	return fmt.Sprintf("opcode %d with %d bytes %.80q", f.op, len(f.payload), f.payload)
}

// fragments cuts a message into frames of size bytes. Unless it fits into one,
// the last is shorter, if need be empty, as the suite sends it.
func fragments(message wireFrame, size int) []wireFrame {
	if len(message.payload) <= size {
		return []wireFrame{message}
	}
	var all []wireFrame
	f, rest := message.notLast(), message.payload
	for ; len(rest) >= size; rest = rest[size:] {
		f.payload = rest[:size]
		all = append(all, f)
		f.op = opContinuation
	}
	return append(all, wireFrame{op: opContinuation, payload: rest})
}

// How the bytes of several frames are spread over packets; any other number is
// so many bytes in each.
const (
	together  = 0
	framewise = -1
	octetwise = 1
)

const (
	patience = 20 * time.Second // for what must come
	silence  = 200 * time.Millisecond

	// Between so few packets the client pauses, so that most of them are read
	// apart.
	fewPackets = 200
	between    = 200 * time.Microsecond
)

// A fuzzer is a WebSocket client on a bare socket. It sends any bytes, accepts only what
// RFC 6455 allows a server, and shares no code with the relay.
type fuzzer struct {
	t     testing.TB
	conn  net.Conn
	in    *bufio.Reader
	held  []byte // encoded, and to be sent before anything else
	masks uint32

	inflates   bool // compression was agreed on
	compressed int  // messages that came compressed
}

// handshakeKey is the example of RFC 6455 1.3.
const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// upgradeRequest returns the head of a correct opening handshake.
func upgradeRequest(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + handshakeKey + "\r\n\r\n"
}

// connectFuzzer opens a connection, and nothing more.
func connectFuzzer(t testing.TB, addr string) *fuzzer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &fuzzer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// dialFuzzer opens a WebSocket.
func dialFuzzer(t testing.TB, addr, path string) *fuzzer {
	t.Helper()
	f := connectFuzzer(t, addr)
	f.write([]byte(upgradeRequest(path)))
	f.expectUpgrade()
	return f
}

// response reads the head of an HTTP response, and its body unless the status
// is 101.
func (f *fuzzer) response() (*http.Response, string) {
	f.t.Helper()
	f.await(patience)
	r, err := http.ReadResponse(f.in, nil)
	if err != nil {
		f.t.Fatalf("no HTTP response: %v", err)
	}
	if r.StatusCode == http.StatusSwitchingProtocols {
		return r, ""
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Fatalf("body of the HTTP response: %v", err)
	}
	return r, string(body)
}

// expectUpgrade reads the answer to upgradeRequest, RFC 6455 4.2.2.
func (f *fuzzer) expectUpgrade() {
	f.t.Helper()
	r, body := f.response()
	if r.StatusCode != http.StatusSwitchingProtocols {
		f.t.Fatalf("the handshake was answered with %s %s", r.Status, body)
	}
	sum := sha1.Sum([]byte(handshakeKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if accept := r.Header.Get("Sec-WebSocket-Accept"); accept != base64.StdEncoding.EncodeToString(sum[:]) {
		f.t.Errorf("wrong Sec-WebSocket-Accept %q", accept)
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
		f.t.Errorf("wrong upgrade headers: %v", r.Header)
	}
	for _, name := range []string{"Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} {
		if value := r.Header.Get(name); value != "" {
			f.t.Errorf("%s: %s, which nobody asked for", name, value)
		}
	}
}

func (f *fuzzer) await(d time.Duration) { _ = f.conn.SetDeadline(time.Now().Add(d)) }

// write sends bytes as they are.
func (f *fuzzer) write(p []byte) {
	f.t.Helper()
	f.await(patience)
	if _, err := f.conn.Write(p); err != nil {
		f.t.Fatal(err)
	}
}

// encode appends a masked frame. The length is in the fewest bytes.
func (f *fuzzer) encode(b []byte, frame wireFrame) []byte {
	first := frame.op | frame.rsv<<4
	if !frame.more {
		first |= 0x80
	}
	switch n := len(frame.payload); {
	case n < 126:
		b = append(b, first, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, first, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, first, 0x80|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	f.masks++
	key := f.masks * 0x9E3779B1 // another mask for each frame, none of them 0
	mask := [4]byte{byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}
	b = append(b, mask[:]...)
	for i, c := range frame.payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

// send sends what a turn says.
func (f *fuzzer) send(t turn) {
	f.t.Helper()
	stream := f.held
	var ends []int // of packets
	for _, frame := range t.say {
		stream = f.encode(stream, frame)
		if t.cut == framewise {
			ends = append(ends, len(stream))
		}
	}
	stream, f.held = stream[:len(stream)-t.hold], stream[len(stream)-t.hold:]
	if t.cut > 0 {
		for end := t.cut; end < len(stream); end += t.cut {
			ends = append(ends, end)
		}
	}
	if t.cut != framewise {
		ends = append(ends, len(stream))
	}
	sent := 0
	for i, end := range ends {
		if i > 0 && len(ends) <= fewPackets {
			time.Sleep(between)
		}
		f.write(stream[sent:end])
		sent = end
	}
}

// next reads a message, or a control frame that comes before or within it.
func (f *fuzzer) next() wireFrame {
	f.t.Helper()
	var message wireFrame
	for begun := false; ; {
		frame := f.frame()
		switch {
		case frame.op >= opClose:
			if begun {
				f.t.Fatal("this client does not take control frames between fragments")
			}
			return frame
		case begun != (frame.op == opContinuation):
			f.t.Fatalf("the server sent a frame out of order: %v", frame)
		case !begun:
			message = frame
		default:
			message.payload = append(message.payload, frame.payload...)
		}
		if begun = true; !frame.more {
			message.more = false
			if message.rsv == rsv1 {
				message.rsv, message.payload = 0, f.inflate(message.payload)
			}
			return message
		}
	}
}

// frame reads one frame and checks it.
func (f *fuzzer) frame() wireFrame {
	f.t.Helper()
	f.await(patience)
	read := func(n int) []byte {
		p := make([]byte, n)
		if _, err := io.ReadFull(f.in, p); err != nil {
			f.t.Fatalf("no frame: %v", err)
		}
		return p
	}
	head := read(2)
	frame := wireFrame{op: head[0] & 0xF, rsv: head[0] >> 4 & 7, more: head[0]&0x80 == 0}
	if head[1]&0x80 != 0 {
		f.t.Fatal("the server masked a frame (RFC 6455 5.1)")
	}
	length := int(head[1])
	if length >= 126 {
		fewest := map[int]int{126: 126, 127: 1 << 16}[length]
		extended := read(map[int]int{126: 2, 127: 8}[length])
		length = 0
		for _, b := range extended {
			length = length<<8 | int(b)
		}
		if length < fewest || length > 1<<30 {
			f.t.Fatalf("the server sent the length %d as %x", length, extended)
		}
	}
	switch frame.op {
	case opContinuation, opText, opBinary:
	case opClose, opPing, opPong:
		if length > 125 || frame.more {
			f.t.Fatalf("the server sent a control frame of %d bytes, FIN %t (RFC 6455 5.5)", length, !frame.more)
		}
	default:
		f.t.Fatalf("the server sent opcode %d", frame.op)
	}
	if isMessage := frame.op == opText || frame.op == opBinary; frame.rsv != 0 && !(f.inflates && isMessage && frame.rsv == rsv1) {
		f.t.Fatalf("the server set reserved bits %03b", frame.rsv)
	}
	frame.payload = read(length)
	return frame
}

// expect reads what must be a certain message or control frame.
func (f *fuzzer) expect(want wireFrame) {
	f.t.Helper()
	if got := f.next(); got.op != want.op || !bytes.Equal(got.payload, want.payload) {
		f.t.Fatalf("heard %v, want %v", got, want)
	}
}

// expectClose reads a close frame with the code, 0 if it must have none. Before
// it may come some or all of the maybe frames, in their order.
func (f *fuzzer) expectClose(code int, maybe ...wireFrame) {
	f.t.Helper()
	got := f.next()
	for ; got.op != opClose && len(maybe) > 0; got, maybe = f.next(), maybe[1:] {
		if got.op != maybe[0].op || !bytes.Equal(got.payload, maybe[0].payload) {
			f.t.Fatalf("heard %v, want %v or a close frame", got, maybe[0])
		}
	}
	p := got.payload
	switch {
	case got.op != opClose:
		f.t.Fatalf("heard %v, want a close frame with %d", got, code)
	case len(p) == 0 && code == 0:
	case len(p) < 2 || int(p[0])<<8|int(p[1]) != code:
		f.t.Fatalf("closed with %x %q, want %d", p[:min(2, len(p))], p[min(2, len(p)):], code)
	case !utf8.Valid(p[2:]):
		f.t.Fatalf("the close reason %q is not UTF-8", p[2:])
	}
}

// expectEnd makes sure that the server ends the TCP connection, in order, while
// this side has not ended it.
func (f *fuzzer) expectEnd() {
	f.t.Helper()
	f.await(patience)
	if b, err := f.in.ReadByte(); !errors.Is(err, io.EOF) {
		f.t.Fatalf("read %#x, %v instead of the connection's end", b, err)
	}
}

// expectSilence makes sure that nothing comes for a while.
func (f *fuzzer) expectSilence() {
	f.t.Helper()
	f.await(silence)
	if p, err := f.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		f.t.Fatalf("read %x, %v; nothing may come yet", p, err)
	}
}
