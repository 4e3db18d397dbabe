package report

import "fmt"

// A figure is something of a result that can be compared.
type figure struct {
	phase  string // the phase that it is of, empty for the whole run
	name   string
	value  float64
	format func(float64) string
}

func inMicros(v float64) string { return Micros(int64(v)) }
func inBytes(v float64) string  { return Size(int64(v)) }
func inNanos(v float64) string  { return fmt.Sprintf("%.0f ns", v) }
func inCores(v float64) string  { return fmt.Sprintf("%.3f", v) }
func inWhole(v float64) string  { return Grouped(int64(v)) }

// figures returns what of a result can be compared, in the order of the
// report. What is not known is left out.
func (res *Result) figures() (out []figure) {
	add := func(phase, name string, known bool, value float64, format func(float64) string) {
		if known {
			out = append(out, figure{phase, name, value, format})
		}
	}
	for _, c := range res.Connects {
		add(c.Name, "joined a second", c.Joined > 0, c.PerSecond, inWhole)
		add(c.Name, "join p99", c.Joined > 0, float64(c.Join.P99), inMicros)
		add(c.Name, "server CPU for each", c.Server != nil && c.Joined > 0, c.CPUEach*1e3, inNanos)
	}
	phases := res.Phases
	if res.Scenario == "saturate" {
		phases = nil
		if h := res.Held; h != nil {
			phases = []Phase{*h}
			phases[0].Name = "highest that held"
			add(phases[0].Name, "viewers", true, float64(h.Viewers), inWhole)
			add(phases[0].Name, "messages a second", true, h.Rate, Trim)
		}
	}
	for i := range phases {
		p := &phases[i]
		got := p.Delivered > 0
		add(p.Name, "deliveries a second", got, p.PerSecond, inWhole)
		for _, t := range []struct {
			name string
			n    uint64
		}{{"missing", p.Missing}, {"repeated", p.Repeated}, {"out of order", p.Reordered}, {"damaged", p.Damaged}} {
			add(p.Name, t.name, p.Expected > 0, float64(t.n), inWhole)
		}
		add(p.Name, "latency p50", got, float64(p.Latency.P50), inMicros)
		add(p.Name, "latency p99", got, float64(p.Latency.P99), inMicros)
		add(p.Name, "latency p99.9", got, float64(p.Latency.P999), inMicros)
		add(p.Name, "latency max", got, float64(p.Latency.Max), inMicros)
		add(p.Name, "slowest viewer's mean", got, float64(p.Spread.Slowest), inMicros)
		if p.Server != nil {
			add(p.Name, "server CPU a delivery", got, p.CPUEach, inNanos)
			add(p.Name, "server processors", true, p.Server.Cores, inCores)
			add(p.Name, "server memory peak", true, float64(p.Server.RSSPeak), inBytes)
			add(p.Name, "server memory growth", true, float64(p.Server.RSSPeak-p.Server.RSSBefore), inBytes)
		}
	}
	if c := res.Resumed; c != nil {
		back := c.Resumes > 0
		add("coming back", "resumes a second", back, c.PerSecond, inWhole)
		add("coming back", "not recovered", back, float64(c.Unrecovered), inWhole)
		add("coming back", "joined again p99", back, float64(c.Back.P99), inMicros)
		add("coming back", "caught up p99", back, float64(c.Caught.P99), inMicros)
		add("coming back", "server CPU for each", c.CPUEach > 0, c.CPUEach*1e3, inNanos)
	}
	if a := res.Arrived; a != nil {
		add("coming late", "history p99", a.Told.Count > 0, float64(a.Told.P99), inMicros)
		add("coming late", "first live message p99", a.Live.Count > 0, float64(a.Live.P99), inMicros)
		add("coming late", "first live message max", a.Live.Count > 0, float64(a.Live.Max), inMicros)
		add("coming late", "requests that hosts got", a.History == "host", float64(a.Asked), inWhole)
	}
	if m := res.Memory; m != nil {
		add("", "server memory a viewer", true, m.PerViewer, inBytes)
		add("", "server processors while idle", true, m.IdleCPU, inCores)
	}
	return out
}

// Figure returns a figure of a phase, or of the whole run if phase is empty, by the
// name that comparisons show.
func (res *Result) Figure(phase, name string) (value float64, ok bool) {
	for _, f := range res.figures() {
		if f.phase == phase && f.name == name {
			return f.value, true
		}
	}
	return 0, false
}
