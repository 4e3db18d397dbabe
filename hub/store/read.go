package store

import (
	"bytes"
	"encoding/json"

	"lectern/hub"
)

// A reading assembles a room from its files, which it is given oldest first.
type reading struct {
	code string

	saved    hub.Saved
	starts   uint64   // unclean starts when the room was saved
	known    bool     // a state was found
	messages [][]byte // the latest ones, without a gap; in the files' memory

	damaged bool   // something was not written by a store, or only in part
	gap     bool   // a file is missing, or does not end as it should
	ended   kind   // how the last file was sealed, 0 if it was not
	last    uint32 // number of the last file

	slab slab
}

// clean reports whether the room's record was complete when the relay stopped.
func (r *reading) clean() bool { return !r.damaged && !r.gap && r.ended == stop }

// file parses a file. It returns how many bytes from its beginning are good, up
// to the end of an entry that completes a batch. Fewer than all bytes mean that
// the file is damaged, and 0 that nothing in it is usable.
func (r *reading) file(number uint32, content []byte) (good int) {
	previous, after := r.ended, r.last
	r.ended, r.last = 0, number
	b, ok := bytes.CutPrefix(content, []byte(fileMagic))
	if !ok {
		r.damaged = true
		return 0
	}
	good = len(fileMagic)
	parts, first, ended := entry{}, true, kind(0)
	for len(b) > 0 && ended == 0 {
		e, rest, err := r.slab.nextEntry(b)
		if err != nil || !parts.join(&e) {
			break
		}
		b = rest
		switch e.kind {
		case part:
			parts = e
			continue
		case state, begin:
			if first {
				// The first file read may be the oldest that is left.
				r.gap = e.kind == state && (r.gap || r.known && (previous != next || number != after+1))
			}
			if !r.take(e, first) {
				r.damaged = true
				if first {
					return 0
				}
				return good
			}
			parts, first = entry{}, false
		default:
			ended = e.kind
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

// join prepends the parts to the entry that follows them. It returns false if
// the entry does not follow them.
func (parts *entry) join(e *entry) bool {
	n := uint64(len(parts.messages))
	if n == 0 {
		return true
	}
	if e.kind > begin || e.first != parts.first+n {
		return false
	}
	e.first, e.messages = parts.first, append(parts.messages, e.messages...)
	return true
}

// take applies a state with its broadcasts. It returns false if the state
// cannot be one of this room at this place. The first state of a file need not
// continue what was read before.
func (r *reading) take(e entry, first bool) bool {
	saved := savedRoom{r.saved, r.starts}
	switch {
	case len(e.state) > 0:
		saved = savedRoom{}
		if json.Unmarshal(e.state, &saved) != nil || saved.Code != r.code {
			return false
		}
	case first:
		return false
	}
	if !first && e.first != r.saved.Seq+1 {
		return false
	}
	// If broadcasts are in two files, the later file is right. Drop what came
	// before a gap, and what an older room with the same code has left.
	base := r.saved.Seq - uint64(len(r.messages))
	if saved.Birth == r.saved.Birth && e.first > base && e.first <= r.saved.Seq+1 {
		r.messages = r.messages[:e.first-1-base]
	} else {
		r.messages = r.messages[:0]
	}
	r.messages = append(r.messages, e.messages...)
	r.saved, r.starts, r.known = saved.Saved, saved.Starts, true
	r.saved.Seq = e.first + uint64(len(e.messages)) - 1
	r.saved.Sent, r.saved.LastID = e.sent, e.lastID
	return true
}

// lastBytes returns the latest messages with at most this many bytes, all
// messages if it is 0.
func (r *reading) lastBytes(most int64) [][]byte {
	from := len(r.messages)
	for left := most; from > 0; from-- {
		if left -= int64(len(r.messages[from-1])); most > 0 && left < 0 {
			break
		}
	}
	return r.messages[from:]
}
