package report

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"strings"
)

// assets holds the page and Apache ECharts 5.6.0 (its build with the common
// charts, from the npm package), so that pages need no network. No Go module
// carries it: go-echarts itself loads it from a server.
//
//go:embed assets
var assets embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"charts": chartsOf, "describe": (*Result).describe, "echarts": echarts, "failed": (*Result).Failed, "title": (*Result).title, "verdict": (*Result).verdict,
	"html": func(s string) template.HTML { return template.HTML(s) },
}).ParseFS(assets, "assets/page.html"))

// A Page is one HTML file that opens without a network: tables, and the charts
// of some results.
type Page struct {
	Title   string
	Tables  [][][]string // rows of cells, the first row is the head
	Results []*Result
}

// WritePage writes the results as a page: one in full, several side by side.
func WritePage(name string, results ...*Result) error {
	if len(results) == 1 {
		return Page{results[0].title(), results[0].tables(), results}.WriteFile(name)
	}
	return Page{"comparison", []table{comparison(results)}, results}.WriteFile(name)
}

// WriteFile writes the page.
func (p Page) WriteFile(name string) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// echarts unpacks the library.
func echarts() (template.JS, error) {
	f, err := assets.Open("assets/echarts.common.min.js.gz")
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	script, err := io.ReadAll(z)
	return template.JS(script), err
}

// describe says in a line what was run, when and where.
func (res *Result) describe() string {
	o := &res.Options
	parts := []string{
		res.Started.Format("2006-01-02 15:04:05 MST"),
		fmt.Sprintf("%s, %s, %s messages a second of %d bytes", Count(o.Viewers, "viewer"), Count(o.Rooms, "room"), Trim(o.Rate), o.Size),
		fmt.Sprintf("%s x %s, Linux %s, %s", Count(res.Machine.CPUs, "processor"), res.Machine.Model, res.Machine.Kernel, res.Machine.Go),
	}
	if res.Merged > 1 {
		parts = append(parts, fmt.Sprintf("the sum of %d benches", res.Merged))
	}
	if res.Interrupted {
		parts = append(parts, "interrupted")
	}
	return strings.Join(parts, "; ")
}
