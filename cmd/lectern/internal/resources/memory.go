package resources

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"lectern/hub"
	"lectern/hub/budget"
)

const (
	// gcPercent is the collector's setting unless the user chose one: the heap
	// is small and lives long, so collecting it more often costs little.
	gcPercent = 50

	// memoryShare is how much of the memory of the control group, or of the
	// machine, the relay uses at most by default.
	memoryShare = 0.75

	// After a burst the keeper returns memory to the system. A burst is any of these
	// since memory was last returned: the process holds burstBytes more, burstBytes
	// fewer are counted than at the peak, or burstConns connections were gained. It has
	// ended when no connections and at most smallGain bytes were gained for burstEnded
	// looks.
	burstConns  = 1000
	burstBytes  = 8 << 20
	smallGain   = 1 << 20
	burstEnded  = 5 // looks, one each memoryEvery
	memoryEvery = time.Second

	// collectEvery bounds how often the keeper collects the heap to see whether
	// memory that seems to be used still is.
	collectEvery = 10 // looks
)

// LimitMemory sets the collector's limit to a number of bytes or, with 0, to three
// quarters of what there is, and returns it. It returns 0 if that is unknown. A
// GOMEMLIMIT in the environment replaces the three quarters.
func LimitMemory(size int64) (int64, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if size > 0 {
		debug.SetMemoryLimit(size)
		return size, nil
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		return 0, fmt.Errorf("find out how much memory there is (--memory sets it): %w", err)
	}
	if limit == noLimit {
		limit = 0
	}
	return limit, nil
}

// noLimit is the runtime's value for no limit.
const noLimit = 1<<63 - 1

// A MemoryKeeper looks after a relay's memory once a second: it tells the budget how
// large the heap is, has the hub act on it, and returns to the system what a burst
// needed.
type MemoryKeeper struct {
	hub *hub.Hub

	last, counted int64 // connections and counted bytes at the last look
	quiet         int   // looks since either was gained
	settled       int64 // bytes held from the system when they were last returned
	peak          int64 // most bytes that were counted since then
	joined        int64 // fewest connections since then
	collected     int   // looks since the heap was last collected by us
}

// NewMemoryKeeper returns the keeper of a hub's memory.
func NewMemoryKeeper(h *hub.Hub) *MemoryKeeper { return &MemoryKeeper{hub: h} }

// Run looks after the memory until ctx ends.
func (k *MemoryKeeper) Run(ctx context.Context) {
	k.settled = heldBytes()
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.look()
		}
	}
}

func (k *MemoryKeeper) look() {
	b := k.hub.Budget()
	b.SetHeap(liveHeap())
	if k.collected++; b.Level() > budget.Calm && b.Level() > b.Counted() && k.collected >= collectEvery {
		k.collected = 0
		runtime.GC() // what the heap was when it was last collected may be long gone
		b.SetHeap(liveHeap())
	}
	k.hub.Tend()

	connections, counted := k.hub.Connections(), b.Sum()
	if connections > k.last || counted > k.counted+smallGain {
		k.quiet = 0
	} else {
		k.quiet++
	}
	k.last, k.counted = connections, counted
	held := heldBytes()
	k.settled, k.peak = min(k.settled, held), max(k.peak, counted)
	k.joined = min(k.joined, connections)
	burst := held-k.settled >= burstBytes || k.peak-counted >= burstBytes || connections-k.joined >= burstConns
	if k.quiet >= burstEnded && burst {
		runtime.GC() // what pools keep goes with the second collection after its last use
		debug.FreeOSMemory()
		k.settled, k.peak, k.joined = heldBytes(), counted, connections
	}
}

// heldBytes returns how many bytes the Go runtime holds from the system.
func heldBytes() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// liveHeap returns how many bytes the last collection found in use.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
