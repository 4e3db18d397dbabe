package store

import (
	"bytes"
	"encoding/json"

	"lectern/hub"
)

// A reading puts a room together from its files, which it is given from the
// oldest on.
type reading struct {
	code string

	saved    hub.Saved
	starts   uint64   // unclean starts when it was saved
	known    bool     // there was a state
	messages [][]byte // the last ones, without a gap; in the files' memory

	damaged bool   // something is there that no writer wrote, or wrote only in part
	gap     bool   // a file is missing, or does not end as it should
	ended   kind   // how the last file was sealed, 0 if it was not
	last    uint32 // number of the last file

	slab slab
}

// clean reports whether the room is as it was when the relay was stopped.
func (r *reading) clean() bool { return !r.damaged && !r.gap && r.ended == stop }

// file reads one. It returns how many bytes from its beginning on are good, up
// to the end of a record that completes something: less than all means that the
// file is damaged, and 0 that nothing of it is of use.
func (r *reading) file(number uint32, content []byte) (good int) {
	previous, after := r.ended, r.last
	r.ended, r.last = 0, number
	b, ok := bytes.CutPrefix(content, []byte(fileMagic))
	if !ok {
		r.damaged = true
		return 0
	}
	good = len(fileMagic)
	parts, first, ended := record{}, true, kind(0)
	for len(b) > 0 && ended == 0 {
		one, rest, err := r.slab.nextRecord(b)
		if err != nil || !parts.join(&one) {
			break
		}
		b = rest
		switch one.kind {
		case part:
			parts = one
			continue
		case state, begin:
			if first {
				// The first file may be the oldest that is left.
				r.gap = one.kind == state && (r.gap || r.known && (previous != next || number != after+1))
			}
			if !r.take(one, first) {
				r.damaged = true
				if first {
					return 0
				}
				return good
			}
			parts, first = record{}, false
		default:
			ended = one.kind
		}
		good = len(content) - len(b)
	}
	if first {
		good, ended = 0, 0
	}
	r.damaged = r.damaged || good < len(content)
	r.ended = ended
	return good
}

// join puts the parts before the record that follows them, and reports whether
// it does follow them.
func (parts *record) join(one *record) bool {
	n := uint64(len(parts.messages))
	if n == 0 {
		return true
	}
	if one.kind > begin || one.first != parts.first+n {
		return false
	}
	one.first, one.messages = parts.first, append(parts.messages, one.messages...)
	return true
}

// take applies a state with its broadcasts, and reports whether it can be one
// of this room, at this place. The first of a file need not go on from what was
// read before.
func (r *reading) take(one record, first bool) bool {
	saved := savedRoom{r.saved, r.starts}
	switch {
	case len(one.state) > 0:
		saved = savedRoom{}
		if json.Unmarshal(one.state, &saved) != nil || saved.Code != r.code {
			return false
		}
	case first:
		return false
	}
	if !first && one.first != r.saved.Seq+1 {
		return false
	}
	// Of what is in two files the later one is right. After a gap, what came
	// before it is of no use, nor is what an older room with the code has left.
	base := r.saved.Seq - uint64(len(r.messages))
	if saved.Birth == r.saved.Birth && one.first > base && one.first <= r.saved.Seq+1 {
		r.messages = r.messages[:one.first-1-base]
	} else {
		r.messages = r.messages[:0]
	}
	r.messages = append(r.messages, one.messages...)
	r.saved, r.starts, r.known = saved.Saved, saved.Starts, true
	r.saved.Seq = one.first + uint64(len(one.messages)) - 1
	r.saved.Sent, r.saved.LastID = one.sent, one.lastID
	return true
}

// lastBytes returns the last messages that have no more than so many bytes, all
// with 0.
func (r *reading) lastBytes(most int64) [][]byte {
	from := len(r.messages)
	for left := most; from > 0; from-- {
		if left -= int64(len(r.messages[from-1])); most > 0 && left < 0 {
			break
		}
	}
	return r.messages[from:]
}
