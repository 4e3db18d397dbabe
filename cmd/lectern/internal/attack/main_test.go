//go:build linux

package attack

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	full = flag.Bool("full", false, "run the attacks at full size; see `make attack`")

	// raced tells that the tests run with the race detector. The relay never
	// does here: the detector's own memory would hide the relay's.
	raced bool

	binaryPath string // the relay that TestMain built
	serveHelp  string // what `lectern serve --help` says
)

// sized returns a number for the full form of the tests, or for the short one.
func sized[T any](whole, short T) T {
	if *full {
		return whole
	}
	return short
}

func TestMain(m *testing.M) {
	if text := os.Getenv(planEnv); text != "" {
		if err := beAttacker(text); err != nil {
			fmt.Fprintln(os.Stderr, "attacker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(func() int {
		flag.Parse()
		if !*full { // most of it waits
			_ = flag.Set("test.parallel", "4")
		}
		dir, err := os.MkdirTemp("", "lectern-attack-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaryPath = filepath.Join(dir, "lectern")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", binaryPath, "lectern/cmd/lectern")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		help, err := exec.Command(binaryPath, "serve", "--help").Output()
		if err != nil {
			fmt.Fprintln(os.Stderr, "lectern serve --help:", err)
			return 1
		}
		serveHelp = string(help)
		code := m.Run()
		printTable()
		return code
	}())
}

// knows reports whether the relay has an option, which is told without dashes.
func knows(option string) bool { return strings.Contains(serveHelp, "--"+option+"=") }
