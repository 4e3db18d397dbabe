package engine

import (
	"bytes"
	"math"
	"math/bits"
	"sync/atomic"

	"lectern/bench/stamp"
)

// A room is one host's messages, and what its viewers expect of them.
type room struct {
	index  int    // immutable
	name   string // immutable once the host has opened it
	tag    uint32 // immutable; 24 random bits in every stamp
	remote bool   // immutable; another process publishes here, the tag is its own

	record   *record       // nil unless verbatim
	newest   atomic.Uint32 // number of the last message
	from, to atomic.Uint32 // the phase's measured messages; to is huge until the last is published
	before   atomic.Uint32 // remote only; to of the phase before, whose fence may still be on its way
}

// begin says that messages of that kind follow, from seq on. Where they end is
// not known yet.
func (r *room) begin(kind byte, seq uint32) {
	if kind != stamp.Measured {
		seq = math.MaxUint32 // nothing that is expected
	}
	r.to.Store(math.MaxUint32)
	r.from.Store(seq)
}

// close says that the phase's last message is before seq.
func (r *room) close(seq uint32) {
	if r.from.Load() > seq {
		r.from.Store(seq)
	}
	r.to.Store(seq)
}

// overlap returns how many measured messages of the phase lie in s.
func (r *room) overlap(s span) uint32 {
	from, to := max(s.from, r.from.Load()), min(s.to, r.to.Load())
	return max(from, to) - from
}

// expected returns how many measured messages of the phase lie in s, 0 while
// the end of the phase is not known.
func (r *room) expected(s span) uint64 {
	if r.to.Load() == math.MaxUint32 {
		return 0
	}
	return uint64(r.overlap(s))
}

// fence returns what a fence carries in place of the time it was due: the
// measured messages, for viewers of another process.
func (r *room) fence() int64 { return int64(r.from.Load())<<32 | int64(r.to.Load()) }

// ends reports whether a fence is the end of the present phase and not a copy
// of an earlier phase's.
func (r *room) ends(s stamp.Stamp) bool {
	if !r.remote {
		return s.Seq >= r.to.Load()
	}
	if s.Kind != stamp.Fence || uint32(s.Due) == r.before.Load() {
		return false
	}
	r.settle(uint32(s.Due>>32), uint32(s.Due))
	return true
}

// renew begins a phase of a remote room: which messages are measured is not
// known yet.
func (r *room) renew() {
	if to := r.to.Load(); to != math.MaxUint32 {
		r.before.Store(to)
	}
	r.settle(math.MaxUint32, math.MaxUint32)
}

// settle says which messages of a remote room are measured.
func (r *room) settle(from, to uint32) {
	r.from.Store(from)
	r.to.Store(to)
}

// unnumbered is what published returns for a message without a number.
const unnumbered = -1

// published looks at a message that claims to be number seq: which number it has with
// it, and whether it is what was published, as far as the room remembers.
func (r *room) published(seq uint32, message []byte) (number int64, same bool) {
	e := r.record.at(seq)
	n, rest, ok := cutNumber(message)
	if !ok {
		return unnumbered, e == nil || bytes.Equal(message, e.text)
	}
	return int64(n), e == nil || bytes.Equal(rest, e.text[1:])
}

// How many messages a room remembers: many if there are few rooms. A viewer
// that is further behind has its frames parsed instead of compared.
const (
	mostSlots  = 8192
	leastSlots = 64
	allSlots   = 1 << 17 // of all rooms, unless they have the least
)

// An entry is one published message, and the frames in which a verbatim relay delivers
// it. The first viewer that gets one checks it, and the others compare with it: a relay
// makes the frame once for all of them.
type entry struct {
	stamp.Stamp
	text     []byte                 // immutable
	frame    atomic.Pointer[[]byte] // set once; as the first viewer got it, nil before
	numbered atomic.Pointer[[]byte] // the same of viewers that get numbers
}

func (e *entry) as(numbered bool) *atomic.Pointer[[]byte] {
	if numbered {
		return &e.numbered
	}
	return &e.frame
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

func (r *record) put(e *entry) { r.slot(e.Seq).Store(e) }

// keep keeps the frame of message seq that a viewer has checked, unless another one has
// done so before.
func (r *record) keep(seq uint32, numbered bool, frame []byte) {
	if e := r.at(seq); e != nil && e.as(numbered).Load() == nil {
		frame = bytes.Clone(frame)
		e.as(numbered).CompareAndSwap(nil, &frame)
	}
}

// at returns message seq, nil if it was not published yet or is forgotten. It may be
// called on nil.
func (r *record) at(seq uint32) *entry {
	if r == nil {
		return nil
	}
	if e := r.slot(seq).Load(); e != nil && e.Seq == seq {
		return e
	}
	return nil
}
