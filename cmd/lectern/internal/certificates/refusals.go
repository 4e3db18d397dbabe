package certificates

import (
	"sync"
	"time"
)

// tellEvery is the least time between two lines of the log about the same cause.
const tellEvery = 10 * time.Second

// refusals count handshakes that fail for one cause, so that a crowd does not fill
// the log.
type refusals struct {
	mu    sync.Mutex
	told  time.Time // guarded by mu
	count int       // guarded by mu; since told
}

// add counts a handshake. It returns how many there were since the last line if
// another line is due, and 0 otherwise.
func (r *refusals) add(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if now.Sub(r.told) < tellEvery {
		return 0
	}
	n := r.count
	r.told, r.count = now, 0
	return n
}
