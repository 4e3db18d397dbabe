package resources

import (
	"os"
	"runtime"
)

// processors is how many threads the Go runtime ran before UseProcessors changed
// it: one for each processor that the process may use.
var processors = runtime.GOMAXPROCS(0)

// Processors returns how many processors the process may use.
func Processors() int { return processors }

// Workers returns how many workers a relay has, given --workers: with 0 one for each
// processor.
func Workers(option int) int {
	if option <= 0 {
		return processors
	}
	return option
}

// UseProcessors has the Go runtime run one thread more than there are workers: for
// everything else, and because waiting workers cost much less while one P is idle.
// It leaves a GOMAXPROCS in the environment alone.
func UseProcessors(workers int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers + 1)
	}
}
