package report

import (
	"errors"
	"fmt"
)

// Resumed is what came of viewers that dropped and came back.
type Resumed struct {
	Viewers  int    `json:"viewers"`  // that dropped again and again
	Numbered int    `json:"numbered"` // viewers with numbered messages, of all
	History  string `json:"history"`  // what kept the rooms' history: relay or host
	Waves    int    `json:"waves"`

	Resumes     int    `json:"resumes"` // how often one was back
	Failed      int    `json:"failed"`  // how often one did not come back
	Recovered   int    `json:"recovered"`
	Unrecovered int    `json:"unrecovered"`
	Announced   uint64 `json:"announced"` // measured messages that the unrecovered were told they would not get

	Seconds   float64 `json:"seconds"` // in which a viewer was on the way back
	PerSecond float64 `json:"per_second"`
	CPUEach   float64 `json:"server_cpu_us_each,omitempty"` // microseconds of the server's CPU for each, beyond what deliveries cost when no viewer dropped

	Back   Distribution `json:"back"`   // from connecting to joined
	Caught Distribution `json:"caught"` // from connecting to the message that was the newest when it was back
	Live   Distribution `json:"live"`   // latency of messages that were due when their viewer was back
}

// timeRows are a table of distributions.
func timeRows(head string, rows ...[]string) [][]string {
	return append([][]string{{head, "times", "p50", "p99", "max"}}, rows...)
}

func (d Distribution) row(name string) []string {
	if d.Count == 0 {
		return []string{name, "0", "-", "-", "-"}
	}
	return []string{name, Grouped(d.Count), Micros(d.P50), Micros(d.P99), Micros(d.Max)}
}

func (res *Result) misnumbered() (n uint64) {
	for i := range res.Phases {
		n += res.Phases[i].Misnumbered
	}
	return n
}

func (res *Result) resumedRows() [][]string {
	r := res.Resumed
	if r == nil {
		return nil
	}
	return [][]string{
		{"", "coming back"},
		{"viewers who drop", Grouped(int64(r.Viewers))},
		{"viewers with numbers, of all", Grouped(int64(r.Numbered))},
		{"history kept by the", r.History},
		{"waves", Grouped(int64(r.Waves))},
		{"resumes", Grouped(int64(r.Resumes))},
		{"did not come back", Grouped(int64(r.Failed))},
		{"recovered", Grouped(int64(r.Recovered))},
		{"not recovered", Grouped(int64(r.Unrecovered))},
		{"messages told to be lost", Grouped(int64(r.Announced))},
		{"misnumbered", Grouped(int64(res.misnumbered()))},
		{"resumes a second, while any", Grouped(int64(r.PerSecond))},
		{"server CPU each", orDash(r.CPUEach > 0, fmt.Sprintf("%.1f us", r.CPUEach))},
	}
}

func (res *Result) resumedTimes() [][]string {
	r := res.Resumed
	if r == nil {
		return nil
	}
	return timeRows("coming back", r.Back.row("joined again"), r.Caught.row("caught up"), r.Live.row("latency since then"))
}

// plus adds up what came of two benches' viewers.
func (r *Resumed) plus(q *Resumed) (*Resumed, error) {
	if r == nil || q == nil {
		return r, nil
	}
	both := *r
	both.Viewers += q.Viewers
	both.Numbered += q.Numbered
	both.Waves = max(r.Waves, q.Waves)
	both.Resumes += q.Resumes
	both.Failed += q.Failed
	both.Recovered += q.Recovered
	both.Unrecovered += q.Unrecovered
	both.Announced += q.Announced
	both.Seconds = max(r.Seconds, q.Seconds)
	if both.Seconds > 0 {
		both.PerSecond = float64(both.Resumes) / both.Seconds
	}
	both.CPUEach = 0 // each has taken the server's CPU for its own
	return &both, errors.Join(both.Back.add(q.Back), both.Caught.add(q.Caught), both.Live.add(q.Live))
}
