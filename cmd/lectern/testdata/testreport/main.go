// Command testreport runs go test with the given arguments, prints what go test
// -v prints, and tells at the end what failed, and what was skipped and why.
// With CI=true a skipped test is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// An event is a line of go test -json, see go doc test2json.
type event struct {
	Action, Package, Test, Output string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	test := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	test.Stderr = os.Stderr
	events, err := test.StdoutPipe()
	if err != nil {
		return err
	}
	if err := test.Start(); err != nil {
		return err
	}
	r := report{packages: make(map[string]*strings.Builder), tests: make(map[[2]string]string)}
	if err := errors.Join(r.read(events), test.Wait()); err != nil {
		list("FAILED", r.failed)
		list("SKIPPED", r.skipped)
		return fmt.Errorf("go test: %w", err)
	}
	list("SKIPPED", r.skipped)
	if len(r.skipped) > 0 && os.Getenv("CI") == "true" {
		return errors.New("CI=true: nothing may be skipped")
	}
	return nil
}

func list(what string, tests []string) {
	if len(tests) > 0 {
		fmt.Printf("\n%s (%d):\n%s", what, len(tests), strings.Join(tests, ""))
	}
}

// A report gathers what the tests say.
type report struct {
	packages map[string]*strings.Builder // output of those that run, which do so at the same time
	tests    map[[2]string]string        // output of those that run, by package and name
	failed   []string
	skipped  []string
}

// read takes the events, and prints a package's output when the package has
// finished.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Printf("%s", line)
			continue
		}
		switch e.Action {
		case "output":
			r.output(e)
		case "build-output":
			fmt.Print(e.Output)
		case "pass", "fail", "skip":
			r.end(e)
		}
	}
}

// output leaves out the lines that only tell of beginnings, and of subtests
// that passed.
func (r *report) output(e event) {
	if strings.HasPrefix(e.Output, "=== ") {
		return
	}
	if e.Test != "" && !strings.HasPrefix(strings.TrimSpace(e.Output), "--- ") {
		r.tests[[2]string{e.Package, e.Test}] += e.Output
	}
	if strings.Contains(e.Test, "/") && strings.HasPrefix(strings.TrimSpace(e.Output), "--- PASS") {
		return
	}
	b := r.packages[e.Package]
	if b == nil {
		b = new(strings.Builder)
		r.packages[e.Package] = b
	}
	b.WriteString(e.Output)
}

func (r *report) end(e event) {
	if e.Test == "" {
		if b := r.packages[e.Package]; b != nil {
			fmt.Print(b)
		}
		delete(r.packages, e.Package)
		return
	}
	name := [2]string{e.Package, e.Test}
	switch e.Action {
	case "fail":
		r.failed = append(r.failed, fmt.Sprintf("%s %s\n", e.Package, e.Test))
	case "skip":
		r.skipped = append(r.skipped, fmt.Sprintf("%s %s\n%s", e.Package, e.Test, r.tests[name]))
	}
	delete(r.tests, name)
}
