package engine

import (
	"slices"

	"lectern/bench/report"
	"lectern/bench/stamp"
)

// Each viewer's stream is checked as it arrives. The rules:
//
//   - The first message that a viewer sees is where its stream begins.
//   - A number above the next one opens a gap.
//   - A number below the next one that lies in a gap fills it there: it is
//     reordered. One outside of any gap is repeated.
//   - A message with a wrong body is damaged, and has arrived. One whose
//     number cannot be read is damaged, and not missing as well.
//   - A message that should have its number with it and has none, or another,
//     is misnumbered, and has arrived.
//   - What was published and has not arrived is missing, also when the viewer's
//     connection ended before it could arrive.
//
// Only measured messages count as missing, repeated or reordered.

// span is a range of message numbers, from included, to not.
type span struct{ from, to uint32 }

// maxGaps bounds what one viewer remembers of its gaps; the oldest give way.
const maxGaps = 1024

// stream is what is known of a viewer's stream beyond the next number. Viewers
// whose stream is in order have none.
type stream struct {
	gaps []span // ascending; numbers that have not come

	repeated, reordered, damaged uint32
	misnumbered                  uint32
	unknown                      uint32 // of the damaged ones, those whose number could not be read
}

// skip notes that the numbers of s have not come.
func (st *stream) skip(s span) {
	if len(st.gaps) == maxGaps {
		st.gaps = slices.Delete(st.gaps, 0, 1)
	}
	st.gaps = append(st.gaps, s)
}

// late looks at a number below the next one, and says whether it is its first
// time. counts says whether it is a measured message.
func (st *stream) late(seq uint32, counts bool) (first bool) {
	i := slices.IndexFunc(st.gaps, func(g span) bool { return g.from <= seq && seq < g.to })
	switch {
	case !counts:
	case i < 0:
		st.repeated++
	default:
		st.reordered++
	}
	if i < 0 {
		return false
	}
	g := st.gaps[i]
	rest := slices.DeleteFunc([]span{{g.from, seq}, {seq + 1, g.to}}, func(s span) bool { return s.from == s.to })
	st.gaps = slices.Replace(st.gaps, i, i+1, rest...)
	return true
}

// trouble sums up the stream of a viewer that got came of the expected
// messages.
func (st *stream) trouble(expected, came uint64) report.Trouble {
	missing := expected - min(expected, came)
	if st == nil {
		return report.Trouble{Missing: missing}
	}
	return report.Trouble{
		Missing:   missing - min(missing, uint64(st.unknown)),
		Repeated:  uint64(st.repeated),
		Reordered: uint64(st.reordered),
		Damaged:   uint64(st.damaged),

		Misnumbered: uint64(st.misnumbered),
	}
}

// accept counts a message that came with the right number.
func (v *viewer) accept(s stamp.Stamp, whole bool, now int64) {
	if v.membership != nil {
		v.membership.expect(v, s)
	}
	fresh := v.order(s)
	if v.membership != nil {
		v.membership.advance(v, now)
	}
	switch s.Kind {
	case stamp.Measured:
		if !fresh || v.phase != v.lane.phase {
			return
		}
		if !whole {
			v.trouble().damaged++
		}
		micros := (now - s.Due) / 1e3
		if micros < 0 {
			v.lane.early++
		}
		if v.membership != nil {
			v.membership.record(v, s, now, micros)
		} else {
			v.lane.latency.Record(now, micros)
		}
		v.lane.total++
		v.count++
		v.sum += uint64(max(micros, 0))
		v.worst = max(v.worst, uint32(min(max(micros, 0), report.HistMax)))
	case stamp.Fence, stamp.WarmFence:
		if v.phase == v.lane.phase {
			v.lane.ends++
		}
		if !v.past && v.room.ends(s) {
			v.past = true
			if v.phase == v.lane.phase {
				v.lane.add(countFenced, 1)
			}
		}
	}
}

// order checks the number of a message and says whether it is its first time.
func (v *viewer) order(s stamp.Stamp) (fresh bool) {
	switch {
	case s.Seq == v.next:
	case v.next == 0:
		v.lane.add(countAnchored, 1)
		if v.phase != v.lane.phase && !v.stalls { // it has come during the phase
			v.phase, v.from = v.lane.phase, s.Seq
		}
	case s.Seq > v.next:
		v.trouble().skip(span{v.next, s.Seq})
	default:
		return v.trouble().late(s.Seq, s.Kind == stamp.Measured)
	}
	v.next = s.Seq + 1
	return true
}

func (v *viewer) trouble() *stream {
	if v.stream == nil {
		v.stream = new(stream)
	}
	return v.stream
}
