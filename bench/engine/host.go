package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
)

// A host is the connection that opens a room and publishes in it. There are
// few, so each has a goroutine that reads and another that publishes.
type host struct {
	crowd *crowd
	room  *room
	conn  net.Conn

	mu      sync.Mutex      // held to write, and for what follows
	faults  report.FaultLog // guarded by mu
	closing bool            // guarded by mu; the bench ends it
	broken  error           // guarded by mu; nothing more can be published

	reader sync.WaitGroup
	in     *bufio.Reader // owned by the reader
	seq    uint32        // owned by the publisher; number of the last message

	keeps   bool   // immutable; the host keeps the room's history
	pending []byte // owned by the publisher; commands of the history that are not yet written, a comma before each
	history []byte // guarded by mu; all that were written
	asked   int    // guarded by mu; requests for the history
}

// A stageError is an error at a stage.
type stageError struct {
	stage report.Stage
	err   error
}

func (e stageError) Error() string { return fmt.Sprintf("%s: %v", e.stage, e.err) }
func (e stageError) Unwrap() error { return e.err }

var errRefused = errors.New("refused")

// openHost connects, opens the room and keeps reading until close.
func openHost(ctx context.Context, c *crowd, r *room) (*host, error) {
	conn, err := c.dialNet(ctx, r.index)
	if err != nil {
		return nil, stageError{report.StageConnect, err}
	}
	h := &host{crowd: c, room: r, conn: conn, keeps: c.classroom != nil && c.classroom.History == "host"}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	stage, err := report.StageHandshake, h.upgrade()
	if err == nil {
		stage, err = report.StageJoin, h.open()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, stageError{stage, err}
	}
	_ = conn.SetDeadline(time.Time{})
	h.reader.Go(h.read)
	return h, nil
}

func (h *host) upgrade() error {
	o := &h.crowd.options
	_ = h.conn.SetDeadline(time.Now().Add(o.Timeout))
	u, err := url.Parse(workload.Fill(o.URL, h.room.name, 0))
	if err != nil {
		return err
	}
	dialer := ws.Dialer{Header: ws.HandshakeHeaderString(strings.Join(slices.Concat(o.Headers, []string{""}), "\r\n"))}
	if o.Template.Subprotocol != "" {
		dialer.Protocols = []string{o.Template.Subprotocol}
	}
	if h.in, _, err = dialer.Upgrade(h.conn, u); h.in == nil {
		h.in = bufio.NewReader(h.conn)
	}
	return err
}

// open says what opens the room, and waits for the answer if the template has one.
func (h *host) open() error {
	_ = h.conn.SetDeadline(time.Now().Add(h.crowd.options.Timeout))
	t := &h.crowd.options.Template
	if t.Open != "" {
		fields := ""
		if cl := h.crowd.classroom; cl != nil {
			fields = `,"history":"` + cl.History + `"`
		}
		if err := h.say(h.crowd.options.Opening(h.room.name, fields)); err != nil {
			return err
		}
	}
	if t.Opened == "" {
		return nil
	}
	opened := regexp.MustCompile(t.Opened) // Template.check has compiled it
	for {
		text, err := h.message()
		if err != nil {
			return err
		}
		if m := opened.FindSubmatch(text); m != nil {
			if len(m) > 1 {
				h.room.name = string(m[1])
			}
			return nil
		}
		if h.refused(text) {
			return fmt.Errorf("%w: %s", errRefused, h.excerpt(text))
		}
	}
}

func (h *host) refused(text []byte) bool {
	t := &h.crowd.options.Template
	return t.Refused != "" && bytes.Contains(text, []byte(t.Refused))
}

// excerpt returns what may be shown of a text that the server sent.
func (h *host) excerpt(text []byte) string {
	return report.Clip(h.crowd.options.Redact(string(text)), 200)
}

// message reads the next text, and answers pings in between.
func (h *host) message() ([]byte, error) {
	text, _, err := wsutil.ReadServerData(struct {
		io.Reader
		io.Writer
	}{h.in, h})
	var closed wsutil.ClosedError
	if errors.As(err, &closed) {
		err = fmt.Errorf("closed by the server: %d %q", closed.Code, h.excerpt([]byte(closed.Reason)))
	}
	return text, err
}

// Write writes frames, whoever else writes.
func (h *host) Write(frames []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn.Write(frames)
}

// read looks at what the server sends the host until the connection ends.
func (h *host) read() {
	t := &h.crowd.options.Template
	for {
		text, err := h.message()
		if err != nil {
			h.fail(err)
			return
		}
		switch {
		case t.Ping != "" && string(text) == t.Ping:
			_ = h.say([]byte(t.Pong))
		case h.keeps && bytes.Contains(text, []byte(`"history_request"`)) && !bytes.Contains(text, []byte(`"error"`)):
			h.sendHistory()
		case h.refused(text) && !bytes.Contains(text, []byte(stamp.Marker)):
			h.mu.Lock()
			h.faults.Note(report.WhoHost, report.StagePublish, errRefused.Error(), h.excerpt(text))
			h.mu.Unlock()
		}
	}
}

// sendHistory answers with all that the host has said, in its place among the
// messages.
func (h *host) sendHistory() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	text := append([]byte(`{"type":"history","commands":[`), bytes.TrimPrefix(h.history, []byte(","))...)
	_, _ = h.conn.Write(h.crowd.socket.AppendClient(nil, ws.OpText, append(text, "]}"...))) // the publisher sees that it is broken
}

// requests returns how often the server asked for the history.
func (h *host) requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// fail notes that the connection ended, once, unless the bench ended it.
func (h *host) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing || h.broken != nil {
		return
	}
	h.broken = err
	reason, example := explain(err)
	h.faults.Note(report.WhoHost, report.StagePublish, reason, example)
}

// err returns why nothing more can be published.
func (h *host) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// say sends a text.
func (h *host) say(text []byte) error {
	_, err := h.Write(h.crowd.socket.AppendClient(nil, ws.OpText, text))
	return err
}

// close ends the room, if the template says how, and the connection.
func (h *host) close() []report.Fault {
	h.mu.Lock()
	h.closing = true
	broken := h.broken != nil
	h.mu.Unlock()
	if finish := h.crowd.options.Template.Finish; finish != "" && !broken {
		_ = h.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = h.say([]byte(workload.Fill(finish, h.room.name, 0)))
	}
	_ = h.conn.Close()
	h.reader.Wait()
	return h.faults.Faults
}
