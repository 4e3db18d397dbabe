package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/wire"
	"lectern/frame"

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
	count uint32        // messages
	late  report.Series // microseconds from due to the write
}

func (h *host) begin(kind byte) { h.room.begin(kind, h.seq+1) }

func (h *host) publish(ctx context.Context, l load) (s sent) {
	before, after := h.around()
	size := h.crowd.options.Size - len(before) - len(after)
	clock := h.crowd.clock
	_ = h.conn.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = h.conn.SetWriteDeadline(time.Now().Add(lastWrite)) })
	defer stop()

	var buf []byte
	for k := uint32(0); k < l.count && ctx.Err() == nil; {
		h.sleepUntil(ctx, l.due(k))
		now := clock.now()
		buf = buf[:0]
		first := k
		for ; k < l.count && l.due(k) <= now && len(buf) < writeBatch; k++ {
			due := l.due(k)
			h.seq++
			buf = h.appendMessage(buf, before, after, stamp.Stamp{Kind: l.kind, Room: h.room.tag, Seq: h.seq, Due: due, Size: size})
			s.count++
			s.late.Record(now, (now-due)/1e3)
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
		now := clock.now()
		if at-now <= piece {
			clock.sleepUntil(at)
			return
		}
		clock.sleepUntil(now + piece)
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
	if err == nil && h.tells {
		h.told = append(h.told, h.telling...)
	}
	h.telling = h.telling[:0]
	return err
}

// appendMessage adds the frame of one message, and puts into the record what
// viewers will see of it.
func (h *host) appendMessage(buf []byte, before, after string, s stamp.Stamp) []byte {
	total := len(before) + s.Size + len(after)
	b := frame.AppendHeader(make([]byte, 0, total+frame.HeaderSize(total)), ws.OpText, total)
	header := len(b)
	b = append(b, before...)
	b = s.Append(b)
	b = append(b, after...)
	if h.room.record != nil {
		e := &entry{frame: b, due: s.Due, seq: s.Seq, kind: s.Kind, header: byte(header)}
		if h.room.numbers {
			e.number = numberedFrame(s.Seq, e.text())
		}
		h.room.record.put(e)
	}
	if h.tells {
		h.telling = append(append(h.telling, ',', '"'), b[header+len(before):len(b)-len(after)]...)
		h.telling = append(h.telling, '"')
	}
	h.room.newest.Store(s.Seq)
	return wire.AppendClient(buf, ws.OpText, b[header:])
}

func (h *host) end() { h.room.close(h.seq + 1) }

func (h *host) fence(kind byte) {
	before, after := h.around()
	size := h.crowd.options.Size - len(before) - len(after)
	h.seq++
	_ = h.conn.SetWriteDeadline(time.Now().Add(h.crowd.options.Timeout))
	_ = h.write(h.appendMessage(nil, before, after, stamp.Stamp{Kind: kind, Room: h.room.tag, Seq: h.seq, Due: h.room.fence(), Size: size})) // what broke is noted
}
