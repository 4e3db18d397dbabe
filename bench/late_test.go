package bench

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
	"lectern/frame"
)

// coming are options and a scenario of viewers who come late.
func coming(url, history string) (Late, workload.Options) {
	o := small(url)
	o.Viewers, o.Rate, o.Duration, o.Drain = 20, 50, time.Second, 10*time.Second
	return Late{Messages: 15, Numbered: 0.5, History: history}, o
}

func TestLateOnARightServer(t *testing.T) {
	t.Parallel()
	for _, history := range []string{"relay", "host"} {
		t.Run(history, func(t *testing.T) {
			t.Parallel()
			l := &lecture{}
			s, o := coming(l.start(t), history)
			o.Rooms = 2
			res, err := runSmall(t, s, o)
			if err != nil {
				t.Fatalf("%v: %q", err, res.Problems)
			}
			a := res.Arrived
			if a.Viewers != 20 || a.Histories != 20 || a.Numbered < 9 || a.Numbered > 11 || a.Truncated != 0 || a.Told.Count != 20 || a.Live.Count != 20 {
				t.Errorf("%+v", a)
			}
			if a.Largest < 15*100 || a.Bytes < 20*15*100 || history == "host" && a.Asked == 0 || history == "relay" && a.Asked != 0 {
				t.Errorf("%d bytes, the largest %d, hosts were asked %d times", a.Bytes, a.Largest, a.Asked)
			}
			if p := res.Phases[0]; p.Viewers != 20 || p.Delivered != p.Expected || p.Delivered < 20 || p.Trouble != (report.Trouble{}) {
				t.Errorf("%d viewers, %d of %d, %+v", p.Viewers, p.Delivered, p.Expected, p.Trouble)
			}
		})
	}
}

// TestJoiningTakesItsTime has viewers come for longer than the phase lasts: the
// host goes on until all are live.
func TestJoiningTakesItsTime(t *testing.T) {
	t.Parallel()
	l := &lecture{}
	s, o := coming(l.start(t), "relay")
	s.Over, o.Duration = time.Second, 200*time.Millisecond
	res, err := runSmall(t, s, o)
	if err != nil {
		t.Fatalf("%v: %q", err, res.Problems)
	}
	if p := res.Phases[0]; p.Published < 40 || res.Arrived.Live.Count != 20 || res.Connects[0].Seconds < 0.9 {
		t.Errorf("%d published, %d live, joined in %v s", p.Published, res.Arrived.Live.Count, res.Connects[0].Seconds)
	}
}

// TestLateFaultsAreFound has a server do something wrong for each viewer.
func TestLateFaultsAreFound(t *testing.T) {
	t.Parallel()
	const viewers = 20
	replace := func(pattern, with string) func([]byte) [][]byte {
		return func(text []byte) [][]byte {
			return [][]byte{regexp.MustCompile(pattern).ReplaceAll(text, []byte(with))}
		}
	}
	for name, test := range map[string]struct {
		server *lecture
		stage  report.Stage
		fault  string
		want   report.Trouble
	}{
		"loses the first live one":   {&lecture{first: func([]byte) [][]byte { return nil }}, "", "", report.Trouble{Missing: viewers}},
		"repeats the first live one": {&lecture{first: func(m []byte) [][]byte { return [][]byte{m, m} }}, "", "", report.Trouble{Repeated: viewers}},
		"leaves out the first":       {&lecture{without: 1}, report.StageHistory, "wrong history", report.Trouble{}},
		"leaves out one":             {&lecture{without: 8}, report.StageHistory, "wrong history", report.Trouble{}},
		"gives a wrong seq":          {&lecture{history: replace(`"seq":\d+`, `"seq":7`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"gives no seq":               {&lecture{history: replace(`"seq":\d+`, `"s":7`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"garbles an envelope":        {&lecture{history: replace(`("messages":\[\{"type":"comma)nd`, `${1}md`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"breaks the JSON":            {&lecture{history: replace(`"messages":\[`, `"messages":`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"tells other commands":       {&lecture{history: replace(`"commands":\["[^"]*",`, `"commands":[`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"tells it twice": {&lecture{history: func(text []byte) [][]byte { return [][]byte{text, text} }},
			report.StageHistory, "a history that it did not ask for", report.Trouble{}},
		"tells none": {&lecture{history: func([]byte) [][]byte { return nil }}, report.StageHistory, "no answer in time", report.Trouble{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := coming(test.server.start(t), "relay")
			res, err := runSmall(t, s, o)
			if !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
			got := res.Phases[0].Trouble
			got.Missing -= res.Phases[0].Lost // a viewer that waits in vain is closed, and misses what follows
			if got != test.want {
				t.Errorf("found %+v, there were %+v", got, test.want)
			}
			if n := countFaults(res, report.WhoViewer, test.stage, test.fault); test.fault != "" && n != viewers {
				t.Errorf("%d times %q: %+v", n, test.fault, res.Faults)
			}
		})
	}
}

// TestHistoryEndsTooEarly has a history tell less than the stream goes on from:
// what lies between was said before anything was measured.
func TestHistoryEndsTooEarly(t *testing.T) {
	v := lateViewer(true)
	_, said := v.classroomMessages(1, 9)
	rm := &lectureRoom{messages: said[:5]}
	v.room.from.Store(8)
	v.membership.told, v.next = 5, 6
	v.Receive(frameOf(rm.history(0)))
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
	v.membership.told, v.next = 3, 4
	v.Receive(slices.Concat(frameOf(said[3]), frameOf((&lectureRoom{messages: said}).history(0))))
	if f := v.lane.faults.Faults; len(f) != 1 || f[0].Reason != "messages before the history" || f[0].Count != 1 {
		t.Errorf("%+v", f)
	}
}

// lateViewer returns a viewer that has joined a room and waits for its history.
func lateViewer(verbatim bool) *viewer {
	v := testViewer(verbatim)
	v.crowd.options.Template = preset("classroom")
	v.membership = &membership{asks: true, waits: true}
	v.lane.arrivals = newArrivals(0)
	v.lane.resumes = newResumes(0)
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
		text := append([]byte(`{"type":"command","data":"`), stamp.Stamp{Kind: stamp.Measured, Room: v.room.tag, Seq: seq, Due: 1, Size: 90}.Append(nil)...)
		frame := frameOf(append(text, `"}`...))
		e := &entry{frame: frame, due: 1, seq: seq, kind: stamp.Measured, header: byte(len(frame) - len(text) - 2)}
		e.number = numberedFrame(seq, e.text())
		v.room.record.put(e)
		wire = append(wire, e.as(v.numbered)...)
		said = append(said, e.text())
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
				wire = append(frameOf((&lectureRoom{messages: said}).history(0)), wire...)
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
				if len(a.lane.frames) != 1 || len(a.lane.checked) != 1 || a.lane.arrivals.got != 2 {
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
		if v.state != live || v.membership.frame != nil || v.matched != 0 {
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
