// Package budget counts, in one place, the memory that peers can make the relay
// use, and reports how much of the budget is used. It neither allocates nor
// frees that memory: code that holds memory counts it here, and checks
// [Budget.Level] before it takes more.
package budget

import (
	"math"
	"sync/atomic"
)

// A Kind is what memory is used for. The metrics have a gauge for each.
type Kind uint8

// The kinds.
const (
	Logs        Kind = iota // rooms' Logs: their records, and what slow viewers have yet to receive
	Histories               // histories and pages of lists that connections have yet to send
	Answers                 // frames for single connections that wait for their sockets
	Input                   // incomplete messages, and input that waits
	Heads                   // incomplete request heads
	HTTP                    // plain HTTP requests in progress, with their bodies; clients that post and poll
	TLS                     // handshakes, and records that are incomplete or wait for their sockets
	Compression             // deflaters and inflaters
	Kinds                   // number of kinds
)

var names = [Kinds]string{"logs", "histories", "answers", "input", "heads", "http", "tls", "compression"}

// String returns the kind's name in the metrics.
func (k Kind) String() string { return names[k] }

// A Level is how much of the budget is used, and so what is still allowed. Each
// level includes the restrictions of the lower ones.
type Level uint8

// The levels.
const (
	Calm  Level = iota // everything is allowed
	Tight              // from 50 %: no new histories, and smaller records
	Full               // from 60 %: no new rooms and connections
	Over               // from 70 %: the connections that hold most are closed
)

// The percentages of the limit at which the levels begin. The rest is for the
// garbage collector, for stacks and for what the kernel charges to the process.
const (
	tightPercent = 50
	fullPercent  = 60
	overPercent  = 70
)

// A Budget counts memory against a limit. The zero value has no limit. Methods
// may be called from any goroutine.
type Budget struct {
	limit atomic.Int64 // atomic; bytes; 0 for no limit
	heap  atomic.Int64 // atomic; bytes of the live heap, as last measured
	used  [Kinds]atomic.Int64
}

// SetLimit sets the limit in bytes. A limit of 0 or less means no limit.
func (b *Budget) SetLimit(bytes int64) { b.limit.Store(max(0, bytes)) }

// Limit returns the limit in bytes, 0 for no limit.
func (b *Budget) Limit() int64 { return b.limit.Load() }

// SetHeap sets the bytes of the live heap. It is a lower bound of the memory in
// use because it includes memory that is not counted here.
func (b *Budget) SetHeap(bytes int64) { b.heap.Store(bytes) }

// Add adds n bytes to a kind. A negative n gives them back.
func (b *Budget) Add(k Kind, n int64) {
	if n != 0 {
		b.used[k].Add(n)
	}
}

// Used returns the bytes counted for a kind.
func (b *Budget) Used(k Kind) int64 { return b.used[k].Load() }

// Sum returns the bytes counted for all kinds.
func (b *Budget) Sum() (bytes int64) {
	for k := range Kinds {
		bytes += b.used[k].Load()
	}
	return bytes
}

// Total returns Sum, or the bytes of the live heap if they are more.
func (b *Budget) Total() int64 { return max(b.Sum(), b.heap.Load()) }

// Level returns the level for Total.
func (b *Budget) Level() Level { return b.LevelWith(0) }

// Counted returns the level for Sum alone. Closing connections reduces Sum at
// once, while the heap shrinks only at the next garbage collection.
func (b *Budget) Counted() Level { return b.level(b.Sum()) }

// LevelWith returns what Level would be with n bytes more.
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

// share returns the given percentage of n without overflow.
func share(n, percent int64) int64 {
	if n > math.MaxInt64/100 {
		return n / 100 * percent
	}
	return n * percent / 100
}
