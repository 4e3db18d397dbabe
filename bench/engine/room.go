package engine

import (
	"math"
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
	numbers  bool          // immutable; some ask for numbered messages
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
