package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"lectern/hub"
)

const (
	// gcPercent is the collector's setting unless the user chose one: the heap
	// is small and lives long, so collecting it more often costs little.
	gcPercent = 50

	// A burst is that many connections gained; it has ended when none were
	// gained for a while.
	burst       = 1000
	burstEnded  = 5 // looks, one each memoryEvery
	memoryEvery = time.Second
)

// giveBackMemory returns to the system what a burst of joins needed and no
// longer needs, once it has ended. It ends with ctx.
func giveBackMemory(ctx context.Context, h *hub.Hub) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	var settled, last int64 // connections when memory was last given back, and at the last look
	quiet := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := h.Connections()
		if now > last {
			quiet = 0
		} else {
			quiet++
		}
		last = now
		settled = min(settled, now)
		if now-settled >= burst && quiet >= burstEnded {
			debug.FreeOSMemory()
			settled = now
		}
	}
}
