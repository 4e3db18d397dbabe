package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A column is a figure of the table, as comparisons of results have it.
type column struct {
	name     string
	scenario string
	phase    string
	figure   string
	unit     float64 // what the table counts in
	format   string
	payload  workload.Payload // of the load; empty for any
}

var columns = []column{
	{"CPU a delivery", "fanout", "fanout", "server CPU a delivery", 1e3, "%.1f us", ""},
	{"p50", "fanout", "fanout", "latency p50", 1e3, "%.1f ms", ""},
	{"p99", "fanout", "fanout", "latency p99", 1e3, "%.1f ms", ""},
	{"missing", "fanout", "fanout", "missing", 1, "%.0f", ""},
	{"memory a viewer", "idle", "server memory", "server memory a viewer", 1, "%.0f B", ""},
	{"connections a second", "idle", "connect", "joined a second", 1, "%.0f", ""},
	{"CPU a connection", "idle", "connect", "server CPU for each", 1e3, "%.0f us", ""},
	{"highest rate that holds", "saturate", "highest that held", "messages a second", 1, "%.0f/s", ""},
}

// columnsOf returns the columns of a command's table.
func columnsOf(c runCommand) (out []column) {
	if !c.Compress {
		return columns
	}
	for _, payload := range lectures {
		name := string(payload) + ": "
		out = append(out,
			column{name + "bytes a delivery", "fanout", "fanout", "bytes received a delivery", 1, "%.0f", payload},
			column{name + "CPU a delivery", "fanout", "fanout", "server CPU a delivery", 1e3, "%.1f us", payload},
			column{name + "p99", "fanout", "fanout", "latency p99", 1e3, "%.1f ms", payload})
	}
	return out
}

// values returns a column's figures in some results, ascending. Where no step of
// saturate held, the highest rate is 0.
func (c column) values(results []*report.Result) (values []float64) {
	for _, r := range results {
		if c.payload != "" && r.Options.Payload != c.payload {
			continue
		}
		if v, ok := r.Figure(c.phase, c.figure); r.Scenario == c.scenario && (ok || r.Scenario == "saturate") {
			values = append(values, v/c.unit)
		}
	}
	slices.Sort(values)
	return values
}

// table returns a row for each relay, the figures being medians.
func table(columns []column, all []relay) [][]string {
	head := []string{""}
	for _, c := range columns {
		head = append(head, c.name)
	}
	rows := [][]string{head}
	for _, p := range all {
		row := []string{p.name}
		for _, c := range columns {
			cell := "-"
			if values := c.values(p.results); len(values) > 0 {
				cell = fmt.Sprintf(c.format, values[(len(values)-1)/2])
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// writeTable writes the rows as Markdown, ready for a README.
func writeTable(out io.Writer, rows [][]string) error {
	rows = slices.Insert(rows, 1, append([]string{"---"}, slices.Repeat([]string{"---:"}, len(rows[0])-1)...))
	for _, row := range rows {
		if _, err := fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | ")); err != nil {
			return err
		}
	}
	return nil
}
