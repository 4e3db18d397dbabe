//go:build linux

package attack

import (
	"fmt"
	"strings"
	"sync"
)

// table is what printTable prints, row by row.
var table struct {
	sync.Mutex
	rows []string
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+1<<19)>>20) }

// report prints a line, and keeps one for the table.
func (s *scene) report() {
	s.mu.Lock()
	defer s.mu.Unlock()
	verdict := "holds"
	if len(s.faults) > 0 {
		verdict = strings.ReplaceAll(strings.Join(s.faults, "; "), "\n", " ")
	}
	notes := ""
	if len(s.notes) > 0 {
		notes = " (" + strings.Join(s.notes, ", ") + ")"
	}
	var resident int64
	if s.relay != nil && s.relay.lives() {
		resident = s.relay.most()
	}
	fmt.Printf("%s: at rest %s; during %s; memory %s, at most %s (resident %s), %s after %s: %s%s\n",
		s.name, s.rest, s.during, megabytes(s.before), megabytes(s.peak), megabytes(resident), megabytes(s.after), brief(s.back), verdict, notes)

	memory, times := []string{megabytes(s.peak), megabytes(s.after)}, []string{brief(s.rest.p99), brief(s.during.p99), brief(max(s.during.max, s.during.silence))}
	died := s.relay == nil || !s.relay.lives()
	if died {
		memory[1] = "-"
	}
	if s.still || died {
		times[1], times[2] = "-", "-"
	}
	table.Lock()
	defer table.Unlock()
	table.rows = append(table.rows, fmt.Sprintf("| %s | %s | %s | %s%s |", s.name, strings.Join(times, " | "), strings.Join(memory, " | "), verdict, notes))
}

// printTable prints the table of a full run.
func printTable() {
	if !*full || len(table.rows) == 0 {
		return
	}
	fmt.Println("\n| Attack | p99 at rest | p99 during | Worst | Most memory | Memory after | Verdict |\n|---|---|---|---|---|---|---|")
	fmt.Println(strings.Join(table.rows, "\n"))
}
