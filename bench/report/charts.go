package report

import (
	"math"

	"github.com/go-echarts/go-echarts/v2/charts"
	"github.com/go-echarts/go-echarts/v2/opts"
)

// A chart is a chart of curves.
type chart struct {
	title string
	x     opts.XAxis
	y     opts.YAxis
	y2    string // name of a second axis, if there is one
	lines []line
}

// A line is a named run of points.
type line struct {
	name   string
	points []opts.LineData
	axis   int // 1 for the second
}

func (c *chart) add(name string, points []opts.LineData) {
	if len(points) > 0 {
		c.lines = append(c.lines, line{name: name, points: points})
	}
}

func point(x, y float64) opts.LineData { return opts.LineData{Value: []float64{x, y}} }

// nines shows 1/(1-p) on an axis as the percentile p.
const nines = "function (v) { return v <= 1 ? '0 %' : (100 - 100 / v).toPrecision(Math.max(2, Math.log10(v) + 1)) + ' %'; }"

// chartsOf returns the charts of some results, each line named for its own.
func chartsOf(results []*Result) (out []*charts.Line) {
	percentile := opts.XAxis{Name: "percentile", Type: "log", AxisLabel: &opts.AxisLabel{Formatter: opts.FuncOpts(nines)}}
	seconds := opts.XAxis{Name: "seconds", Type: "value"}
	latency := opts.YAxis{Name: "ms", Type: "log"}
	percentiles := chart{title: "Latency by percentile", x: percentile, y: latency}
	over := chart{title: "Latency over time", x: seconds, y: latency}
	rate := chart{title: "Deliveries over time", x: seconds, y: opts.YAxis{Name: "a second", Type: "value"}}
	spread := chart{title: "Viewers, from the best served to the worst", x: opts.XAxis{Name: "share of the viewers, %", Type: "value"}, y: latency}
	usage := chart{title: "Server over time", x: seconds, y: opts.YAxis{Name: "processors", Type: "value"}, y2: "MiB"}
	joins := chart{title: "Time to join by percentile", x: percentile, y: latency}
	for i, res := range results {
		for j := range res.Phases {
			p := &res.Phases[j]
			name := p.Name
			if len(results) > 1 {
				name = letter(i) + ": " + res.title() + " " + p.Name
			}
			percentiles.add(name, p.Latency.curve())
			if p.Latency.Count > 0 {
				over.add(name+" p50", p.over(func(pt Point) float64 { return float64(pt.P50) / 1e3 }))
				over.add(name+" p99", p.over(func(pt Point) float64 { return float64(pt.P99) / 1e3 }))
				over.add(name+" max", p.over(func(pt Point) float64 { return float64(pt.Max) / 1e3 }))
				rate.add(name, p.over(func(pt Point) float64 { return pt.Delivered }))
			}
			spread.add(name+" mean", shares(p.Spread.Means))
			spread.add(name+" max", shares(p.Spread.Worsts))
			if p.Server != nil {
				usage.add(name+" processors", p.over(func(pt Point) float64 { return pt.ServerCPU }))
				usage.lines = append(usage.lines, line{name + " MiB", p.over(func(pt Point) float64 { return float64(pt.ServerRSS) / (1 << 20) }), 1})
			}
		}
		for j := range res.Connects {
			joins.add(res.title()+" "+res.Connects[j].Name, res.Connects[j].Join.curve())
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
	for _, c := range []chart{percentiles, over, rate, spread, usage, joins} {
		if len(c.lines) > 0 {
			out = append(out, c.draw())
		}
	}
	return out
}

// curve returns the distribution in milliseconds over 1/(1-p), so that each
// further nine has the same width.
func (d Distribution) curve() (points []opts.LineData) {
	const perDecade = 20
	for i := 0; d.Histogram != nil; i++ {
		x := math.Pow(10, float64(i)/perDecade)
		points = append(points, point(x, float64(max(d.Histogram.ValueAtPercentile(100-100/x), 1))/1e3))
		if x > float64(d.Count) || x > 1e6 {
			break
		}
	}
	return points
}

// over returns one figure of the time series.
func (p *Phase) over(value func(Point) float64) (points []opts.LineData) {
	for _, pt := range p.Series {
		points = append(points, point(pt.At, value(pt)))
	}
	return points
}

// shares spreads ascending values in microseconds over 0 to 100 %.
func shares(values []int64) (points []opts.LineData) {
	for i, v := range values {
		points = append(points, point(100*float64(i)/float64(max(len(values)-1, 1)), float64(max(v, 1))/1e3))
	}
	return points
}

// draw draws with ECharts.
func (c chart) draw() *charts.Line {
	c.x.NameLocation, c.x.NameGap = "middle", 30
	drawn := charts.NewLine()
	drawn.SetGlobalOptions(
		charts.WithInitializationOpts(opts.Initialization{Width: "100%", Height: "420px"}),
		charts.WithTitleOpts(opts.Title{Title: c.title}),
		charts.WithTooltipOpts(opts.Tooltip{Trigger: "axis"}),
		charts.WithLegendOpts(opts.Legend{Type: "scroll", Bottom: "0"}),
		charts.WithGridOpts(opts.Grid{Left: "70", Right: "70", Bottom: "80"}),
		charts.WithXAxisOpts(c.x),
		charts.WithYAxisOpts(c.y),
	)
	if c.y2 != "" {
		drawn.ExtendYAxis(opts.YAxis{Name: c.y2, Type: "value", Scale: opts.Bool(true)})
	}
	for _, l := range c.lines {
		drawn.AddSeries(l.name, l.points, charts.WithLineChartOpts(opts.LineChart{ShowSymbol: opts.Bool(false), YAxisIndex: l.axis}))
	}
	drawn.Validate()
	return drawn
}
