package report

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// WriteText writes the result for people: the verdict, then the tables.
func (res *Result) WriteText(out io.Writer) error {
	w := &printer{out: out}
	w.line("")
	for _, text := range res.verdict() {
		w.line("%s", text)
	}
	for _, p := range res.Warnings {
		w.line("warning: %s", p)
	}
	w.line("")
	for _, rows := range res.tables() {
		w.table(rows)
	}
	for _, text := range res.sentences() {
		w.line("%s", text)
	}
	return w.err
}

// tables returns the rows of what happened, in the order that they are shown.
func (res *Result) tables() (out [][][]string) {
	for _, rows := range [][][]string{res.faultRows(), res.connectRows(), res.phaseRows(), res.resumedRows(), res.resumedTimes(),
		res.arrivedRows(), res.arrivedTimes(), res.memoryRows()} {
		if len(rows) > 1 {
			out = append(out, rows)
		}
	}
	return out
}

// A printer keeps the first error of many writes.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// table writes rows in columns, the first flush left and the others right.
func (p *printer) table(rows [][]string) {
	widest := 0
	for _, row := range rows {
		widest = max(widest, len(row[0]))
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintf(t, "%-*s\t", widest, row[0]) // an error comes with Flush
		for _, cell := range row[1:] {
			fmt.Fprintf(t, "%s\t", cell)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); p.err == nil {
		p.err = err
	}
	p.line("")
}

func (res *Result) faultRows() [][]string {
	rows := [][]string{{"who", "stage", "what happened", "how many", "for example"}}
	for _, f := range res.Faults {
		rows = append(rows, []string{f.Who, string(f.Stage), f.Reason, Grouped(int64(f.Count)), Clip(f.Example, 200)})
	}
	return rows
}

func (res *Result) connectRows() [][]string {
	rows := [][]string{{"", "joined", "failed", "seconds", "a second", "p50", "p99", "max", "server CPU each"}}
	for _, c := range res.Connects {
		rows = append(rows, []string{c.Name, Grouped(int64(c.Joined)), Grouped(int64(c.Failed)), fmt.Sprintf("%.2f", c.Seconds), Grouped(int64(c.PerSecond)),
			Micros(c.Join.P50), Micros(c.Join.P99), Micros(c.Join.Max), orDash(c.Server != nil, fmt.Sprintf("%.1f us", c.CPUEach))})
	}
	return rows
}

func (res *Result) phaseRows() [][]string {
	if len(res.Phases) == 0 {
		return nil
	}
	head := []string{""}
	for i := range res.Phases {
		head = append(head, res.Phases[i].Name)
	}
	rows := [][]string{head}
	traffic := slices.ContainsFunc(res.Phases, func(p Phase) bool { return p.Planned > 0 || p.Expected > 0 })
	for _, c := range phaseCells {
		if c.traffic && !traffic {
			continue
		}
		row := []string{c.name}
		for i := range res.Phases {
			row = append(row, c.cell(&res.Phases[i]))
		}
		rows = append(rows, row)
	}
	return rows
}

// phaseCells are the figures of a phase, in the order that they are shown.
var phaseCells = []struct {
	name    string
	traffic bool // means nothing where nothing was published
	cell    func(*Phase) string
}{
	{"viewers", false, func(p *Phase) string { return Grouped(int64(p.Viewers)) }},
	{"messages a second", true, func(p *Phase) string { return fmt.Sprintf("%s x %d", Trim(p.Rate), p.Rooms) }},
	{"bytes", true, func(p *Phase) string { return Grouped(int64(p.Size)) }},
	{"seconds", false, func(p *Phase) string { return fmt.Sprintf("%.2f", p.Seconds) }},
	{"expected", true, func(p *Phase) string { return Grouped(int64(p.Expected)) }},
	{"delivered", true, func(p *Phase) string { return Grouped(int64(p.Delivered)) }},
	{"missing", true, func(p *Phase) string { return Grouped(int64(p.Missing)) }},
	{"repeated", true, func(p *Phase) string { return Grouped(int64(p.Repeated)) }},
	{"out of order", true, func(p *Phase) string { return Grouped(int64(p.Reordered)) }},
	{"damaged", true, func(p *Phase) string { return Grouped(int64(p.Damaged)) }},
	{"connections lost", false, func(p *Phase) string { return Grouped(int64(p.Gone)) }},
	{"deliveries a second", true, func(p *Phase) string { return Grouped(int64(p.PerSecond)) }},
	{"latency p50", true, func(p *Phase) string { return p.ofLatency(p.Latency.P50) }},
	{"p90", true, func(p *Phase) string { return p.ofLatency(p.Latency.P90) }},
	{"p99", true, func(p *Phase) string { return p.ofLatency(p.Latency.P99) }},
	{"p99.9", true, func(p *Phase) string { return p.ofLatency(p.Latency.P999) }},
	{"max", true, func(p *Phase) string { return p.ofLatency(p.Latency.Max) }},
	{"fastest viewer's mean", true, func(p *Phase) string { return p.ofLatency(p.Spread.Fastest) }},
	{"slowest viewer's mean", true, func(p *Phase) string { return p.ofLatency(p.Spread.Slowest) }},
	{"published late p99", true, func(p *Phase) string { return Micros(p.SendLate.P99) }},
	{"server CPU a delivery", true, func(p *Phase) string {
		return orDash(p.Server != nil && p.Delivered > 0, fmt.Sprintf("%.0f ns", p.CPUEach))
	}},
	{"server processors", false, func(p *Phase) string {
		return p.ofServer(func(u *Usage) string { return fmt.Sprintf("%.2f", u.Cores) })
	}},
	{"server memory before", false, func(p *Phase) string { return p.ofServer(func(u *Usage) string { return Size(u.RSSBefore) }) }},
	{"server memory peak", false, func(p *Phase) string { return p.ofServer(func(u *Usage) string { return Size(u.RSSPeak) }) }},
	{"bench processors", false, func(p *Phase) string { return fmt.Sprintf("%.2f", p.Bench.Cores) }},
	{"machine busy", false, func(p *Phase) string { return fmt.Sprintf("%.0f %%", 100*p.Busy) }},
}

// ofLatency shows a latency, if any was measured.
func (p *Phase) ofLatency(us int64) string { return orDash(p.Latency.Count > 0, Micros(us)) }

func (p *Phase) ofServer(cell func(*Usage) string) string {
	if p.Server == nil {
		return "-"
	}
	return cell(p.Server)
}

func orDash(known bool, cell string) string {
	if !known {
		return "-"
	}
	return cell
}

func (res *Result) memoryRows() [][]string {
	m := res.Memory
	if m == nil {
		return nil
	}
	return [][]string{
		{"", "server memory"},
		{"without viewers", Size(m.Before)},
		{fmt.Sprintf("with %s viewers", Grouped(int64(m.Viewers))), Size(m.With)},
		{"each", fmt.Sprintf("%.0f B", m.PerViewer)},
		{"kernel's sockets, both ends, each", orDash(m.KernelPerViewer > 0, fmt.Sprintf("%.0f B", m.KernelPerViewer))},
		{"TCP buffers, whole machine", Size(m.BuffersWith)},
		{"server processors while idle", fmt.Sprintf("%.4f", m.IdleCPU)},
	}
}

// sentences returns what is better said than shown in a table.
func (res *Result) sentences() (out []string) {
	if s := res.Stalled; s != nil {
		out = append(out, fmt.Sprintf("of %s that had stopped reading: %s closed by the server, %s caught up, %s skipped messages, %s still behind",
			Count(s.Viewers, "viewer"), Grouped(int64(s.Closed)), Grouped(int64(s.CaughtUp)), Grouped(int64(s.Skipped)), Grouped(int64(s.Behind))))
	}
	return out
}
