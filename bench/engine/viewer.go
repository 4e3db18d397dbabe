package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"

	"lectern/bench/report"
	"lectern/bench/wire"
	"lectern/bench/workload"
	"lectern/netpoll"
)

// The states of a viewer, in their order. Events: connected (the first byte
// was sent), upgraded (101 came), joined (the template's answer came, or none
// is awaited), ended (by either side; nothing follows).
const (
	connecting uint8 = iota
	upgrading
	joining
	live
	ended
)

// A viewer is one connection that joins a room and checks what it gets. It
// implements [netpoll.Session]; all of it is owned by its lane.
type viewer struct {
	crowd      *crowd
	lane       *lane
	room       *room
	conn       *netpoll.Conn
	membership *membership // nil unless its place in the room is looked at

	current *entry       // the message that the last bytes were a part of
	frame   *sharedFrame // what they are a part of otherwise: a frame, or the answer to the request
	matched uint32       // how many bytes of either came

	next   uint32 // number of the message that should come next; 0 before the first
	from   uint32 // first number of the phase that is expected, 0 for the phase's own
	until  uint32 // number before which it left, 0 if it is to stay
	count  uint32 // measured messages of the phase that came
	worst  uint32 // largest latency of the phase, microseconds
	sum    uint64 // latencies of the phase, microseconds
	stream *stream

	message  *[]byte // fragments of a message not yet complete
	deflated bool    // the present message is compressed
	out      []byte  // not yet sent

	since  int64  // when the present stage began, nanoseconds of the run's clock
	began  int64  // when it began to connect
	index  int32  // the viewer's number
	phase  uint32 // the last phase it was counted into
	state  uint8
	reads  bool // false: it has stopped reading
	stalls bool // a viewer that stops reading
	past   bool // the end of the phase has come
	left   bool // it left on purpose

	numbered bool // immutable; it gets the messages with their numbers
	again    bool // immutable; it was there before
}

// Established reports that all viewers are served alike.
func (v *viewer) Established() bool { return true }

// Wants reports that a viewer reads until the scenario stops it or it has ended.
func (v *viewer) Wants() (reading, writing bool) {
	return v.reads && v.state != ended, v.state != ended
}

func (v *viewer) Next() []byte { return v.out }

func (v *viewer) Sent(n int, _ bool) {
	if v.out = v.out[n:]; len(v.out) == 0 {
		v.out = nil
	}
	if n > 0 && v.state == connecting {
		v.enter(upgrading)
	}
}

func (v *viewer) enter(state uint8) {
	v.state = state
	v.since = v.lane.clock.Now()
}

// Tick ends a viewer whose stage takes too long.
func (v *viewer) Tick() (next time.Duration) {
	if v.membership != nil && v.membership.leaving && v.state == live {
		v.drop() // nothing came that could be cut
		return 0
	}
	if v.state >= live && v.stage() != report.StageHistory {
		return 0
	}
	if limit := v.crowd.options.Timeout; time.Duration(v.lane.clock.Now()-v.since) > limit {
		v.end("no answer in time", fmt.Sprintf("after %v", limit))
	}
	return 0
}

// Shutdown ends the viewer without a fault.
func (v *viewer) Shutdown() { v.state = ended }

// Closed notes why the connection ended, unless that is known.
func (v *viewer) Closed(err error) {
	if v.state != ended {
		v.end(explain(err))
	}
	v.current, v.frame, v.message, v.out = nil, nil, nil, nil
}

// end notes what ended the viewer. Its connection is closed as soon as it is
// looked at again.
func (v *viewer) end(reason, example string) {
	v.lane.faults.Note(v.who(), v.stage(), reason, example)
	if v.again && v.state != live {
		v.lane.add(countUnreturned, 1)
		v.crowd.arrived()
	}
	if v.again || v.state == live {
		v.lane.add(countLost, 1)
		if v.next > 0 {
			v.lane.add(countAnchored, -1)
		}
		if v.phase == v.lane.phase && !v.past {
			v.lane.add(countGone, 1)
		}
	} else {
		v.lane.add(countFailed, 1)
		v.crowd.arrived()
	}
	v.state = ended
}

