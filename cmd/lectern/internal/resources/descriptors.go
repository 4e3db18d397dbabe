// Package resources decides how much of the machine a relay uses: descriptors,
// processors and memory.
package resources

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Descriptors that no connection to the relay's own address takes.
const (
	reservedDescriptors = 64 // for files, the listeners, the admin address, and requests on their way to the HTTP server
	workerDescriptors   = 4  // of each worker: its epoll, and what wakes it
)

// Reserved returns how many descriptors a relay keeps for itself.
func Reserved(workers int) int { return reservedDescriptors + workers*workerDescriptors }

// MaxConns returns how many connections a relay accepts, in whatever phase.
func MaxConns(descriptors, workers int) int { return max(1, descriptors-Reserved(workers)) }

// MaxWebSockets returns how many of the connections that a relay accepts may become
// WebSockets. The rest is for handshakes, for plain HTTP, and for telling a newcomer
// that the relay is full.
func MaxWebSockets(conns int) int {
	return max(1, conns-min(max(conns/64, 4), 1024))
}

// RaiseDescriptors raises the process's limit of open files to what the system
// allows, and returns it.
func RaiseDescriptors() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return 0, fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
	}
	return int(min(limit.Cur, math.MaxInt32)), nil
}
