package report

import (
	"fmt"
	"math"

	"github.com/go-echarts/go-echarts/v2/charts"
	"github.com/go-echarts/go-echarts/v2/opts"
	"github.com/go-echarts/go-echarts/v2/render"
)

// A curve is a named run of points. Its points are drawn against the second
// axis if second is set.
type curve struct {
	name   string
	points [][2]float64
	second bool
}

// A drawing is a chart of curves.
type drawing struct {
	title, x, y, y2 string // names, with units
	logX, logY      bool
	xLabel          string // JavaScript that turns a value of the x axis into text
	curves          []curve
}

// drawings returns the charts of some results, each curve named for its own.
func drawings(results []*Result) (out []drawing) {
	percentiles := drawing{title: "Latency by percentile", x: "percentile", y: "ms", logX: true, logY: true,
		xLabel: "function (v) { return v <= 1 ? '0 %' : (100 - 100 / v).toPrecision(Math.max(2, Math.log10(v) + 1)) + ' %'; }"}
	over := drawing{title: "Latency over time", x: "seconds", y: "ms", logY: true}
	rate := drawing{title: "Deliveries over time", x: "seconds", y: "a second"}
	spread := drawing{title: "Viewers, from the best served to the worst", x: "share of the viewers, %", y: "ms", logY: true}
	usage := drawing{title: "Server over time", x: "seconds", y: "processors", y2: "MiB"}
	joins := drawing{title: "Time to join by percentile", x: "percentile", y: "ms", logX: true, logY: true, xLabel: percentiles.xLabel}
	for i, res := range results {
		for j := range res.Phases {
			p := &res.Phases[j]
			name := p.Name
			if len(results) > 1 {
				name = letter(i) + ": " + res.title()
				if len(res.Phases) > 1 {
					name += " " + p.Name
				}
			}
			percentiles.add(name, p.Latency.curve())
			for _, part := range []struct {
				name  string
				value func(Point) float64
			}{
				{"p50", func(pt Point) float64 { return float64(pt.P50) / 1e3 }},
				{"p99", func(pt Point) float64 { return float64(pt.P99) / 1e3 }},
				{"max", func(pt Point) float64 { return float64(pt.Max) / 1e3 }},
			} {
				if p.Latency.Count > 0 {
					over.add(name+" "+part.name, p.over(part.value))
				}
			}
			if p.Latency.Count > 0 {
				rate.add(name, p.over(func(pt Point) float64 { return pt.Delivered }))
			}
			spread.add(name+" mean", shares(p.Spread.Means))
			spread.add(name+" max", shares(p.Spread.Worsts))
			if p.Server != nil {
				usage.add(name+" processors", p.over(func(pt Point) float64 { return pt.ServerCPU }))
				usage.curves = append(usage.curves, curve{name + " MiB", p.over(func(pt Point) float64 { return float64(pt.ServerRSS) / (1 << 20) }), true})
			}
		}
		for j := range res.Connects {
			c := &res.Connects[j]
			joins.add(fmt.Sprintf("%s %s", res.title(), c.Name), c.Join.curve())
		}
		if c := res.Resumed; c != nil {
			joins.add(res.title()+" joined again", c.Back.curve())
			joins.add(res.title()+" caught up", c.Caught.curve())
		}
		if a := res.Arrived; a != nil {
			joins.add(res.title()+" history", a.Told.curve())
			joins.add(res.title()+" first live message", a.Live.curve())
		}
	}
	for _, d := range []drawing{percentiles, over, rate, spread, usage, joins} {
		if len(d.curves) > 0 {
			out = append(out, d)
		}
	}
	return out
}

func (d *drawing) add(name string, points [][2]float64) {
	if len(points) > 0 {
		d.curves = append(d.curves, curve{name: name, points: points})
	}
}

// curve returns the distribution in milliseconds over 1/(1-p), so that each
// further nine has the same width.
func (d Distribution) curve() (points [][2]float64) {
	h, err := d.Decode()
	if err != nil || h.TotalCount() == 0 {
		return nil
	}
	const perDecade = 20
	for i := 0; ; i++ {
		x := math.Pow(10, float64(i)/perDecade)
		points = append(points, [2]float64{x, float64(max(h.ValueAtPercentile(100-100/x), 1)) / 1e3})
		if x > float64(h.TotalCount()) || x > 1e6 {
			return points
		}
	}
}

// over returns one figure of the time series.
func (p *Phase) over(value func(Point) float64) (points [][2]float64) {
	for _, pt := range p.Series {
		points = append(points, [2]float64{pt.At, value(pt)})
	}
	return points
}

// shares spreads ascending values in microseconds over 0 to 100 %.
func shares(values []int64) (points [][2]float64) {
	for i, v := range values {
		points = append(points, [2]float64{100 * float64(i) / float64(max(len(values)-1, 1)), float64(max(v, 1)) / 1e3})
	}
	return points
}

// render draws with ECharts.
func (d drawing) render() render.ChartSnippet {
	line := charts.NewLine()
	axis := func(log bool) string {
		if log {
			return "log"
		}
		return "value"
	}
	x := opts.XAxis{Name: d.x, NameLocation: "middle", NameGap: 30, Type: axis(d.logX)}
	if d.xLabel != "" {
		x.AxisLabel = &opts.AxisLabel{Formatter: opts.FuncOpts(d.xLabel)}
	}
	line.SetGlobalOptions(
		charts.WithInitializationOpts(opts.Initialization{Width: "100%", Height: "420px", ChartID: chartID(d.title)}),
		charts.WithTitleOpts(opts.Title{Title: d.title}),
		charts.WithTooltipOpts(opts.Tooltip{Trigger: "axis"}),
		charts.WithLegendOpts(opts.Legend{Type: "scroll", Bottom: "0"}),
		charts.WithGridOpts(opts.Grid{Left: "70", Right: "70", Bottom: "80"}),
		charts.WithXAxisOpts(x),
		charts.WithYAxisOpts(opts.YAxis{Name: d.y, Type: axis(d.logY)}),
	)
	if d.y2 != "" {
		line.ExtendYAxis(opts.YAxis{Name: d.y2, Type: "value", Scale: opts.Bool(true)})
	}
	for _, c := range d.curves {
		data := make([]opts.LineData, len(c.points))
		for i, p := range c.points {
			data[i] = opts.LineData{Value: p[:]}
		}
		style := opts.LineChart{ShowSymbol: opts.Bool(false)}
		if c.second {
			style.YAxisIndex = 1
		}
		line.AddSeries(c.name, data, charts.WithLineChartOpts(style))
	}
	line.Validate()
	return line.RenderSnippet()
}

// chartID makes a name for the page of a title.
func chartID(title string) string {
	id := []byte("chart")
	for _, c := range []byte(title) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			id = append(id, c)
		}
	}
	return string(id)
}
