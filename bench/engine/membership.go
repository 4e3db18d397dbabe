package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/wire"
	"lectern/bench/workload"
)

// A membership is what a viewer knows of its place in a room of the classroom
// protocol. It outlives the viewer's connections. Scenarios that do not look at
// numbers have none.
//
// The host numbers its messages from 1, as the relay numbers broadcasts, so the
// number in a stamp is the number that the relay must give.
type membership struct {
	asks bool // immutable; joins with the history

	returns  bool   // owned by the lane; it drops and comes back
	leaving  bool   // owned by the lane; drops in the middle of what comes next
	token    string // owned by the lane; proves that it is this viewer
	epoch    string // owned by the lane
	joinedAt uint32 // owned by the lane; the last number it had when it joined
	fresh    bool   // owned by the lane; nothing has come since the server gave it a number
	adrift   bool   // owned by the lane; what comes next is not known

	announced uint32 // owned by the lane; measured messages that joined said it would not get
	newest    uint32 // owned by the lane; the room's last number when it came back, 0 once it has come
	since     int64  // owned by the lane; when it was last in, nanoseconds of the run's clock

	waits bool // owned by the lane; for the history
	seen  bool // owned by the lane; a live message has come
}

// spreadOver reports whether member i belongs to a share of all. The golden ratio
// deals them out evenly, whatever else goes by i.
func spreadOver(i int, share float64) bool {
	return math.Mod(float64(i)*math.Phi, 1) < share
}

// check refuses what the classroom protocol does not have, and templates that the
// fields of a membership cannot be added to.
func (c Classroom) check(o workload.Options, scenario string) error {
	t := o.Template
	switch {
	case t.Name != "classroom" || !t.Verbatim:
		return workload.Refuse("%s speaks the classroom protocol: it takes the preset classroom", scenario)
	case !workload.IsObject(t.Open) || !workload.IsObject(t.Join):
		return workload.Refuse("%s adds fields to the messages that open and join: each must be a JSON object", scenario)
	case len(o.RoomNames) > 0:
		return workload.Refuse("%s needs its own hosts: it cannot join a room", scenario)
	case c.History != "relay" && c.History != "host":
		return workload.Refuse("the history of %q: it is kept by relay or host", c.History)
	case !(c.Numbered >= 0 && c.Numbered <= 1):
		return workload.Refuse("a share of %v that is numbered: it takes 0 to 1", c.Numbered)
	}
	return nil
}

// place returns what a viewer asks for in its request.
func (v *viewer) place() (p wire.Place) {
	s := v.membership
	if s == nil {
		return p
	}
	p.History = s.asks
	if v.again {
		s.joinedAt = v.next - 1
		p.Token, p.Last = s.token, fmt.Sprintf("%s-%d", s.epoch, s.joinedAt)
	}
	return p
}

// hello returns the first message of a viewer.
func (v *viewer) hello() string {
	text := workload.Fill(v.crowd.options.Template.Join, v.room.name, int(v.index))
	s := v.membership
	if s == nil {
		return text
	}
	fields := ""
	if v.numbered {
		fields += `,"numbered":true`
	}
	if s.asks {
		fields += `,"history":true`
	}
	if v.again {
		fields += fmt.Sprintf(`,"token":%q,"epoch":%q,"seq":%d`, s.token, s.epoch, s.joinedAt)
	}
	return workload.WithFields(text, fields)
}

// admitted is what the relay says to a viewer that is in.
type admitted struct {
	Token     string  `json:"token"`
	Epoch     string  `json:"epoch"`
	Seq       *uint32 `json:"seq"`
	Recovered *bool   `json:"recovered"`
}

