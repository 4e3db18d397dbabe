// Package report is what a load test found out: the result, and how it is judged,
// added up with others, compared, and written as text, JSON and a page with
// charts. It measures nothing.
package report

import (
	"fmt"
	"strings"
	"time"

	"lectern/bench/workload"
)

// ResultVersion is the version of the JSON file's form.
const ResultVersion = 1

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

// A Connect is a number of viewers that connected and joined.
type Connect struct {
	Name      string       `json:"name"`
	Wanted    int          `json:"wanted" merge:"sum"`
	Joined    int          `json:"joined" merge:"sum"`
	Failed    int          `json:"failed" merge:"sum"`
	Seconds   float64      `json:"seconds" merge:"max"`
	PerSecond float64      `json:"per_second"`
	Join      Distribution `json:"join" merge:"sum"`              // from connecting to joined
	Server    *Usage       `json:"server,omitempty" merge:"most"` // while they connected
	CPUEach   float64      `json:"server_cpu_us_each,omitempty"`  // microseconds of the server's CPU for each that joined
	Bench     Usage        `json:"bench" merge:"sum"`
}

// A Phase is a time in which messages were published and counted.
type Phase struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	Viewers int       `json:"viewers" merge:"sum"` // that were there when it began
	Rooms   int       `json:"rooms" merge:"max"`
	Rate    float64   `json:"rate"`                // messages a second in each room
	Size    int       `json:"size"`                // bytes of a message
	Seconds float64   `json:"seconds" merge:"max"` // from the first due message to the last delivery

	Published uint64 `json:"published" merge:"sum"` // messages, all rooms
	Planned   uint64 `json:"planned" merge:"sum"`   // messages that were to be published
	Expected  uint64 `json:"expected" merge:"sum"`  // deliveries
	Delivered uint64 `json:"delivered" merge:"sum"`
	Lost      uint64 `json:"lost" merge:"sum"` // of the missing, those whose viewer had lost its connection
	Trouble
	Ends  uint64 `json:"ends,omitempty" merge:"sum"`  // deliveries of the message that ends the phase: they are in the server's CPU
	Early uint64 `json:"early,omitempty" merge:"sum"` // deliveries before their time: the clocks of two machines differ

	Received uint64 `json:"received,omitempty" merge:"sum"` // bytes that came to viewers, before TLS

	Gone      int     `json:"gone" merge:"sum"` // viewers whose connection ended in it
	PerSecond float64 `json:"deliveries_per_second"`

	Latency  Distribution `json:"latency" merge:"sum"`   // from due to arrived
	SendLate Distribution `json:"send_late" merge:"sum"` // from due to the bench's own write
	Spread   Spread       `json:"spread" merge:"sum"`

	Server  *Usage  `json:"server,omitempty" merge:"most"`
	CPUEach float64 `json:"server_cpu_ns_each,omitempty"` // nanoseconds of the server's CPU for each delivery
	Bench   Usage   `json:"bench" merge:"sum"`
	Busy    float64 `json:"machine_busy" merge:"max"` // share of all processors' time that was not idle

	Interval float64 `json:"interval_s"` // seconds between the points
	Series   []Point `json:"series"`
	Broke    string  `json:"broke,omitempty"` // saturate: which limit it broke
}

// Usage is what a process took in a time.
type Usage struct {
	CPU       float64 `json:"cpu_s" merge:"sum"`      // seconds, user and system
	Cores     float64 `json:"cores" merge:"sum"`      // processors it kept busy on average
	RSSBefore int64   `json:"rss_before" merge:"sum"` // resident bytes
	RSSAfter  int64   `json:"rss_after" merge:"sum"`
	RSSPeak   int64   `json:"rss_peak" merge:"sum"` // largest that was seen
}

// Trouble is what is wrong with a stream, in messages.
type Trouble struct {
	Missing   uint64 `json:"missing"`   // never came
	Repeated  uint64 `json:"repeated"`  // came once more
	Reordered uint64 `json:"reordered"` // came after a later one
	Damaged   uint64 `json:"damaged"`   // came with other content

	Misnumbered uint64 `json:"misnumbered,omitempty"` // came with another number than its own, or without one
}

// Add adds another stream's trouble.
func (t *Trouble) Add(u Trouble) {
	t.Missing += u.Missing
	t.Repeated += u.Repeated
	t.Reordered += u.Reordered
	t.Damaged += u.Damaged
	t.Misnumbered += u.Misnumbered
}

