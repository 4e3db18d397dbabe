// Package report is what a load test found out: the result, and how it is judged,
// added up with others, compared, and written as text, JSON and a page with
// charts. It measures nothing.
package report

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lectern/bench/workload"
)

// ResultVersion is the version of the JSON file's form.
const ResultVersion = 1

// ErrFailed is wrapped by the error of a run in which something was missing,
// repeated, reordered, damaged or broken. The result is there all the same.
var ErrFailed = errors.New("bench: the run failed")

// A Result is everything that a run found out. It is what --json writes and
// what merge and compare read.
type Result struct {
	Version     int              `json:"version"`
	Scenario    string           `json:"scenario"`
	Label       string           `json:"label,omitempty"` // what was measured, for comparisons
	Started     time.Time        `json:"started"`
	Ended       time.Time        `json:"ended"`
	Machine     Machine          `json:"machine"`
	Options     workload.Options `json:"options"`
	Merged      int              `json:"merged,omitempty"` // how many runs this is the sum of
	Interrupted bool             `json:"interrupted,omitempty"`

	Problems []string `json:"problems"` // why the run failed; none: it did not
	Crossed  []string `json:"crossed"`  // thresholds that it crossed
	Warnings []string `json:"warnings"` // what makes its figures doubtful
	Faults   []Fault  `json:"faults"`   // what happened to connections

	Connects []Connect `json:"connects"`          // each time that viewers connected
	Phases   []Phase   `json:"phases"`            // each measured part
	Held     *Phase    `json:"held,omitempty"`    // saturate: the best that held
	Stalled  *Stalled  `json:"stalled,omitempty"` // stall: what became of the viewers that had stopped
	Resumed  *Resumed  `json:"resumed,omitempty"` // resume: what came of viewers that dropped
	Arrived  *Arrived  `json:"arrived,omitempty"` // late: what came of viewers that came late
	Memory   *Memory   `json:"memory,omitempty"`  // of the server, before and with the viewers
}

// Machine is where the bench ran.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// A Distribution is a histogram of times in microseconds, with its figures.
type Distribution struct {
	Count     int64   `json:"count"`
	Mean      float64 `json:"mean_us"`
	P50       int64   `json:"p50_us"`
	P90       int64   `json:"p90_us"`
	P99       int64   `json:"p99_us"`
	P999      int64   `json:"p99_9_us"`
	Max       int64   `json:"max_us"`
	Histogram string  `json:"histogram,omitempty"` // HdrHistogram V2, compressed, base 64
}

// A Connect is a number of viewers that connected and joined.
type Connect struct {
	Name      string       `json:"name"`
	Wanted    int          `json:"wanted"`
	Joined    int          `json:"joined"`
	Failed    int          `json:"failed"`
	Seconds   float64      `json:"seconds"`
	PerSecond float64      `json:"per_second"`
	Join      Distribution `json:"join"`                         // from connecting to joined
	Server    *Usage       `json:"server,omitempty"`             // while they connected
	CPUEach   float64      `json:"server_cpu_us_each,omitempty"` // microseconds of the server's CPU for each that joined
	Bench     Usage        `json:"bench"`
}

// A Phase is a time in which messages were published and counted.
type Phase struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	Viewers int       `json:"viewers"` // that were there when it began
	Rooms   int       `json:"rooms"`
	Rate    float64   `json:"rate"`    // messages a second in each room
	Size    int       `json:"size"`    // bytes of a message
	Seconds float64   `json:"seconds"` // from the first due message to the last delivery

	Published uint64 `json:"published"` // messages, all rooms
	Planned   uint64 `json:"planned"`   // messages that were to be published
	Expected  uint64 `json:"expected"`  // deliveries
	Delivered uint64 `json:"delivered"`
	Lost      uint64 `json:"lost"` // of the missing, those whose viewer had lost its connection
	Trouble
	Ends  uint64 `json:"ends,omitempty"`  // deliveries of the message that ends the phase: they are in the server's CPU
	Early uint64 `json:"early,omitempty"` // deliveries before their time: the clocks of two machines differ

	Gone      int     `json:"gone"` // viewers whose connection ended in it
	PerSecond float64 `json:"deliveries_per_second"`

	Latency  Distribution `json:"latency"`   // from due to arrived
	SendLate Distribution `json:"send_late"` // from due to the bench's own write
	Spread   Spread       `json:"spread"`

	Server  *Usage  `json:"server,omitempty"`
	CPUEach float64 `json:"server_cpu_ns_each,omitempty"` // nanoseconds of the server's CPU for each delivery
	Bench   Usage   `json:"bench"`
	Busy    float64 `json:"machine_busy"` // share of all processors' time that was not idle

	Interval float64 `json:"interval_s"` // seconds between the points
	Series   []Point `json:"series"`
	Broke    string  `json:"broke,omitempty"` // saturate: which limit it broke
}

