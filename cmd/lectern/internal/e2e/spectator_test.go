package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// fullSize runs the tests of crowds at the size in their comments; see `make soak`.
var fullSize = flag.Bool("full", false, "run the tests of what the relay withstands at full size")

// sized returns how large a test is to be: at full size, ordinarily, and with the
// race detector.
func sized[T any](full, ordinary, race T) T {
	switch {
	case *fullSize:
		return full
	case raced:
		return race
	default:
		return ordinary
	}
}

// spectatorTimeout bounds each connection of a spectator.
const spectatorTimeout = 5 * time.Minute

// A spectator is a viewer on a bare socket that costs little, for tests with
// thousands of them.
type spectator struct {
	conn     net.Conn
	in       *bufio.Reader
	text     []byte // what next returned, or as much as came of it
	begin    []byte // of a message, kept for its memory
	numbered bool
	code     string
	me       struct {
		ID           int
		Token, Epoch string
		Seq          uint64 // of the last broadcast that it has got
		Recovered    bool
	}
}

// masked returns a client's message as a frame.
func masked(text string) []byte {
	return ws.MustCompileFrame(ws.MaskFrameInPlaceWith(ws.NewTextFrame([]byte(text)), [4]byte{1, 2, 3, 4}))
}

// A dismissal is the relay's close frame.
type dismissal struct{ code ws.StatusCode }

func (d dismissal) Error() string { return fmt.Sprintf("closed with %d", d.code) }

// attend joins a room. More holds further fields of the join.
func attend(addr, code string, numbered bool, more string) (*spectator, error) {
	ctx, cancel := context.WithTimeout(context.Background(), spectatorTimeout)
	defer cancel()
	dialer := ws.Dialer{ReadBufferSize: 16 << 10, WriteBufferSize: 512}
	conn, in, _, err := dialer.Dial(ctx, "ws://"+addr+"/")
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReaderSize(conn, 16<<10)
	}
	s := &spectator{conn: conn, in: in, numbered: numbered, code: code}
	if err := s.join(more); err != nil {
		reset(conn)
		return nil, err
	}
	return s, nil
}

func (s *spectator) join(more string) error {
	if err := s.conn.SetDeadline(time.Now().Add(spectatorTimeout)); err != nil {
		return err
	}
	if _, err := s.conn.Write(masked(fmt.Sprintf(`{"type":"join","code":"%s","numbered":%v%s}`, s.code, s.numbered, more))); err != nil {
		return err
	}
	text, err := s.next()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(text, []byte(`{"type":"joined",`)) {
		return fmt.Errorf("join was answered %s", text)
	}
	return json.Unmarshal(text, &s.me)
}

// comeBack is the spectator's next connection.
func (s *spectator) comeBack(addr string) (*spectator, error) {
	return attend(addr, s.code, s.numbered, fmt.Sprintf(`,"token":"%s","epoch":"%s","seq":%d`, s.me.Token, s.me.Epoch, s.me.Seq))
}

// header reads up to the next text message, and returns its length.
func (s *spectator) header() (length int, err error) {
	for {
		h, err := ws.ReadHeader(s.in)
		if err != nil {
			return 0, err
		}
		if !h.Fin || h.Masked || h.Rsv != 0 {
			return 0, fmt.Errorf("a frame that begins with %+v", h)
		}
		if h.OpCode == ws.OpText {
			return int(h.Length), nil
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s.in, payload); err != nil {
			return 0, err
		}
		switch h.OpCode {
		case ws.OpPing:
			if err := ws.WriteFrame(s.conn, ws.MaskFrame(ws.NewPongFrame(payload))); err != nil {
				return 0, err
			}
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(payload)
			_ = ws.WriteFrame(s.conn, ws.MaskFrame(ws.NewCloseFrame(payload)))
			return 0, dismissal{code}
		default:
			return 0, fmt.Errorf("a frame that begins with %+v", h)
		}
	}
}

// next returns the next text message, which is valid until it is called again.
func (s *spectator) next() ([]byte, error) {
	s.text = s.text[:0]
	n, err := s.header()
	if err != nil {
		return nil, err
	}
	return s.rest(n)
}

