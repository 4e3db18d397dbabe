package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
	"lectern/frame"
)

// TestHistoryEndsTooEarly has a history tell less than the stream goes on from:
// what lies between was said before anything was measured.
func TestHistoryEndsTooEarly(t *testing.T) {
	v := lateViewer(true)
	_, said := v.classroomMessages(1, 9)
	v.room.from.Store(8)
	v.membership.joinedAt, v.next = 5, 6
	v.Receive(frameOf(historyOf(said[:5], 0)))
	if v.membership.waits || v.next != 6 || len(v.lane.faults.Faults) != 0 {
		t.Fatalf("next %d, %+v", v.next, v.lane.faults.Faults)
	}
	v.Receive(frameOf(said[7]))
	if f := v.lane.faults.Faults; len(f) != 1 || f[0].Stage != report.StageFirst {
		t.Errorf("%+v", f)
	}
}

func TestMessagesBeforeTheHistory(t *testing.T) {
	v := lateViewer(true)
	_, said := v.classroomMessages(1, 5)
	v.membership.joinedAt, v.next = 3, 4
	v.Receive(slices.Concat(frameOf(said[3]), frameOf(historyOf(said, 0))))
	if f := v.lane.faults.Faults; len(f) != 1 || f[0].Reason != "messages before the history" || f[0].Count != 1 {
		t.Errorf("%+v", f)
	}
}

// lateViewer returns a viewer that has joined a room and waits for its history.
func lateViewer(verbatim bool) *viewer {
	v := testViewer(verbatim)
	v.crowd.options.Template, _ = workload.Preset("classroom")
	v.membership = &membership{asks: true, waits: true}
	v.next = 1
	return v
}

// frameOf is the frame in which a text comes.
func frameOf(text []byte) []byte {
	return append(frame.AppendHeader(nil, ws.OpText, len(text)), text...)
}

// classroomMessages publishes n messages as the classroom preset has them, and
// returns the frames of a viewer with numbers, or without.
func (v *viewer) classroomMessages(from, n uint32) (wire []byte, said [][]byte) {
	for seq := from; seq < from+n; seq++ {
		e := &entry{Stamp: stamp.Stamp{Kind: stamp.Measured, Room: v.room.tag, Seq: seq, Due: 1, Size: 90}}
		text := append(e.Append([]byte(`{"type":"command","data":"`)), `"}`...)
		e.text = text
		v.room.record.put(e)
		said = append(said, text)
		if v.numbered {
			text = fmt.Appendf(nil, `{"seq":%d,%s`, seq, text[1:])
		}
		wire = append(wire, frameOf(text)...)
	}
	return wire, said
}

// TestHistoryCutAnywhere gives two viewers of a lane the same history and
// messages in pieces of every length.
func TestHistoryCutAnywhere(t *testing.T) {
	for _, numbered := range []bool{false, true} {
		t.Run(fmt.Sprintf("numbered %t", numbered), func(t *testing.T) {
			for piece := 1; piece < 700; piece++ {
				a := lateViewer(true)
				a.numbered = numbered
				_, said := a.classroomMessages(1, 3)
				wire, _ := a.classroomMessages(4, 3)
				b := new(viewer)
				*b = *a
				b.membership = &membership{asks: true, waits: true}
				// The second gets another history of the same length first.
				wire = append(frameOf(historyOf(said, 0)), wire...)
				for chunk := range slices.Chunk(wire, piece) {
					a.Receive(bytes.Clone(chunk))
				}
				for chunk := range slices.Chunk(wire, piece) {
					b.Receive(bytes.Clone(chunk))
				}
				for _, v := range []*viewer{a, b} {
					if v.state != live || v.membership.waits || v.count != 3 || v.next != 7 || v.stream != nil || len(v.lane.faults.Faults) != 0 {
						t.Fatalf("pieces of %d: state %d, %d messages, next %d, %+v, %+v", piece, v.state, v.count, v.next, v.stream, v.lane.faults.Faults)
					}
				}
				if len(a.lane.frames) > 1+3 || len(a.lane.checked) != 1 || a.lane.arrived.Histories != 2 {
					t.Fatalf("pieces of %d: %d frames, %d histories looked at", piece, len(a.lane.frames), len(a.lane.checked))
				}
			}
		})
	}
}

// TestSharedFramesPart has viewers of a lane get frames that differ in one byte,
// in turns.
func TestSharedFramesPart(t *testing.T) {
	const viewers, size = 3 * maxShared, 300
	base := lateViewer(true)
	var all []*viewer
	var wires [][]byte
	for i := range viewers {
		v := new(viewer)
		*v = *base
		v.membership = &membership{asks: true, waits: true}
		text := []byte(strings.Repeat("x", size))
		text[i*size/viewers] = 'y'
		all, wires = append(all, v), append(wires, frameOf(text))
	}
	for at := 0; at < len(wires[0]); at += 7 {
		for i, v := range all {
			v.Receive(bytes.Clone(wires[i][at:min(at+7, len(wires[i]))]))
		}
	}
	for i, v := range all {
		if v.state != live || v.frame != nil || v.matched != 0 {
			t.Errorf("viewer %d: state %d, %d bytes matched", i, v.state, v.matched)
		}
	}
	if n := len(base.lane.frames); n > maxShared {
		t.Errorf("%d frames", n)
	}
	if base.lane.others != viewers {
		t.Errorf("%d frames came whole", base.lane.others)
	}
}

func TestCutNumber(t *testing.T) {
	for text, want := range map[string]struct {
		seq  uint32
		rest string
		ok   bool
	}{
		`{"seq":7,"type":"command"}`:                    {7, `"type":"command"}`, true},
		`{"seq":4294967295,"a":1}`:                      {4294967295, `"a":1}`, true},
		`{"seq":4294967296,"a":1}`:                      {0, `{"seq":4294967296,"a":1}`, false},
		`{"seq":99999999999999999999999999,"a":1}`:      {0, `{"seq":99999999999999999999999999,"a":1}`, false},
		`{"seq":-1,"a":1}`:                              {0, `{"seq":-1,"a":1}`, false},
		`{"seq":7}`:                                     {0, `{"seq":7}`, false},
		`{"type":"command","seq":7,"a":1}`:              {0, `{"type":"command","seq":7,"a":1}`, false},
		`{"seq":`:                                       {0, `{"seq":`, false},
		strings.Repeat(" ", 5) + `{"seq":7,"type":"c"}`: {0, `     {"seq":7,"type":"c"}`, false},
	} {
		seq, rest, ok := cutNumber([]byte(text))
		if seq != want.seq || string(rest) != want.rest || ok != want.ok {
			t.Errorf("%s: %d, %s, %t", text, seq, rest, ok)
		}
	}
}

// historyOf returns the history of messages, as the relay tells it, without the message of
// one number. 0 leaves none out.
func historyOf(said [][]byte, without int) []byte {
	var commands, messages [][]byte
	for i, m := range said {
		if i+1 == without {
			continue
		}
		_, data, _ := bytes.Cut(m, []byte(`"data":`))
		commands = append(commands, data[:len(data)-1])
		messages = append(messages, m)
	}
	comma := []byte(",")
	return fmt.Appendf(nil, `{"type":"history","commands":[%s],"messages":[%s],"seq":%d}`, bytes.Join(commands, comma), bytes.Join(messages, comma), len(said))
}
