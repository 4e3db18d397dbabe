package report

import (
	"fmt"
	"slices"
)

// passed reports whether a run went to its end and nothing is wrong with it.
func (res *Result) passed() bool { return res.Failed() == nil && !res.Interrupted }

// verdict returns the lines that a report opens with: whether the run passed, or
// all that is wrong, and what the run was made to find out.
func (res *Result) verdict() []string {
	answer := res.answer()
	if res.passed() {
		return []string{"PASSED: " + answer}
	}
	var lines []string
	for _, p := range slices.Concat(res.Crossed, res.Problems) {
		if !res.Interrupted || p != interruption {
			lines = append(lines, "FAILED: "+p)
		}
	}
	if res.Interrupted {
		lines = append([]string{"INTERRUPTED: these are the results so far"}, lines...)
	}
	if answer != "" {
		lines = append(lines, "found: "+answer)
	}
	return lines
}

// answer says in a line what the run found out, as far as it did.
func (res *Result) answer() string {
	switch {
	case res.Scenario == "saturate":
		return res.held()
	case res.Memory != nil:
		return fmt.Sprintf("%s take %.0f B of the server's memory each", Count(res.Memory.Viewers, "viewer"), res.Memory.PerViewer)
	}
	var expected, delivered uint64
	var worst *Phase
	for i := range res.Phases {
		p := &res.Phases[i]
		expected, delivered = expected+p.Expected, delivered+p.Delivered
		if worst == nil || p.Latency.P99 > worst.Latency.P99 {
			worst = p
		}
	}
	switch {
	case delivered > 0:
		return fmt.Sprintf("%s of %s arrived, p99 %s", Grouped(int64(delivered)), Count(expected, "message"), Micros(worst.Latency.P99))
	case expected == 0 && len(res.Connects) > 0:
		c := &res.Connects[len(res.Connects)-1]
		return fmt.Sprintf("%s of %s joined, %s a second, p99 %s", Grouped(int64(c.Joined)), Count(c.Wanted, "viewer"), Grouped(int64(c.PerSecond)), Micros(c.Join.P99))
	default:
		return ""
	}
}

// held says what saturate was asked.
func (res *Result) held() string {
	h := res.Held
	if h == nil {
		return "no step held"
	}
	return fmt.Sprintf("the server holds %s messages a second of %d bytes to %s: %s deliveries a second, p99 %s",
		Trim(h.Rate), h.Size, Count(h.Viewers, "viewer"), Grouped(int64(h.PerSecond)), Micros(h.Latency.P99))
}
