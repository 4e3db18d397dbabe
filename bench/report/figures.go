package report

import (
	"fmt"
	"slices"
)

// A figure is something of a result that is shown, and compared with the same of
// other results.
type figure struct {
	name  string
	known bool
	value float64
	show  func(float64) string
}

func inMicros(v float64) string         { return Micros(int64(v)) }
func inBytes(v float64) string          { return Size(int64(v)) }
func inCores(v float64) string          { return fmt.Sprintf("%.3f", v) }
func inSeconds(v float64) string        { return fmt.Sprintf("%.2f", v) }
func inPercent(v float64) string        { return fmt.Sprintf("%.0f %%", 100*v) }
func inWhole(v float64) string          { return Grouped(int64(v)) }
func whole[N int | uint64](n N) float64 { return float64(n) }

func inNanos(v float64) string {
	if v < 10_000 {
		return fmt.Sprintf("%.0f ns", v)
	}
	return fmt.Sprintf("%.1f us", v/1e3)
}

// A part of a result is what was found in one phase, or while viewers connected,
// and so on. Parts of the same kind have the same figures in the same order, and
// are the columns of one table.
type part struct {
	kind    string
	name    string
	figures []figure
	alone   bool // it is the only one of its kind
}

// figure returns the figure of that name, not known if there is none.
func (p part) figure(name string) (f figure) {
	if i := slices.IndexFunc(p.figures, func(f figure) bool { return f.name == name }); i >= 0 {
		f = p.figures[i]
	}
	return f
}

// parts returns all that a result found, in the order that it is shown.
func (res *Result) parts(phases []Phase) (out []part) {
	add := func(kind, name string, alone bool, figures ...figure) {
		out = append(out, part{kind, name, figures, alone})
	}
	for i := range res.Connects {
		add("connects", res.Connects[i].Name, len(res.Connects) == 1, res.Connects[i].figures()...)
	}
	for i := range phases {
		add("phases", phases[i].Name, len(phases) == 1, phases[i].figures()...)
	}
	if res.Resumed != nil {
		add("resumed", "coming back", true, append(res.Resumed.figures(), res.misnumbered())...)
	}
	if res.Arrived != nil {
		add("arrived", "coming late", true, append(res.Arrived.figures(), res.misnumbered())...)
	}
	if res.Stalled != nil {
		add("stalled", "stopped reading", true, res.Stalled.figures()...)
	}
	if res.Memory != nil {
		add("memory", "server memory", true, res.Memory.figures()...)
	}
	return out
}

// compared returns the parts that can be compared: of the steps of saturate only
// the best.
func (res *Result) compared() []part {
	phases := res.Phases
	if res.Scenario == "saturate" {
		phases = nil
		if res.Held != nil {
			phases = []Phase{*res.Held}
			phases[0].Name = "highest that held"
		}
	}
	return res.parts(phases)
}

// Figure returns a figure by the names that comparisons show.
func (res *Result) Figure(of, name string) (value float64, known bool) {
	for _, p := range res.compared() {
		if f := p.figure(name); p.name == of && f.known {
			return f.value, true
		}
	}
	return 0, false
}

func (d Distribution) figures(name string) []figure {
	known := d.Count > 0
	return []figure{
		{name + " p50", known, float64(d.P50), inMicros},
		{name + " p90", known, float64(d.P90), inMicros},
		{name + " p99", known, float64(d.P99), inMicros},
		{name + " p99.9", known, float64(d.P999), inMicros},
		{name + " max", known, float64(d.Max), inMicros},
	}
}

// counted is figures with how many times were measured.
func (d Distribution) counted(name string) []figure {
	return append([]figure{{name + " times", true, float64(d.Count), inWhole}}, d.figures(name)...)
}

func (c *Connect) figures() []figure {
	some := c.Joined > 0
	return slices.Concat([]figure{
		{"joined", true, whole(c.Joined), inWhole},
		{"failed", true, whole(c.Failed), inWhole},
		{"seconds", true, c.Seconds, inSeconds},
		{"joined a second", some, c.PerSecond, inWhole},
	}, c.Join.figures("join"), []figure{
		{"server CPU for each", some && c.Server != nil, c.CPUEach * 1e3, inNanos},
	})
}

