package engine

import (
	"bytes"
	"compress/flate"
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"lectern/bench/clock"
	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/wire"
	"lectern/bench/workload"
	"lectern/frame"
)

// testViewer returns a viewer that has joined a room, without a connection.
func testViewer(verbatim bool) *viewer {
	rm := &room{tag: 7}
	if verbatim {
		rm.record = newRecord(1)
	}
	c := &crowd{transport: wire.WebSocket{}, options: workload.Options{Template: workload.Template{}}, rooms: []*room{rm}}
	l := &lane{clock: clock.New(workload.Monotonic), latency: report.NewSeries(0, 1e9)}
	return &viewer{crowd: c, lane: l, room: rm, state: live, reads: true}
}

// messages publishes n messages and returns their frames in one piece.
func (v *viewer) messages(from, n uint32, size int) (all []byte) {
	for seq := from; seq < from+n; seq++ {
		e := &entry{Stamp: stamp.Stamp{Kind: stamp.Measured, Room: v.room.tag, Seq: seq, Due: 1, Size: size}}
		e.text = e.Append(nil)
		if v.room.record != nil {
			v.room.record.put(e)
		}
		all = append(all, frameOf(e.text)...)
	}
	return all
}

// TestStreamCutAnywhere gives a viewer the same bytes in pieces of every
// length: what it counts is the same.
func TestStreamCutAnywhere(t *testing.T) {
	for _, verbatim := range []bool{true, false} {
		for _, control := range []string{"", "\x89\x04ping", "\x8a\x00", "\x81\x05other", "\x01\x03oth\x80\x02er"} {
			t.Run(fmt.Sprintf("verbatim %t, between %q", verbatim, control), func(t *testing.T) {
				v := testViewer(verbatim)
				all := slices.Concat(v.messages(1, 3, 100), []byte(control), v.messages(4, 3, 200))
				for piece := 1; piece <= len(all); piece++ {
					v := testViewer(verbatim)
					v.messages(1, 3, 100)
					v.messages(4, 3, 200)
					for chunk := range slices.Chunk(all, piece) {
						v.Receive(bytes.Clone(chunk))
					}
					if v.state != live || v.count != 6 || v.next != 7 || v.stream != nil {
						t.Fatalf("pieces of %d: state %d, %d messages, next %d, %+v", piece, v.state, v.count, v.next, v.stream)
					}
					if v.frame != nil || v.current != nil {
						t.Fatalf("pieces of %d: something is left", piece)
					}
				}
			})
		}
	}
}

// TestTransportsCutAnywhere gives a viewer the same bytes in pieces of every length, as
// the first one and as one that comes later.
func TestTransportsCutAnywhere(t *testing.T) {
	var events, deflated []byte
	said := testViewer(true).said(6)
	for i, text := range said {
		events = fmt.Appendf(events, ": padding\n\nid: e-%d\nevent: command\ndata: %s\n\nevent: x\ndata: {}\n\n", i+1, text)
		deflated = append(append(deflated, deflatedFrame(text)...), "\x81\x05other\x89\x00"...)
	}
	half := len(deflatedFrame(said[0])) / 2 // a compressed message in two fragments
	deflated = append(deflated, 0x41, byte(half-2))
	deflated = append(deflated, deflatedFrame(said[5])[2:half]...)
	deflated = append(append(deflated, 0x80, byte(len(deflatedFrame(said[5]))-half)), deflatedFrame(said[5])[half:]...)

	for name, test := range map[string]struct {
		transport transport
		numbered  bool
		all       []byte
		repeated  uint32
	}{
		"events":   {wire.EventStream{}, true, events, 0},
		"deflated": {wire.NewWebSocket(new(url.URL), "", nil).Offering(), false, deflated, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for piece := 1; piece <= 400; piece++ {
				first := testViewer(true)
				first.crowd.transport, first.numbered = test.transport, test.numbered
				first.said(6)
				second := *first
				for _, v := range []*viewer{first, &second} {
					for chunk := range slices.Chunk(test.all, piece) {
						v.Receive(bytes.Clone(chunk))
					}
					if v.state != live || v.count != 6 || v.next != 7 || v.trouble().repeated != test.repeated || v.trouble().damaged > 0 || v.frame != nil || v.current != nil {
						t.Fatalf("pieces of %d: state %d, %d messages, next %d, %+v, %+v", piece, v.state, v.count, v.next, v.stream, v.lane.faults)
					}
				}
			}
		})
	}
}

// said publishes n messages and returns their texts.
func (v *viewer) said(n uint32) [][]byte {
	_, said := v.classroomMessages(1, n)
	return said
}

// deflatedFrame is a short frame in which a text comes compressed.
func deflatedFrame(text []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	_, _ = w.Write(text)
	_ = w.Flush()
	n := b.Len() - len("\x00\x00\xff\xff")
	return append([]byte{0xC1, byte(n)}, b.Bytes()[:n]...)
}

