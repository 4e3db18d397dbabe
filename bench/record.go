package bench

import "sync/atomic"

// recordSlots is how many messages a room remembers. A viewer that is further
// behind has its frames parsed instead of compared.
const recordSlots = 8192

// An entry is one published message as a verbatim relay will deliver it.
type entry struct {
	frame  []byte // immutable; header and text
	due    int64  // immutable
	seq    uint32 // immutable
	kind   byte   // immutable
	header byte   // immutable; bytes of the header
}

func (e *entry) text() []byte { return e.frame[e.header:] }

// A record holds the latest messages of a room: one publisher writes, all
// workers read.
type record struct {
	slots [recordSlots]atomic.Pointer[entry]
}

func (r *record) put(e *entry) { r.slots[e.seq%recordSlots].Store(e) }

// at returns message seq, nil if it was not published yet or is forgotten.
func (r *record) at(seq uint32) *entry {
	if e := r.slots[seq%recordSlots].Load(); e != nil && e.seq == seq {
		return e
	}
	return nil
}
