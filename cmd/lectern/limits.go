package main

import (
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Descriptors that no connection to the relay's own address ever takes.
const (
	reservedDescriptors = 64 // for files, the listeners, the admin address, and requests on their way to the HTTP server
	workerDescriptors   = 4  // of each worker: its epoll, and what wakes it
)

// maxConns returns how many connections the relay accepts, in whatever phase.
func maxConns(descriptors, workers int) int {
	return max(1, descriptors-reservedDescriptors-workers*workerDescriptors)
}

// maxWebSockets returns how many of the connections that the relay accepts may
// become WebSockets. The others are left for handshakes, for plain HTTP, and to
// tell a newcomer that the relay is full.
func maxWebSockets(conns int) int {
	return max(1, conns-min(max(conns/64, 4), 1024))
}

// raiseDescriptors lets the process open as many descriptors as the system
// allows it, and returns how many that is.
func raiseDescriptors() (int, error) {
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

// processors is how many threads the Go runtime ran before useProcessors changed
// it: one for each processor that the process may use.
var processors = runtime.GOMAXPROCS(0)

// useProcessors returns how many workers there are to be, 0 standing for one for
// each processor, and has the Go runtime run one thread more: for everything
// else, and because workers that wait cost much less when one P is idle.
// GOMAXPROCS, if it is set, is left alone.
func useProcessors(workers int) int {
	if workers <= 0 {
		workers = processors
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers + 1)
	}
	return workers
}
