package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/wire"
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
	buf    []byte // owned by the reader; not yet complete
	seq    uint32 // owned by the publisher; number of the last message

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
	_ = h.conn.SetDeadline(time.Now().Add(h.crowd.options.Timeout))
	if _, err := h.conn.Write([]byte(workload.Fill(h.crowd.socket.Request(), h.room.name, 0))); err != nil {
		return err
	}
	return h.fill(h.crowd.socket.Answer)
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
		if err := h.send(ws.OpText, h.crowd.options.Opening(h.room.name, fields)); err != nil {
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

// fill reads until take takes some of what came.
func (h *host) fill(take func([]byte) (used int, err error)) error {
	for {
		used, err := take(h.buf)
		if h.buf = h.buf[used:]; used > 0 || err != nil {
			return err
		}
		if cap(h.buf)-len(h.buf) < 4096 {
			h.buf = append(make([]byte, 0, 2*len(h.buf)+8192), h.buf...)
		}
		n, err := h.conn.Read(h.buf[len(h.buf):cap(h.buf)])
		if h.buf = h.buf[:len(h.buf)+n]; n == 0 && err != nil {
			return err
		}
	}
}

// message reads the next text, and answers pings in between. Fragments come
// one by one: what servers say to hosts fits into a frame.
func (h *host) message() ([]byte, error) {
	for {
		var f wire.Frame
		err := h.fill(func(b []byte) (used int, err error) {
			f, used, _, err = h.crowd.socket.Parse(b)
			return used, err
		})
		switch {
		case err != nil:
			return nil, err
		case f.Op == ws.OpPing:
			if err := h.send(ws.OpPong, f.Payload); err != nil {
				return nil, err
			}
		case f.Op == ws.OpClose:
			return nil, fmt.Errorf("closed by the server: %q", h.excerpt(f.Payload))
		case f.Op != ws.OpPong:
			return f.Payload, nil
		}
	}
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
			_ = h.send(ws.OpText, []byte(t.Pong))
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

// send writes one frame.
func (h *host) send(op ws.OpCode, payload []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.conn.Write(h.crowd.socket.AppendClient(nil, op, payload))
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
		_ = h.send(ws.OpText, []byte(workload.Fill(finish, h.room.name, 0)))
	}
	_ = h.conn.Close()
	h.reader.Wait()
	return h.faults.Faults
}