// admit takes the answer to the join, and says whether it can be understood.
func (v *viewer) admit(text []byte, now int64) bool {
	var a admitted
	err := json.Unmarshal(text, &a)
	if err != nil || a.Seq == nil || *a.Seq == math.MaxUint32 || a.Token == "" || v.again && a.Recovered == nil {
		v.end("joined lacks what it takes to come back", string(text[:min(len(text), 200)]))
		return false
	}
	s := v.membership
	s.token, s.epoch, s.fresh, s.since = a.Token, a.Epoch, true, now
	switch {
	case v.again:
		v.comeBack(*a.Seq, *a.Recovered)
		return true
	case s.asks || v.crowd.classroom == nil:
		s.waits = s.asks
		v.phase = v.lane.phase // latecomers count in the phase, too
	}
	s.joinedAt, v.next = *a.Seq, *a.Seq+1
	v.from = v.next
	v.lane.add(countAnchored, 1)
	if !s.waits {
		v.pass()
	}
	return true
}

// comeBack goes on from where the relay says.
func (v *viewer) comeBack(seq uint32, recovered bool) {
	s, l := v.membership, v.lane
	switch {
	case recovered:
		l.resumed.Recovered++
		if seq != s.joinedAt {
			l.faults.Note(v.who(), report.StageJoin, "renumbered", fmt.Sprintf("it had %d and was told %d", s.joinedAt, seq))
		}
	case seq < s.joinedAt:
		l.resumed.Unrecovered++
		l.faults.Note(v.who(), report.StageJoin, "renumbered", fmt.Sprintf("it had %d and was told %d", s.joinedAt, seq))
	default:
		l.resumed.Unrecovered++
		lost := v.room.overlap(span{v.next, seq + 1})
		s.announced += lost
		l.resumed.Announced += uint64(lost)
		v.next = seq + 1
		v.pass()
	}
	s.newest = v.room.newest.Load()
}

// pass notes that the viewer is beyond the end of the phase without having seen
// it.
func (v *viewer) pass() {
	if !v.past && v.phase == v.lane.phase && v.next >= v.room.to.Load() {
		v.past = true
		v.lane.add(countFenced, 1)
	}
}

// expect looks at the number of a message before it is counted.
func (s *membership) expect(v *viewer, m stamp.Stamp) {
	if s.adrift {
		s.adrift, s.fresh = false, false
		v.next, v.from = m.Seq, m.Seq
	}
	if !s.fresh {
		return
	}
	s.fresh = false
	// The stream counts what is wrong with measured messages.
	if m.Seq > v.next && m.Seq-v.next > v.room.overlap(span{v.next, m.Seq}) || m.Seq < v.next && m.Kind != stamp.Measured {
		v.lane.faults.Note(v.who(), report.StageFirst, "does not go on from where it was told", fmt.Sprintf("number %d came after %d", m.Seq, v.next-1))
	}
}

// advance notes how far the viewer has come.
func (s *membership) advance(v *viewer, now int64) {
	if s.asks && !s.seen && !s.waits {
		s.seen = true
		v.lane.arrived.Live.Record((now - v.began) / 1e3)
		v.lane.add(countAlive, 1)
	}
	if v.again && s.newest > 0 && v.next > s.newest {
		s.newest = 0
		v.lane.resumed.Caught.Record((max(now, v.since) - v.began) / 1e3) // it may have come with joined
	}
}

// record notes the latency of a measured message. For a viewer that drops, it is a
// latency only if the viewer was there when the message was due.
func (s *membership) record(v *viewer, m stamp.Stamp, now, micros int64) {
	switch {
	case !s.returns:
		v.lane.latency.Record(now, micros)
	case m.Due >= s.since && v.again:
		v.lane.resumed.Live.Record(micros)
	}
}

const numberMark = `{"seq":`

// cutNumber takes the number off a numbered message. The rest is the message as
// it was published, without its first byte.
func cutNumber(message []byte) (seq uint32, rest []byte, ok bool) {
	after, ok := bytes.CutPrefix(message, []byte(numberMark))
	if !ok {
		return 0, message, false
	}
	const longest = 20 // more digits than any number has
	number, rest, _ := bytes.Cut(after, []byte(","))
	n, err := strconv.ParseUint(string(number[:min(len(number), longest)]), 10, 32)
	if err != nil {
		return 0, message, false
	}
	return uint32(n), rest, true
}
