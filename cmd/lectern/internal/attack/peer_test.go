//go:build linux

package attack

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A peer is a plain connection to the relay. It reads only when it is told to.
type peer struct {
	conn   net.Conn
	buffer []byte
	in     []byte // what came and was not looked at
}

// peerTimeout bounds what an attacker waits for one answer.
const peerTimeout = 20 * time.Second

// smallWindow has the kernel take as little as it can of what a peer does not
// read, so that the rest stays with the relay.
func smallWindow(_, _ string, raw syscall.RawConn) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the kernel takes its least
	}), err)
}

// connect returns a bare connection from an address. One that is deaf has a small
// window.
func connect(addr, from string, deaf bool) (*peer, error) {
	dialer := net.Dialer{Timeout: peerTimeout, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if deaf {
		dialer.Control = smallWindow
	}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &peer{conn: conn, buffer: make([]byte, 4096)}, nil
}

// open shakes hands, says something, and returns the answer.
func (p *peer) open(text string) (answer string, err error) {
	hello := []byte(upgradeRequest)
	if text != "" {
		hello = append(hello, textFrame(text)...)
	}
	if _, err := p.conn.Write(hello); err != nil {
		return "", err
	}
	for {
		if head, rest, ok := strings.Cut(string(p.in), "\r\n\r\n"); ok {
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				return "", fmt.Errorf("answered %.60q", head)
			}
			p.in = []byte(rest)
			break
		}
		if err := p.fill(); err != nil {
			return "", err
		}
	}
	if text == "" {
		return "", nil
	}
	return p.next()
}

func (p *peer) fill() error {
	n, err := p.conn.Read(p.buffer)
	p.in = append(p.in, p.buffer[:n]...)
	return err
}

// next returns the next text message, past any ping.
func (p *peer) next() (string, error) {
	for {
		op, payload, rest, ok := cutFrame(p.in)
		if !ok {
			if err := p.fill(); err != nil {
				return "", err
			}
			continue
		}
		text := string(payload)
		p.in = append(p.in[:0], rest...)
		switch op {
		case opText:
			return text, nil
		case opPing:
			if _, err := p.conn.Write(append(appendHead(nil, opPong, len(text)), text...)); err != nil {
				return "", err
			}
		case opClose:
			return "", fmt.Errorf("closed with %.80q", text)
		}
	}
}

// An answer is what attackers look at in a message of the relay.
type answer struct {
	Type, Code, Token, Epoch, Error string
	ID                              int
	Seq                             uint64
}

// events are messages that answer nothing.
var events = map[string]bool{
	"presence": true, "viewers": true, "history_request": true, "command": true, "host_left": true,
	"host_back": true, "host_changed": true, "history": true,
}

// hear returns the next message that is no event.
func (p *peer) hear() (a answer, err error) {
	for {
		text, err := p.next()
		if err != nil {
			return a, err
		}
		a = answer{}
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return a, fmt.Errorf("%.80q: %w", text, err)
		}
		if !events[a.Type] {
			return a, nil
		}
	}
}

func (p *peer) say(text string) error {
	_, err := p.conn.Write(textFrame(text))
	return err
}

// ask says something and returns the answer.
func (p *peer) ask(text string) (answer, error) {
	if err := p.say(text); err != nil {
		return answer{}, err
	}
	return p.hear()
}

// drain reads and forgets until the connection ends, and answers no ping.
func (p *peer) drain() {
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{p.conn}, make([]byte, 32<<10))
}

// reset closes with RST, so that no port stays in TIME_WAIT.
func (p *peer) reset() {
	socket := p.conn
	if t, ok := socket.(*tls.Conn); ok {
		socket = t.NetConn()
	}
	_ = socket.(*net.TCPConn).SetLinger(0)
	_ = socket.Close()
}
