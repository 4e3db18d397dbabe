package report

import (
	"fmt"
	"io"
	"slices"
)

// WriteComparison writes the results side by side, each with its ratio to the
// first.
func WriteComparison(out io.Writer, results ...*Result) error {
	w := &printer{out: out}
	for _, res := range results {
		for _, p := range slices.Concat(res.Crossed, res.Problems) {
			w.line("%s FAILED: %s", res.title(), p)
		}
	}
	w.table(comparison(results))
	return w.err
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

// comparison returns the rows of the table: for each figure its value in each
// result and, from the second on, the ratio to the first.
func comparison(results []*Result) [][]string {
	head := []string{""}
	var all [][]figure
	for i, res := range results {
		head = append(head, letter(i)+": "+res.title())
		if i > 0 {
			head = append(head, "ratio")
		}
		all = append(all, res.figures())
	}
	rows := [][]string{head}
	last := ""
	for i, f := range merged(all) {
		if f.phase != last || i == 0 && f.phase != "" {
			last = f.phase
			rows = append(rows, []string{f.phase})
		}
		row := []string{"  " + f.name}
		base, known := find(all[0], f, results[0], results[0])
		for j := range results {
			v, ok := find(all[j], f, results[j], results[0])
			if !ok {
				row = append(row, "-")
			} else {
				row = append(row, f.format(v))
			}
			if j > 0 {
				row = append(row, ratio(v, base, ok && known))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// merged returns the figures that any of the results has: those of the first,
// then what only others have.
func merged(all [][]figure) (out []figure) {
	for _, figures := range all {
		for _, f := range figures {
			same := func(g figure) bool { return g.name == f.name && (g.phase == f.phase || single(all)) }
			if !slices.ContainsFunc(out, same) {
				out = append(out, f)
			}
		}
	}
	return out
}

// single reports whether each result has one measured phase: then these are
// compared whatever their names, a fanout with a limit.
func single(all [][]figure) bool {
	for _, figures := range all {
		phases := map[string]bool{}
		for _, f := range figures {
			if f.name == "deliveries a second" {
				phases[f.phase] = true
			}
		}
		if len(phases) != 1 {
			return false
		}
	}
	return true
}

// find looks up a figure in a result. Phases go by their name, or, where both
// results measured one only, by being the one.
func find(figures []figure, f figure, res, first *Result) (v float64, ok bool) {
	exact := func(g figure) bool { return g.name == f.name && g.phase == f.phase }
	i := slices.IndexFunc(figures, exact)
	if i < 0 && len(res.Phases) == 1 && len(first.Phases) == 1 {
		i = slices.IndexFunc(figures, func(g figure) bool { return g.name == f.name })
	}
	if i < 0 {
		return 0, false
	}
	return figures[i].value, true
}

func ratio(v, base float64, known bool) string {
	switch {
	case !known || base == 0 && v != 0:
		return "-"
	case base == v:
		return "1.00"
	default:
		return fmt.Sprintf("%.2f", v/base)
	}
}
