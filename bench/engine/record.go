package engine

import (
	"math/bits"
	"sync/atomic"
)

// How many messages a room remembers: many if there are few rooms. A viewer
// that is further behind has its frames parsed instead of compared.
const (
	mostSlots  = 8192
	leastSlots = 64
	allSlots   = 1 << 17 // of all rooms, unless they have the least
)

// An entry is one published message as a verbatim relay will deliver it.
type entry struct {
	frame  []byte // immutable; header and text
	number []byte // immutable; the same with its number, nil if no viewer asked for numbers
	due    int64  // immutable
	seq    uint32 // immutable
	kind   byte   // immutable
	header byte   // immutable; bytes of the header
}

func (e *entry) text() []byte { return e.frame[e.header:] }

// as returns the frame that a viewer gets.
func (e *entry) as(numbered bool) []byte {
	if numbered {
		return e.number
	}
	return e.frame
}

// A record holds the latest messages of a room: one publisher writes, all
// workers read.
type record struct {
	slots []atomic.Pointer[entry] // immutable; a power of two of them
}

// newRecord makes the record of one of that many rooms.
func newRecord(rooms int) *record {
	n := min(max(allSlots/rooms, leastSlots), mostSlots)
	return &record{slots: make([]atomic.Pointer[entry], 1<<(bits.Len(uint(n))-1))}
}

func (r *record) slot(seq uint32) *atomic.Pointer[entry] {
	return &r.slots[seq&uint32(len(r.slots)-1)]
}

func (r *record) put(e *entry) { r.slot(e.seq).Store(e) }

// at returns message seq, nil if it was not published yet or is forgotten.
func (r *record) at(seq uint32) *entry {
	if e := r.slot(seq).Load(); e != nil && e.seq == seq {
		return e
	}
	return nil
}
