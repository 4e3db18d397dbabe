package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A table is rows of cells, the first of them the head.
type table = [][]string

// WriteText writes the result for people: the verdict, then the tables.
func (res *Result) WriteText(out io.Writer) error {
	text := "\n" + strings.Join(res.verdict(), "\n") + "\n"
	for _, warning := range res.Warnings {
		text += "warning: " + warning + "\n"
	}
	if _, err := fmt.Fprintln(out, text); err != nil {
		return err
	}
	for _, t := range res.tables() {
		if err := writeTable(out, t); err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes rows in columns, the first flush left and the others right.
func writeTable(out io.Writer, rows table) error {
	widest := 0
	for _, row := range rows {
		widest = max(widest, len(row[0]))
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintf(t, "%-*s\t%s\t\n", widest, row[0], strings.Join(row[1:], "\t")) // an error comes with Flush
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// tables returns what happened, in the order that it is shown.
func (res *Result) tables() (out []table) {
	if len(res.Faults) > 0 {
		rows := table{{"who", "stage", "what happened", "how many", "for example"}}
		for _, f := range res.Faults {
			rows = append(rows, []string{f.Who, string(f.Stage), f.Reason, Grouped(int64(f.Count)), Clip(f.Example, 200)})
		}
		out = append(out, rows)
	}
	for parts := res.parts(res.Phases); len(parts) > 0; {
		n := slices.IndexFunc(parts, func(p part) bool { return p.kind != parts[0].kind })
		if n < 0 {
			n = len(parts)
		}
		out = append(out, tableOf(parts[:n]))
		parts = parts[n:]
	}
	return out
}

// tableOf has a column for each part, and a row for each figure that is known of any.
func tableOf(parts []part) table {
	rows := table{{""}}
	for _, p := range parts {
		rows[0] = append(rows[0], p.name)
	}
	for i, f := range parts[0].figures {
		row, known := []string{f.name}, false
		for _, p := range parts {
			known = known || p.figures[i].known
			row = append(row, p.figures[i].cell())
		}
		if known {
			rows = append(rows, row)
		}
	}
	return rows
}

func (f figure) cell() string {
	if !f.known {
		return "-"
	}
	return f.show(f.value)
}

// WriteComparison writes the results side by side, each with its ratio to the
// first.
func WriteComparison(out io.Writer, results ...*Result) error {
	for _, res := range results {
		for _, p := range slices.Concat(res.Crossed, res.Problems) {
			if _, err := fmt.Fprintf(out, "%s FAILED: %s\n", res.title(), p); err != nil {
				return err
			}
		}
	}
	return writeTable(out, comparison(results))
}

// title names a result among others.
func (res *Result) title() string {
	if res.Label == "" {
		return res.Scenario
	}
	return res.Label + " " + res.Scenario
}

// letter names result i in a comparison.
func letter(i int) string { return string(rune('A' + i%26)) }

// comparison has, for each figure, its value in each result and, from the second on,
// the ratio to the first.
func comparison(results []*Result) table {
	rows := table{{""}}
	var all [][]part
	var union []part // the parts of the first result, then what only others have
	for i, res := range results {
		rows[0] = append(rows[0], letter(i)+": "+res.title())
		if i > 0 {
			rows[0] = append(rows[0], "ratio")
		}
		all = append(all, res.compared())
		for _, p := range all[i] {
			if like(union, p).kind == "" {
				union = append(union, p)
			}
		}
	}
	for _, p := range union {
		rows = append(rows, []string{p.name})
		base := like(all[0], p)
		for _, f := range p.figures {
			row, known := []string{"  " + f.name}, false
			for i := range results {
				g := like(all[i], p).figure(f.name)
				known = known || g.known
				row = append(row, g.cell())
				if i > 0 {
					row = append(row, ratio(g, base.figure(f.name)))
				}
			}
			if known {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// like returns the part of some that p is compared with: the one of the same kind and
// name or, where both results have but one of the kind, that one whatever its name. A
// fanout is compared with a limit.
func like(parts []part, p part) (same part) {
	i := slices.IndexFunc(parts, func(q part) bool { return q.kind == p.kind && (q.name == p.name || q.alone && p.alone) })
	if i >= 0 {
		same = parts[i]
	}
	return same
}

func ratio(f, base figure) string {
	switch {
	case !f.known || !base.known || base.value == 0 && f.value != 0:
		return "-"
	case base.value == f.value:
		return "1.00"
	default:
		return fmt.Sprintf("%.2f", f.value/base.value)
	}
}
