// Package budget counts, in one place, the memory that peers can make the relay
// use, and says how much of the budget is left. It takes no memory itself and
// frees none: whoever holds memory counts it here, and looks at [Budget.Level]
// before taking more.
package budget

import (
	"math"
	"sync/atomic"
)

// A Kind is what memory is used for. Each has a gauge of its own in the metrics.
type Kind uint8

// The kinds.
const (
	Logs      Kind = iota // rooms' Logs: their records, and what slow viewers have yet to get
	Histories             // histories and pages of lists, as long as a connection has yet to send them
	Answers               // frames for single connections that wait for their sockets
	Input                 // incomplete messages, and input that waits to be looked at
	Heads                 // incomplete heads of requests
	HTTP                  // plain HTTP requests under way, with their bodies
	Kinds                 // how many there are
)

var names = [Kinds]string{"logs", "histories", "answers", "input", "heads", "http"}

// String returns the kind's name in the metrics.
func (k Kind) String() string { return names[k] }

// A Level is how much of the budget is used, and so what is still allowed. Each
// level includes the restrictions of those below.
type Level uint8

// The levels.
const (
	Calm  Level = iota // everything is allowed
	Tight              // from 50 %: no new histories, and records are held to less
	Full               // from 60 %: no new rooms and connections
	Over               // from 70 %: viewers that hold most are closed
)

// The shares of the limit, in percent, at which the levels begin. What is left
// above them is for the garbage collector, stacks and what the kernel charges.
const (
	tightPercent = 50
	fullPercent  = 60
	overPercent  = 70
)

// A Budget counts memory against a limit. Its zero value has no limit. Its
// methods may be called from anywhere.
type Budget struct {
	limit atomic.Int64 // bytes; 0 for none
	heap  atomic.Int64 // bytes of the live heap, as last measured
	used  [Kinds]atomic.Int64
}

// SetLimit sets the limit in bytes; 0 or less means none.
func (b *Budget) SetLimit(bytes int64) { b.limit.Store(max(0, bytes)) }

// Limit returns the limit in bytes, 0 for none.
func (b *Budget) Limit() int64 { return b.limit.Load() }

// SetHeap notes the bytes of the live heap, which bounds what is used from
// below: it includes what is not counted here.
func (b *Budget) SetHeap(bytes int64) { b.heap.Store(bytes) }

// Add counts n more bytes of a kind, or gives back -n.
func (b *Budget) Add(k Kind, n int64) {
	if n != 0 {
		b.used[k].Add(n)
	}
}

// Used returns the bytes of a kind.
func (b *Budget) Used(k Kind) int64 { return b.used[k].Load() }

// Sum returns the bytes of all kinds.
func (b *Budget) Sum() (bytes int64) {
	for k := range Kinds {
		bytes += b.used[k].Load()
	}
	return bytes
}

// Total returns the bytes of all kinds, or those of the live heap if they are
// more.
func (b *Budget) Total() int64 { return max(b.Sum(), b.heap.Load()) }

// Level returns how much of the limit is used.
func (b *Budget) Level() Level { return b.LevelWith(0) }

// Counted returns how much of the limit is used by what is counted, whatever the
// heap is: closing connections frees what is counted, but the heap shrinks only
// when it is next collected.
func (b *Budget) Counted() Level { return b.level(b.Sum()) }

// LevelWith returns what the level would be with n bytes more.
func (b *Budget) LevelWith(n int64) Level { return b.level(b.Total() + n) }

func (b *Budget) level(used int64) Level {
	limit := b.limit.Load()
	if limit == 0 {
		return Calm
	}
	switch {
	case used >= share(limit, overPercent):
		return Over
	case used >= share(limit, fullPercent):
		return Full
	case used >= share(limit, tightPercent):
		return Tight
	}
	return Calm
}

// share returns so many percent of n.
func share(n, percent int64) int64 {
	if n > math.MaxInt64/100 {
		return n / 100 * percent
	}
	return n * percent / 100
}