// Spread is how equal the viewers were served; all in microseconds.
type Spread struct {
	Fastest int64   `json:"fastest_mean_us"` // mean latency of the best served viewer
	Slowest int64   `json:"slowest_mean_us"` // and of the worst
	Means   []int64 `json:"means_us"`        // means of viewers, ascending, at most spreadPoints of them
	Worsts  []int64 `json:"maxima_us"`       // largest latencies of viewers, ascending
}

// spreadPoints is how many viewers stand for all in a Spread.
const spreadPoints = 200

// Usage is what a process took in a time.
type Usage struct {
	CPU       float64 `json:"cpu_s"`      // seconds, user and system
	Cores     float64 `json:"cores"`      // processors it kept busy on average
	RSSBefore int64   `json:"rss_before"` // resident bytes
	RSSAfter  int64   `json:"rss_after"`
	RSSPeak   int64   `json:"rss_peak"` // largest that was seen
}

// A Point is a moment in a phase; its figures are of the interval before it.
type Point struct {
	At        float64 `json:"at_s"`      // seconds since the phase began
	Delivered float64 `json:"delivered"` // a second
	P50       int64   `json:"p50_us"`
	P99       int64   `json:"p99_us"`
	Max       int64   `json:"max_us"`
	ServerCPU float64 `json:"server_cores"`
	BenchCPU  float64 `json:"bench_cores"`
	ServerRSS int64   `json:"server_rss"`
}

// Memory is what the server and the kernel held, in bytes.
type Memory struct {
	Viewers   int     `json:"viewers"`
	Before    int64   `json:"rss_before"` // resident, without viewers
	With      int64   `json:"rss_with"`   // resident, with them
	PerViewer float64 `json:"per_viewer"` // the difference, each

	KernelPerViewer float64 `json:"kernel_per_viewer"` // sockets and buffers of both ends, each, whole machine; 0: unknown
	BuffersWith     int64   `json:"tcp_buffers_with"`  // TCP's buffers, whole machine

	Seconds float64 `json:"seconds"`    // of watching them sit there
	IdleCPU float64 `json:"idle_cores"` // the server's processors meanwhile
}

// ErrInterrupted says that the run was ended from outside; its result is what
// was found so far.
var ErrInterrupted = errors.New("bench: " + interruption)

// interruption is the problem of a result that was interrupted.
const interruption = "interrupted"

// Stalled is what became of the viewers that had stopped reading, after they read
// again.
type Stalled struct {
	Viewers  int `json:"viewers"`
	Closed   int `json:"closed"`    // by the server
	CaughtUp int `json:"caught_up"` // got all that they had missed
	Skipped  int `json:"skipped"`   // got the end, but not all before it
	Behind   int `json:"behind"`    // had not got to the end yet
}

// Wrong returns what is wrong with the deliveries of a phase, worst first.
func (p Phase) Wrong() (out []string) {
	for _, t := range []struct {
		n    uint64
		what string
	}{{p.Missing, "missing"}, {p.Repeated, "repeated"}, {p.Reordered, "out of order"}, {p.Damaged, "damaged"}, {p.Misnumbered, "misnumbered"}} {
		if t.n > 0 {
			out = append(out, fmt.Sprintf("%s of %s %s", Grouped(int64(t.n)), Count(p.Expected, "message"), t.what))
		}
	}
	if p.Gone > 0 {
		text := fmt.Sprintf("%s of %s lost the connection", Grouped(int64(p.Gone)), Count(p.Viewers, "viewer"))
		if p.Lost > 0 {
			text += ", and with it " + Count(p.Lost, "message")
		}
		out = append(out, text)
	}
	return out
}

// Brief is a phase in a line.
func (p Phase) Brief() string {
	if p.Delivered == 0 && p.Latency.Count == 0 && p.Expected == 0 {
		return "done"
	}
	verdict := "all there"
	if wrong := p.Wrong(); len(wrong) > 0 {
		verdict = strings.Join(wrong, "; ")
	}
	return fmt.Sprintf("%s a second, p50 %s, p99 %s, max %s: %s", Grouped(int64(p.PerSecond)),
		p.ofLatency(p.Latency.P50), p.ofLatency(p.Latency.P99), p.ofLatency(p.Latency.Max), verdict)
}

// SetEach divides what the server did and used by the seconds, and by all that it
// delivered.
func (p *Phase) SetEach() {
	p.CPUEach = 0
	if p.Server != nil && p.Delivered > 0 {
		p.CPUEach = p.Server.CPU * 1e9 / float64(p.Delivered+p.Ends)
	}
	if p.Seconds > 0 {
		p.PerSecond = float64(p.Delivered) / p.Seconds
	}
}

// SetEach divides by the seconds, and by the viewers that joined.
func (c *Connect) SetEach() {
	c.PerSecond = float64(c.Joined) / c.Seconds
	if c.Server != nil && c.Joined > 0 {
		c.CPUEach = c.Server.CPU * 1e6 / float64(c.Joined)
	}
}

// From marks what a result says in words as an agent's.
func (res *Result) From(addr string) *Result {
	for _, texts := range [][]string{res.Problems, res.Warnings} {
		for i := range texts {
			texts[i] = "agent " + addr + ": " + texts[i]
		}
	}
	return res
}