func (v *viewer) who() string {
	switch {
	case v.stalls:
		return report.WhoStalled
	case v.again:
		return report.WhoResuming
	default:
		return report.WhoViewer
	}
}

func (v *viewer) stage() report.Stage {
	switch {
	case v.state == connecting:
		return report.StageConnect
	case v.state == upgrading:
		return report.StageHandshake
	case v.state == joining:
		return report.StageJoin
	case v.membership != nil && v.membership.waits:
		return report.StageHistory
	case v.next == 0:
		return report.StageFirst
	default:
		return report.StageLive
	}
}

// Receive takes bytes from the server.
func (v *viewer) Receive(chunk []byte) {
	now := v.lane.clock.Now()
	leaves := v.membership != nil && v.membership.leaving && v.state == live
	if leaves {
		chunk = chunk[:rand.IntN(len(chunk)+1)] // it drops before it has read the rest
	}
	if v.phase == v.lane.phase {
		v.lane.received += uint64(len(chunk))
	}
	if v.state <= upgrading {
		chunk = v.answer(chunk)
	}
	for len(chunk) > 0 && v.state != ended {
		var matched bool
		if chunk, matched = v.compare(chunk, now); !matched {
			chunk = v.parse(chunk, now)
		}
	}
	v.lane.delivered.Store(v.lane.total)
	if leaves && v.state == live {
		v.drop()
	}
}

// answer takes the answer to the request and returns what follows it.
func (v *viewer) answer(chunk []byte) []byte {
	head := chunk
	if v.frame != nil {
		head = append(v.frame.bytes, chunk...)
	}
	used, complete, err := v.crowd.transport.Answer(head)
	if err != nil {
		v.end(explain(err))
		return nil
	}
	if !complete {
		v.frame = &sharedFrame{bytes.Clone(head)}
		return nil
	}
	v.frame = nil
	v.enter(joining)
	t := &v.crowd.options.Template
	if t.Join != "" {
		v.say(ws.OpText, []byte(v.hello()))
	}
	if t.Joined == "" {
		v.join()
	}
	return head[used:]
}

// join counts the viewer in.
func (v *viewer) join() {
	v.enter(live)
	if v.again {
		v.returned()
	} else {
		v.lane.add(countJoined, 1)
		v.lane.joins.Record((v.since - v.began) / 1e3)
	}
	v.crowd.arrived()
}

// say queues a frame.
func (v *viewer) say(op ws.OpCode, payload []byte) {
	v.out = v.crowd.transport.AppendClient(v.out, op, payload)
}

// compare is the fast way: the chunk begins with the next message as another viewer
// got it, or with a part of that. It returns the rest of the chunk.
func (v *viewer) compare(chunk []byte, now int64) (rest []byte, matched bool) {
	e := v.current
	if e == nil && v.frame == nil {
		e = v.room.record.at(v.next)
	}
	if e == nil || e.as(v.numbered).Load() == nil {
		return chunk, false
	}
	whole := *e.as(v.numbered).Load()
	want := whole[v.matched:]
	n := min(len(want), len(chunk))
	if !bytes.Equal(chunk[:n], want[:n]) {
		if v.matched > 0 {
			v.frame, v.current = v.lane.like(whole[:v.matched], chunk), nil
		}
		return chunk, false
	}
	if n < len(want) {
		v.current = e
		v.matched += uint32(n)
		return nil, true
	}
	v.current, v.matched = nil, 0
	v.accept(e.Stamp, true, now)
	v.ask()
	return chunk[n:], true
}

// ask sends the next request of a viewer that polls.
func (v *viewer) ask() {
	if v.crowd.options.Transport == workload.Poll && v.state != ended {
		p := wire.Place{Token: v.membership.token, Last: fmt.Sprintf("%s-%d", v.membership.epoch, v.next-1)}
		v.out = append(v.out, workload.Fill(v.crowd.transport.Request(p), v.room.name, int(v.index))...)
	}
}