func TestStreamRules(t *testing.T) {
	for name, test := range map[string]struct {
		seqs []uint32
		want report.Trouble
	}{
		"in order":                 {[]uint32{1, 2, 3, 4}, report.Trouble{}},
		"one missing":              {[]uint32{1, 2, 4}, report.Trouble{Missing: 1}},
		"two missing":              {[]uint32{1, 4}, report.Trouble{Missing: 2}},
		"the last missing":         {[]uint32{1, 2, 3}, report.Trouble{Missing: 1}},
		"swapped":                  {[]uint32{1, 3, 2, 4}, report.Trouble{Reordered: 1}},
		"one goes to the end":      {[]uint32{1, 3, 4, 2}, report.Trouble{Reordered: 1}},
		"backwards":                {[]uint32{1, 4, 3, 2}, report.Trouble{Reordered: 2}},
		"repeated":                 {[]uint32{1, 2, 2, 3, 4}, report.Trouble{Repeated: 1}},
		"repeated later":           {[]uint32{1, 2, 3, 4, 2, 2}, report.Trouble{Repeated: 2}},
		"reordered, then repeated": {[]uint32{1, 3, 2, 2, 4}, report.Trouble{Reordered: 1, Repeated: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			v := testViewer(false)
			for _, seq := range test.seqs {
				v.Receive(v.messages(seq, 1, 64))
			}
			if got := v.stream.trouble(4, uint64(v.count)); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestManyMessagesInOneFrame(t *testing.T) {
	v := testViewer(false)
	var text []byte
	for seq := range uint32(5) {
		text = append(text, `{"push":{"data":"`...)
		text = stamp.Stamp{Kind: stamp.Measured, Room: 7, Seq: seq + 1, Due: 1, Size: 64}.Append(text)
		text = append(text, "\"}}\n"...)
	}
	text = append(text, "@LB and nothing"...)
	v.Receive(append(frame.AppendHeader(nil, ws.OpText, len(text)), text...))
	if v.count != 5 || v.stream.damaged != 1 {
		t.Errorf("%d messages, %+v", v.count, v.stream)
	}
}

func TestGapsAreBounded(t *testing.T) {
	st := &stream{}
	for i := range uint32(maxGaps + 10) {
		st.skip(span{10 * i, 10*i + 1})
	}
	if len(st.gaps) != maxGaps {
		t.Errorf("%d gaps", len(st.gaps))
	}
}

// TestReceivingDoesNotAllocate covers the way that nearly every delivery goes: another
// viewer has got the message already.
func TestReceivingDoesNotAllocate(t *testing.T) {
	v := testViewer(true)
	v.Receive(v.messages(1, 1, 128))
	all := v.messages(2, 1000, 128)
	another := *v
	another.Receive(all)
	at := 0
	if n := testing.AllocsPerRun(9, func() {
		v.Receive(all[at : at+100*130])
		at += 100 * 130
	}); n != 0 {
		t.Errorf("%v allocations for a hundred messages", n)
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, verbatim := range []bool{true, false} {
		b.Run(fmt.Sprintf("verbatim=%t", verbatim), func(b *testing.B) {
			v := testViewer(verbatim)
			all := v.messages(1, 100, 128)
			b.SetBytes(130)
			for b.Loop() {
				v.next = 1
				v.Receive(all)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/message")
		})
	}
}

func FuzzReceive(f *testing.F) {
	v := testViewer(true)
	f.Add(v.messages(1, 3, 64), 5)
	f.Add([]byte("\x89\x04ping\x88\x02\x03\xe8"), 1)
	f.Add([]byte("\x01\x03abc\x80\x03def\xff"), 3)
	f.Fuzz(func(t *testing.T, all []byte, piece int) {
		v := testViewer(true)
		v.messages(1, 10, 64)
		for chunk := range slices.Chunk(all, max(piece, 1)) {
			v.Receive(bytes.Clone(chunk))
		}
		if v.state != live && v.state != ended {
			t.Errorf("state %d", v.state)
		}
	})
}

// TestRecordForgets has a viewer fall further behind than the record reaches:
// its frames are then parsed, and nothing is lost.
func TestRecordForgets(t *testing.T) {
	v := testViewer(true)
	v.room.record = newRecord(1 << 20)
	all := v.messages(1, 3*leastSlots, 100)
	if len(v.room.record.slots) != leastSlots || v.room.record.at(1) != nil || v.room.record.at(3*leastSlots) == nil {
		t.Fatalf("%d slots", len(v.room.record.slots))
	}
	v.Receive(all)
	if v.count != 3*leastSlots || v.stream != nil {
		t.Errorf("%d messages, %+v", v.count, v.stream)
	}
	for rooms, want := range map[int]int{1: mostSlots, 16: mostSlots, 17: mostSlots / 2, 2000: leastSlots, 1 << 30: leastSlots} {
		if n := len(newRecord(rooms).slots); n != want {
			t.Errorf("%d slots for each of %d rooms, not %d", n, rooms, want)
		}
	}
}