func (p *Phase) figures() []figure {
	planned, got, timed := p.Planned > 0 || p.Expected > 0, p.Delivered > 0, p.Latency.Count > 0
	server, watched := Usage{}, p.Server != nil
	if watched {
		server = *p.Server
	}
	return slices.Concat([]figure{
		{"viewers", true, whole(p.Viewers), inWhole},
		{"rooms", planned, whole(p.Rooms), inWhole},
		{"messages a second", p.Rate > 0, p.Rate, Trim},
		{"bytes", planned, whole(p.Size), inWhole},
		{"seconds", true, p.Seconds, inSeconds},
		{"expected", planned, whole(p.Expected), inWhole},
		{"delivered", planned, whole(p.Delivered), inWhole},
		{"missing", planned, whole(p.Missing), inWhole},
		{"repeated", planned, whole(p.Repeated), inWhole},
		{"out of order", planned, whole(p.Reordered), inWhole},
		{"damaged", planned, whole(p.Damaged), inWhole},
		{"connections lost", true, whole(p.Gone), inWhole},
		{"deliveries a second", got, p.PerSecond, inWhole},
	}, p.Latency.figures("latency"), []figure{
		{"fastest viewer's mean", timed, float64(p.Spread.Fastest), inMicros},
		{"slowest viewer's mean", timed, float64(p.Spread.Slowest), inMicros},
		{"published late p99", planned, float64(p.SendLate.P99), inMicros},
		{"server CPU a delivery", watched && got, p.CPUEach, inNanos},
		{"bytes received a delivery", got && p.Received > 0, float64(p.Received) / float64(max(p.Delivered+p.Ends, 1)), inWhole},
		{"server processors", watched, server.Cores, inCores},
		{"server memory before", watched, float64(server.RSSBefore), inBytes},
		{"server memory peak", watched, float64(server.RSSPeak), inBytes},
		{"server memory growth", watched, float64(server.RSSPeak - server.RSSBefore), inBytes},
		{"bench processors", true, p.Bench.Cores, inCores},
		{"machine busy", true, p.Busy, inPercent},
	})
}

// misnumbered adds up the phases.
func (res *Result) misnumbered() figure {
	var n uint64
	for i := range res.Phases {
		n += res.Phases[i].Misnumbered
	}
	return figure{"misnumbered messages", true, whole(n), inWhole}
}

// keptBy says what kept the rooms' history. It is text: there is nothing to compare.
func keptBy(who string) figure {
	return figure{"history kept by the", true, 0, func(float64) string { return who }}
}

func (r *Resumed) figures() []figure {
	return slices.Concat([]figure{
		{"viewers who drop", true, whole(r.Viewers), inWhole},
		{"viewers with numbers, of all", true, whole(r.Numbered), inWhole},
		keptBy(r.History),
		{"waves", true, whole(r.Waves), inWhole},
		{"resumes", true, whole(r.Resumes), inWhole},
		{"did not come back", true, whole(r.Failed), inWhole},
		{"recovered", true, whole(r.Recovered), inWhole},
		{"not recovered", true, whole(r.Unrecovered), inWhole},
		{"messages told to be lost", true, whole(r.Announced), inWhole},
		{"resumes a second", r.Resumes > 0, r.PerSecond, inWhole},
		{"server CPU for each", r.CPUEach > 0, r.CPUEach * 1e3, inNanos},
	}, r.Back.counted("joined again"), r.Caught.counted("caught up"), r.Live.counted("latency since then"))
}

func (a *Arrived) figures() []figure {
	return slices.Concat([]figure{
		{"viewers", true, whole(a.Viewers), inWhole},
		{"of those with numbers", true, whole(a.Numbered), inWhole},
		{"messages said before", true, whole(a.Messages), inWhole},
		keptBy(a.History),
		{"histories", true, whole(a.Histories), inWhole},
		{"of those truncated", true, whole(a.Truncated), inWhole},
		{"requests that hosts got", a.History == "host", whole(a.Asked), inWhole},
		{"bytes of all histories", true, whole(a.Bytes), inBytes},
		{"of the largest", true, whole(a.Largest), inBytes},
	}, a.Told.counted("history"), a.Live.counted("first live message"))
}

func (s *Stalled) figures() []figure {
	return []figure{
		{"viewers that had stopped", true, whole(s.Viewers), inWhole},
		{"closed by the server", true, whole(s.Closed), inWhole},
		{"caught up", true, whole(s.CaughtUp), inWhole},
		{"skipped messages", true, whole(s.Skipped), inWhole},
		{"still behind", true, whole(s.Behind), inWhole},
	}
}

func (m *Memory) figures() []figure {
	return []figure{
		{"viewers", true, whole(m.Viewers), inWhole},
		{"without viewers", true, float64(m.Before), inBytes},
		{"with them", true, float64(m.With), inBytes},
		{"server memory a viewer", true, m.PerViewer, inBytes},
		{"kernel's sockets, both ends, a viewer", m.KernelPerViewer > 0, m.KernelPerViewer, inBytes},
		{"TCP buffers, whole machine", true, float64(m.BuffersWith), inBytes},
		{"server processors while idle", true, m.IdleCPU, func(v float64) string { return fmt.Sprintf("%.4f", v) }},
	}
}
