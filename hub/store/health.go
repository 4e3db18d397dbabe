package store

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often a disk that keeps failing is logged.
const logEvery = time.Minute

// health records whether the disk works. Methods may be called from any
// goroutine.
type health struct {
	log *slog.Logger // immutable
	dir string       // immutable

	mu      sync.Mutex
	failing bool      // guarded by mu
	since   time.Time // guarded by mu; when the disk began to fail
	logged  time.Time // guarded by mu; when the failure was last logged
	errors  uint64    // guarded by mu
}

// failed counts an error, and logs it if it is the first or if logEvery has
// passed.
func (h *health) failed(err error) {
	h.mu.Lock()
	h.errors++
	now := time.Now()
	tell := !h.failing || now.Sub(h.logged) >= logEvery
	if !h.failing {
		h.failing, h.since = true, now
	}
	if tell {
		h.logged = now
	}
	since := h.since
	h.mu.Unlock()
	if tell {
		h.log.Error("rooms cannot be written to disk, or read: those that are there go on in memory only, and what is said now would not survive a restart",
			"data", h.dir, "error", err, "since", since)
	}
}

// worked notes that everything could be written.
func (h *health) worked() {
	h.mu.Lock()
	failing, since := h.failing, h.since
	h.failing = false
	h.mu.Unlock()
	if failing {
		h.log.Warn("rooms are written to disk again, with all that they still hold", "data", h.dir, "failed_for", time.Since(since).Round(time.Millisecond))
	}
}

func (h *health) stats() (errors uint64, failing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errors, h.failing
}
