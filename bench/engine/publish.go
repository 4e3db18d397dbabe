package engine

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

const (
	writeBatch = 64 << 10 // bytes that go into one write of a host that is late

	// lastWrite is how long the server may take for a write that is on its way
	// when a phase is broken off.
	lastWrite = 500 * time.Millisecond

	// The server may lose a fence, so it is sent again while a viewer has not seen
	// it, after this time. A fence that all have seen is not repeated: repeating
	// would add to the server's CPU for each delivery.
	fences     = 3
	fenceEvery = 500 * time.Millisecond

	// preciseHosts is how many hosts may have a thread each for exact times.
	preciseHosts = 8

	// hostNice is the priority of such a thread, where the system allows it: on
	// a busy machine messages would be late before they are sent.
	hostNice = -10
)

// ownThread gives the calling goroutine a thread of its own with priority, until
// release is called. The thread must not end with the goroutine: what it has
// started would be told of its death.
func ownThread() (release func()) {
	runtime.LockOSThread()
	tid := unix.Gettid()
	before, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil || unix.Setpriority(unix.PRIO_PROCESS, tid, hostNice) != nil {
		return runtime.UnlockOSThread // without the right to, it goes on as it is
	}
	const rawZero = 20 // the system call counts priorities down from here
	return func() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, rawZero-before) // what could be raised can be lowered
		runtime.UnlockOSThread()
	}
}

// A load is what a host is to publish.
type load struct {
	kind  byte
	start int64   // when the first message is due, nanoseconds of the run's clock
	rate  float64 // messages a second
	count uint32  // messages
}

// due returns when message k, from 0, is due.
func (l load) due(k uint32) int64 { return l.start + int64(math.Round(float64(k)*1e9/l.rate)) }

// A sent is what a host has published.
type sent struct {
	count uint32            // messages
	late  *report.Histogram // from due to the write
}

// begin has the room expect what comes next, measured or not.
func (h *host) begin(kind byte) { h.room.begin(kind, h.seq+1) }

// end says that the phase is over: the room expects nothing after the last
// message.
func (h *host) end() { h.room.close(h.seq + 1) }

// publish sends the load, each message when it is due or as soon as the server
// takes it, and returns early when ctx ends or the connection breaks.
func (h *host) publish(ctx context.Context, l load) (s sent) {
	clock, out := h.crowd.clock, h.outline()
	s.late = report.NewHistogram()
	_ = h.conn.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = h.conn.SetWriteDeadline(time.Now().Add(lastWrite)) })
	defer stop()

	var buf []byte
	for k := uint32(0); k < l.count && ctx.Err() == nil; {
		h.sleepUntil(ctx, l.due(k))
		now := clock.Now()
		buf = buf[:0]
		first := k
		for ; k < l.count && l.due(k) <= now && len(buf) < writeBatch; k++ {
			due := l.due(k)
			buf = h.appendMessage(buf, out, l.kind, due)
			s.count++
			s.late.Record((now - due) / 1e3)
		}
		if err := h.write(buf); err != nil {
			h.seq -= k - first // the room does not expect what may not have been sent
			s.count -= k - first
			h.fail(fmt.Errorf("publish: %w", err))
			break
		}
	}
	return s
}

// sleepUntil waits for the moment at in pieces, so that ctx can end it.
func (h *host) sleepUntil(ctx context.Context, at int64) {
	const piece = int64(100 * time.Millisecond)
	clock := h.crowd.clock
	for ctx.Err() == nil {
		now := clock.Now()
		if at-now <= piece {
			clock.SleepUntil(at)
			return
		}
		clock.SleepUntil(now + piece)
	}
}

func (h *host) write(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return h.broken
	}
	_, err := h.conn.Write(buf)
	if err == nil && h.keeps {
		h.history = append(h.history, h.pending...)
	}
	h.pending = h.pending[:0]
	return err
}

// An outline is what all messages of a host have in common.
type outline struct {
	before, after string // around the payload
	size          int    // bytes of the payload
}

func (h *host) outline() (o outline) {
	o.before, o.after, _ = strings.Cut(workload.Fill(h.crowd.options.Template.Publish, h.room.name, 0), workload.PayloadMark)
	o.size = h.crowd.options.Size - len(o.before) - len(o.after)
	return o
}

// appendMessage adds the frame of the next message, and puts into the record what
// viewers will see of it.
func (h *host) appendMessage(buf []byte, o outline, kind byte, due int64) []byte {
	h.seq++
	s := stamp.Stamp{Kind: kind, Room: h.room.tag, Seq: h.seq, Due: due, Size: o.size}
	text := append(make([]byte, 0, len(o.before)+o.size+len(o.after)), o.before...)
	text = append(s.AppendWith(text, h.crowd.text), o.after...)
	if h.room.record != nil {
		h.room.record.put(&entry{Stamp: s, text: text})
	}
	if h.keeps {
		h.pending = append(append(h.pending, ',', '"'), text[len(o.before):len(text)-len(o.after)]...)
		h.pending = append(h.pending, '"')
	}
	h.room.newest.Store(h.seq)
	return h.crowd.socket.AppendClient(buf, ws.OpText, text)
}

// fence publishes the message that ends the phase. A viewer that sees it has seen
// all messages before it.
func (h *host) fence(kind byte) {
	_ = h.conn.SetWriteDeadline(time.Now().Add(h.crowd.options.Timeout))
	_ = h.write(h.appendMessage(nil, h.outline(), kind, h.room.fence())) // what broke is noted
}