// rest returns the n bytes of the message whose header was read.
func (s *spectator) rest(n int) ([]byte, error) {
	s.text = slices.Grow(s.text[:0], n)[:n]
	got, err := io.ReadFull(s.in, s.text)
	s.text = s.text[:got]
	return s.text, err
}

// A script is what a host says: messages from number 1, all of the same length, and
// another one at the end.
type script struct {
	begin string // before the number of seven digits
	end   string // after it
	size  int    // of a message
}

// newScript returns a script with messages of so many bytes.
func newScript(size int) script {
	s := script{begin: `"type":"command","data":"`, end: `"}`, size: size}
	s.end = " " + strings.Repeat("x", max(0, size-len(s.begin)-len(s.end)-9)) + s.end
	return s
}

// message returns the message with the number n.
func (s script) message(n uint64) string { return fmt.Sprintf("{%s%07d%s", s.begin, n, s.end) }

const theEnd = `"type":"command","data":"the end"}`

// follow reads and checks broadcasts up to the end of the script.
func (s *spectator) follow(says script) error { return s.followUpTo(math.MaxUint64, says) }

// followUpTo reads and checks broadcasts up to a number, or to the end.
func (s *spectator) followUpTo(last uint64, says script) error {
	for over := false; s.me.Seq < last && !over; {
		text, err := s.next()
		if err != nil {
			return err
		}
		if over, err = s.check(text, says); err != nil {
			return err
		}
	}
	return nil
}

// check checks a message, and whether it ends the script.
func (s *spectator) check(text []byte, says script) (over bool, err error) {
	if isEvent(text) {
		return false, nil
	}
	s.me.Seq++
	begin := append(s.begin[:0], '{')
	if s.numbered {
		begin = fmt.Appendf(begin, `"seq":%d,`, s.me.Seq)
	}
	rest, ok := bytes.CutPrefix(text, begin)
	if ok && string(rest) == theEnd {
		return true, nil
	}
	s.begin = fmt.Appendf(append(begin, says.begin...), "%07d", s.me.Seq)
	if rest, ok = bytes.CutPrefix(text, s.begin); !ok || string(rest) != says.end {
		return false, fmt.Errorf("heard %.60q of %d bytes as number %d", text, len(text), s.me.Seq)
	}
	return false, nil
}

// isEvent reports whether a message is about other viewers, or about the end of the
// connection.
func isEvent(text []byte) bool {
	for _, kind := range []string{"viewers", "closed", "host_left", "host_back"} {
		if bytes.HasPrefix(text, []byte(`{"type":"`+kind+`"`)) {
			return true
		}
	}
	return false
}

// isCut reports whether an error can come from the relay closing a viewer as too slow,
// which also happens without a close frame if there was no room for it.
func isCut(err error) bool {
	if d, ok := errors.AsType[dismissal](err); ok {
		return d.code == 4100
	}
	_, isNet := errors.AsType[*net.OpError](err)
	return isNet && !isTimeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isDismissal(err error) bool {
	_, ok := errors.AsType[dismissal](err)
	return ok
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// A crowd runs spectators, with a bound on how many connect at a time, and collects their
// errors.
type crowd struct {
	all     sync.WaitGroup
	dialing chan struct{}

	mu     sync.Mutex
	errors []error // guarded by mu
}

func newCrowd() *crowd { return &crowd{dialing: make(chan struct{}, 64)} }

// attend has a spectator join when it is its turn.
func (c *crowd) attend(dial func() (*spectator, error)) (*spectator, error) {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	return dial()
}

// run begins a spectator's life.
func (c *crowd) run(name string, life func() error) {
	c.all.Go(func() {
		if err := life(); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.errors = append(c.errors, fmt.Errorf("%s: %w", name, err))
		}
	})
}

// failed returns what has gone wrong, the first few of it in detail.
func (c *crowd) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.errors); n > 5 {
		return errors.Join(append(c.errors[:5:5], fmt.Errorf("and %d more", n-5))...)
	}
	return errors.Join(c.errors...)
}