// A Point is a moment in a phase; its figures are of the interval before it. The
// percentiles of two sets lie between theirs; a viewer saw the larger.
type Point struct {
	At        float64 `json:"at_s"`                  // seconds since the phase began
	Delivered float64 `json:"delivered" merge:"sum"` // a second
	P50       int64   `json:"p50_us" merge:"max"`
	P99       int64   `json:"p99_us" merge:"max"`
	Max       int64   `json:"max_us" merge:"max"`
	ServerCPU float64 `json:"server_cores" merge:"max"`
	BenchCPU  float64 `json:"bench_cores" merge:"sum"`
	ServerRSS int64   `json:"server_rss" merge:"max"`
}

// Memory is what the server and the kernel held, in bytes.
type Memory struct {
	Viewers   int     `json:"viewers" merge:"sum"`
	Before    int64   `json:"rss_before" merge:"min"` // resident, without viewers
	With      int64   `json:"rss_with" merge:"max"`   // resident, with them
	PerViewer float64 `json:"per_viewer"`             // the difference, each

	KernelPerViewer float64 `json:"kernel_per_viewer"` // sockets and buffers of both ends, each, whole machine; 0: unknown
	BuffersWith     int64   `json:"tcp_buffers_with"`  // TCP's buffers, whole machine

	Seconds float64 `json:"seconds"`    // of watching them sit there
	IdleCPU float64 `json:"idle_cores"` // the server's processors meanwhile
}

// Stalled is what became of the viewers that had stopped reading, after they read
// again.
type Stalled struct {
	Viewers  int `json:"viewers"`
	Closed   int `json:"closed"`    // by the server
	CaughtUp int `json:"caught_up"` // got all that they had missed
	Skipped  int `json:"skipped"`   // got the end, but not all before it
	Behind   int `json:"behind"`    // had not got to the end yet
}

// Resumed is what came of viewers that dropped and came back.
type Resumed struct {
	Viewers  int    `json:"viewers" merge:"sum"`  // that dropped again and again
	Numbered int    `json:"numbered" merge:"sum"` // viewers with numbered messages, of all
	History  string `json:"history"`              // what kept the rooms' history: relay or host
	Waves    int    `json:"waves" merge:"max"`

	Resumes     int    `json:"resumes" merge:"sum"` // how often one was back
	Failed      int    `json:"failed" merge:"sum"`  // how often one did not come back
	Recovered   int    `json:"recovered" merge:"sum"`
	Unrecovered int    `json:"unrecovered" merge:"sum"`
	Announced   uint64 `json:"announced" merge:"sum"` // measured messages that the unrecovered were told they would not get

	Seconds   float64 `json:"seconds" merge:"max"` // in which a viewer was on the way back
	PerSecond float64 `json:"per_second"`
	CPUEach   float64 `json:"server_cpu_us_each,omitempty"` // microseconds of the server's CPU for each, beyond what deliveries cost when no viewer dropped

	Back   Distribution `json:"back" merge:"sum"`   // from connecting to joined
	Caught Distribution `json:"caught" merge:"sum"` // from connecting to the message that was the newest when it was back
	Live   Distribution `json:"live" merge:"sum"`   // latency of messages that were due when their viewer was back
}

// SetEach divides the viewers that came back by the seconds.
func (r *Resumed) SetEach() {
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Resumes) / r.Seconds
	}
}

// Arrived is what came of viewers that joined late, with the history.
type Arrived struct {
	Viewers  int    `json:"viewers" merge:"sum"`  // that joined
	Numbered int    `json:"numbered" merge:"sum"` // how many of them got numbered messages
	History  string `json:"history"`              // what kept the rooms' history: relay or host
	Messages int    `json:"messages"`             // that each host had said before

	Histories int    `json:"histories" merge:"sum"`
	Truncated int    `json:"truncated" merge:"sum"` // histories that said that the first messages were not in them
	Asked     int    `json:"asked" merge:"sum"`     // requests that hosts got
	Bytes     uint64 `json:"bytes" merge:"sum"`     // of all histories
	Largest   uint64 `json:"largest" merge:"max"`   // bytes of the largest

	Told Distribution `json:"told" merge:"sum"` // from connecting to the history
	Live Distribution `json:"live" merge:"sum"` // from connecting to the first live message
}

// Wrong returns what is wrong with the deliveries of a phase, worst first.
func (p Phase) Wrong() (out []string) {
	type count struct {
		n    uint64
		what string
	}
	for _, t := range []count{{p.Missing, "missing"}, {p.Repeated, "repeated"}, {p.Reordered, "out of order"}, {p.Damaged, "damaged"}, {p.Misnumbered, "misnumbered"}} {
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
		Micros(p.Latency.P50), Micros(p.Latency.P99), Micros(p.Latency.Max), verdict)
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
