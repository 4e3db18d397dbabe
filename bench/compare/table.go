package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"lectern/bench/report"
)

// A column is a figure of the table: what of a result it is, if it has it.
type column struct {
	name string
	of   func(*report.Result) (float64, bool)
	text func(float64) string
}

func fanout(of func(*report.Phase) float64) func(*report.Result) (float64, bool) {
	return func(r *report.Result) (float64, bool) {
		if r.Scenario != "fanout" || len(r.Phases) == 0 || r.Phases[0].Delivered == 0 {
			return 0, false
		}
		return of(&r.Phases[0]), true
	}
}

func idle(of func(*report.Result) float64) func(*report.Result) (float64, bool) {
	return func(r *report.Result) (float64, bool) {
		if r.Scenario != "idle" || r.Memory == nil || len(r.Connects) == 0 {
			return 0, false
		}
		return of(r), true
	}
}

func millis(us float64) string { return fmt.Sprintf("%.1f ms", us/1e3) }

var columns = []column{
	{"CPU a delivery", fanout(func(p *report.Phase) float64 { return p.CPUEach / 1e3 }), func(v float64) string { return fmt.Sprintf("%.1f us", v) }},
	{"p50", fanout(func(p *report.Phase) float64 { return float64(p.Latency.P50) }), millis},
	{"p99", fanout(func(p *report.Phase) float64 { return float64(p.Latency.P99) }), millis},
	{"missing", fanout(func(p *report.Phase) float64 { return float64(p.Missing) }), func(v float64) string { return fmt.Sprintf("%.0f", v) }},
	{"memory a viewer", idle(func(r *report.Result) float64 { return r.Memory.PerViewer }), func(v float64) string { return fmt.Sprintf("%.0f B", v) }},
	{"connections a second", idle(func(r *report.Result) float64 { return r.Connects[0].PerSecond }), func(v float64) string { return fmt.Sprintf("%.0f", v) }},
	{"CPU a connection", idle(func(r *report.Result) float64 { return r.Connects[0].CPUEach }), func(v float64) string { return fmt.Sprintf("%.0f us", v) }},
	{"highest rate that holds", func(r *report.Result) (float64, bool) {
		if r.Scenario != "saturate" {
			return 0, false
		}
		if r.Held == nil {
			return 0, true
		}
		return r.Held.Rate, true
	}, func(v float64) string { return fmt.Sprintf("%.0f/s", v) }},
}

// table returns a row for each competitor, the figures being medians.
func table(all []competitor) [][]string {
	head := []string{""}
	for _, c := range columns {
		head = append(head, c.name)
	}
	rows := [][]string{head}
	for _, p := range all {
		row := []string{p.name}
		for _, c := range columns {
			var values []float64
			for _, r := range p.results {
				if v, ok := c.of(r); ok {
					values = append(values, v)
				}
			}
			if len(values) == 0 {
				row = append(row, "-")
				continue
			}
			slices.Sort(values)
			row = append(row, c.text(values[(len(values)-1)/2]))
		}
		rows = append(rows, row)
	}
	return rows
}

// writeTable writes the rows as Markdown, ready for a README.
func writeTable(out io.Writer, rows [][]string) error {
	for i, row := range rows {
		if _, err := fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | ")); err != nil {
			return err
		}
		if i == 0 {
			if _, err := fmt.Fprintln(out, "|---|"+strings.Repeat("---:|", len(row)-1)); err != nil {
				return err
			}
		}
	}
	return nil
}
