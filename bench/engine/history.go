package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"lectern/bench/report"
	"lectern/bench/stamp"
)

// errHistory is wrapped by what is wrong with a history.
var errHistory = errors.New("wrong history")

// A history is what a server's history says, once it was checked.
type history struct {
	last      uint32 // number of the last message that it covers
	numbered  bool   // it says itself what the last number is
	truncated bool   // the first messages are not in it any more, and it says so
}

// checked is a history that was looked at: it comes to many.
type checked struct {
	room *room
	text []byte
	history
	err error
}

// maxChecked bounds the histories that a lane knows; the oldest give way.
const maxChecked = 16

// isHistory reports whether a message is a history.
func isHistory(text []byte) bool {
	const far = 64 // where the type is, numbers before it included
	return bytes.Contains(text[:min(len(text), far)], []byte(`"type":"history"`))
}

// check looks at a history, once for all viewers that get it.
func (l *lane) check(rm *room, text []byte) (history, error) {
	for _, c := range l.checked {
		if c.room == rm && bytes.Equal(c.text, text) {
			return c.history, c.err
		}
	}
	h, err := readHistory(rm, text)
	l.checked = append(l.checked, checked{rm, bytes.Clone(text), h, err})
	if len(l.checked) > maxChecked {
		l.checked[0] = checked{}
		l.checked = l.checked[1:]
	}
	return h, err
}

// readHistory checks what a history says: the room's messages from the first,
// or a later one if it is truncated, up to its last, each once and undamaged.
func readHistory(rm *room, text []byte) (h history, err error) {
	var t struct {
		Seq       *uint32           `json:"seq"`
		Truncated bool              `json:"truncated"`
		Commands  []json.RawMessage `json:"commands"`
		Messages  []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return h, fmt.Errorf("%w: %w", errHistory, err)
	}
	first := uint32(0)
	if first, h.last, err = readStamps(rm, t.Commands, false); err != nil {
		return h, err
	}
	h.numbered, h.truncated = t.Seq != nil, t.Truncated
	if t.Messages != nil { // the relay keeps it
		from, to, err := readStamps(rm, t.Messages, true)
		if err != nil {
			return h, err
		}
		if from != first || to != h.last {
			return h, fmt.Errorf("%w: messages %d to %d, but commands %d to %d", errHistory, from, to, first, h.last)
		}
		if t.Seq == nil {
			return h, fmt.Errorf("%w: no seq", errHistory)
		}
	}
	if len(t.Commands) == 0 && t.Seq != nil && (*t.Seq == 0 || t.Truncated) {
		h.last = *t.Seq // nothing is left of it
		return h, nil
	}
	switch {
	case first > 1 && !t.Truncated:
		return h, fmt.Errorf("%w: it begins with number %d", errHistory, first)
	case t.Seq != nil && *t.Seq != h.last:
		return h, fmt.Errorf("%w: the last is number %d, its seq is %d", errHistory, h.last, *t.Seq)
	}
	return h, nil
}

// readStamps checks that a list has messages in order without a gap.
func readStamps(rm *room, list []json.RawMessage, whole bool) (first, last uint32, err error) {
	for i, item := range list {
		at := max(bytes.Index(item, []byte(stamp.Marker)), 0)
		s, verdict := stamp.Parse(item[at:])
		switch {
		case verdict != stamp.Intact || s.Room != rm.tag:
			return first, last, fmt.Errorf("%w: item %d is damaged", errHistory, i)
		case i == 0:
			first = s.Seq
		case s.Seq != last+1:
			return first, last, fmt.Errorf("%w: number %d follows %d", errHistory, s.Seq, last)
		}
		last = s.Seq
		if n, same := rm.published(s.Seq, item); whole && (!same || n != unnumbered && n != int64(s.Seq)) {
			return first, last, fmt.Errorf("%w: number %d is not what was published", errHistory, s.Seq)
		}
	}
	return first, last, nil
}

// history takes a history, after which the viewer is live.
func (v *viewer) history(text []byte, now int64) {
	s, a := v.membership, &v.lane.arrived
	if !s.waits {
		v.wrongHistory("a history that it did not ask for", "")
		return
	}
	s.waits = false
	found, err := v.lane.check(v.room, text)
	if live := v.next - 1; live > s.joinedAt {
		v.lane.faults.Merge(report.Fault{Who: v.who(), Stage: report.StageHistory, Reason: "messages before the history", Count: int(live - s.joinedAt), Example: ""})
	}
	switch {
	case err != nil:
		v.wrongHistory(errHistory.Error(), strings.TrimPrefix(err.Error(), errHistory.Error()+": "))
		s.adrift = true
		return
	case v.numbered && !found.numbered:
		v.wrongHistory(errHistory.Error(), "it has no seq, but the viewer asked for numbers")
	case found.last < s.joinedAt:
		v.wrongHistory(errHistory.Error(), fmt.Sprintf("its last is number %d, but joined told %d", found.last, s.joinedAt))
	}
	a.Histories++
	a.Bytes += uint64(len(text))
	a.Largest = max(a.Largest, uint64(len(text)))
	if found.truncated {
		a.Truncated++
	}
	a.Told.Record((now - v.began) / 1e3)
	v.next, v.from, s.fresh = found.last+1, found.last+1, true
	v.pass()
}

func (v *viewer) wrongHistory(reason, example string) {
	v.lane.faults.Note(v.who(), report.StageHistory, reason, example)
}
