package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lectern/bench/workload"
)

// sample returns the result of an invented fanout; every latency is the same.
func sample(viewers, latency int64) *Result {
	h := NewHistogram()
	for range viewers * 100 {
		h.Record(latency)
	}
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := uint64(viewers * 100)
	p := Phase{Name: "fanout", Started: started, Viewers: int(viewers), Rooms: 1, Rate: 50, Size: 256, Seconds: 2, Published: 100, Planned: 100,
		Expected: n, Delivered: n, PerSecond: float64(n) / 2, Latency: Summarize(h), Spread: NewSpread([]int64{latency}, []int64{latency}),
		Server: &Usage{CPU: 1, Cores: 0.5, RSSBefore: 1 << 20, RSSAfter: 2 << 20, RSSPeak: 3 << 20}, CPUEach: 1e9 / float64(n),
		Interval: 1, Series: []Point{{At: 1, Delivered: float64(n) / 2, P50: latency, P99: latency, Max: latency}, {At: 2, Delivered: float64(n) / 2, Max: latency}}}
	c := Connect{Name: "connect", Wanted: int(viewers), Joined: int(viewers), Seconds: 1, PerSecond: float64(viewers), Join: p.Latency}
	return &Result{Version: ResultVersion, Scenario: "fanout", Label: "sample", Started: started, Ended: started.Add(time.Minute),
		Options: workload.Options{Viewers: int(viewers), Rooms: 1, Rate: 50, Size: 256}, Connects: []Connect{c}, Phases: []Phase{p}}
}

func TestFilesRoundTrip(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	a := sample(10, 1000)
	a.Problems = []string{"something"}
	if err := WriteFile(name, a); err != nil {
		t.Fatal(err)
	}
	b, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.Phases[0].Latency.P99 != a.Phases[0].Latency.P99 || !b.Phases[0].Latency.Histogram.Equals(a.Phases[0].Latency.Histogram.Histogram) || !b.Started.Equal(a.Started) || b.Problems[0] != "something" || b.Options.Viewers != 10 {
		t.Errorf("%+v", b)
	}
	for content, want := range map[string]error{"{": ErrFile, "{}": ErrFile, `{"version":99,"scenario":"fanout"}`: ErrFile} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(name); !errors.Is(err, want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestMerge(t *testing.T) {
	a, b := sample(10, 1000), sample(30, 5000)
	b.Phases[0].Missing, b.Phases[0].Delivered = 2, b.Phases[0].Delivered-2
	b.Problems = []string{"fanout: 2 missing"}
	b.Faults = []Fault{{"viewer", StageLive, "closed", 2, ""}}
	b.Phases[0].Started = b.Phases[0].Started.Add(time.Second)
	before := a.Phases[0].Latency
	sum, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	p := sum.Phases[0]
	if p.Viewers != 40 || p.Expected != 4000 || p.Delivered != 3998 || p.Missing != 2 || sum.Merged != 2 || sum.Options.Viewers != 40 {
		t.Errorf("%+v", p)
	}
	if p.Latency.Count != 4000 || p.Latency.P50 < 4995 || p.Latency.P50 > 5005 || p.Latency.Max < 4995 {
		t.Errorf("latency %+v", p.Latency)
	}
	if v := p.Latency.Histogram.ValueAtPercentile(24); v > 1001 {
		t.Errorf("the first quarter is %v", v)
	}
	if p.Series[0].Delivered != 500 || p.Series[1].Delivered != 500+1500 {
		t.Errorf("series %+v", p.Series)
	}
	if p.CPUEach != 1e9/3998 || sum.Connects[0].Joined != 40 || len(sum.Faults) != 1 || !errors.Is(sum.Failed(), ErrFailed) {
		t.Errorf("%+v", sum)
	}
	if a.Phases[0].Latency != before || a.Phases[0].Viewers != 10 || a.Phases[0].Series[1].Delivered != 500 {
		t.Error("merging changed what was merged")
	}
	other := sample(1, 1)
	other.Scenario = "storm"
	for name, results := range map[string][]*Result{"one": {a}, "others": {a, other}, "phases": {a, {Scenario: "fanout"}}} {
		if _, err := Merge(results...); !errors.Is(err, ErrMerge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMergeOfUnequalStages adds up machines of which not all had viewers to
// connect in each stage.
func TestMergeOfUnequalStages(t *testing.T) {
	named := func(names ...string) *Result {
		r := sample(10, 1000)
		r.Connects = nil
		for _, name := range names {
			r.Connects = append(r.Connects, Connect{Name: name, Joined: 1, Seconds: 1})
		}
		return r
	}
	sum, err := Merge(named("stage 1", "stage 3"), named("stage 1", "stage 2"), named("stage 2"))
	if err != nil {
		t.Fatal(err)
	}
	joined := map[string]int{}
	for _, c := range sum.Connects {
		joined[c.Name] += c.Joined
	}
	if len(sum.Connects) != 3 || joined["stage 1"] != 2 || joined["stage 2"] != 2 || joined["stage 3"] != 1 {
		t.Errorf("%+v", sum.Connects)
	}
	twice, err := Merge(named("storm", "all again", "all again"), named("storm", "all again", "all again"))
	if err != nil || len(twice.Connects) != 3 || twice.Connects[2].Joined != 2 {
		t.Errorf("%v: %+v", err, twice.Connects)
	}
}

func TestCompare(t *testing.T) {
	a, b := sample(10, 1000), sample(10, 2500)
	b.Scenario = "limit"
	b.Phases[0].Name = "limit"
	b.Phases[0].CPUEach /= 2
	b.Problems = []string{"something is missing"}
	var out bytes.Buffer
	if err := WriteComparison(&out, a, b); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		`A: sample fanout +B: sample limit +ratio`,
		`latency p99 +(999 us|1 ms|1000 us) +2\.5 ms +2\.50`,
		`server CPU a delivery +1000\.0 us +500\.0 us +0\.50`,
		`missing +0 +0 +1\.00`,
		`sample limit FAILED: something is missing`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestPageStandsAlone looks for anything that a browser would fetch.
func TestPageStandsAlone(t *testing.T) {
	a, b := sample(10, 1000), sample(10, 2500)
	a.Warnings = []string{"<script>alert(1)</script>"}
	for name, results := range map[string][]*Result{"one": {a}, "two": {a, b}} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.html")
			if err := WritePage(file, results...); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			if outside := regexp.MustCompile(`<(script|img|iframe)[^>]*src=|<link|@import|url\(`).FindString(text[strings.Index(text, "<body>"):]); outside != "" {
				t.Errorf("the page fetches %q", outside)
			}
			if strings.Contains(text, "<script>alert(1)") {
				t.Error("a text of the result is not escaped")
			}
			for _, title := range []string{"Latency by percentile", "Latency over time", "Deliveries over time", "Viewers, from the best", "Server over time", "echarts.init"} {
				if !strings.Contains(text, title) {
					t.Errorf("the page has no %q", title)
				}
			}
		})
	}
}

// TestReportOpensWithTheVerdict says what each scenario was made to find out
// before it shows any table.
func TestReportOpensWithTheVerdict(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Result)
		want   string
	}{
		"fanout":      {func(*Result) {}, "PASSED: 1,000 of 1,000 messages arrived, p99 1 ms"},
		"storm":       {func(r *Result) { r.Scenario, r.Phases = "storm", nil }, "PASSED: 10 of 10 viewers joined, 10 a second, p99 1 ms"},
		"idle":        {func(r *Result) { r.Scenario, r.Memory = "idle", &Memory{Viewers: 10, PerViewer: 300} }, "PASSED: 10 viewers take 300 B of the server's memory each"},
		"saturate":    {func(r *Result) { r.Scenario, r.Held = "saturate", &r.Phases[0] }, "PASSED: the server holds 50 messages a second of 256 bytes to 10 viewers: 500 deliveries a second, p99 1 ms"},
		"failed":      {func(r *Result) { r.Problems = []string{"fanout: 3 missing"} }, "FAILED: fanout: 3 missing\nfound: 1,000 of 1,000 messages arrived"},
		"crossed":     {func(r *Result) { r.Crossed = []string{"fanout: p99 1 ms, the threshold is 1 us"} }, "FAILED: fanout: p99 1 ms, the threshold is 1 us"},
		"interrupted": {func(r *Result) { r.Interrupted, r.Problems = true, []string{"interrupted"} }, "INTERRUPTED: these are the results so far\nfound: "},
	} {
		t.Run(name, func(t *testing.T) {
			res := sample(10, 1000)
			test.change(res)
			var out bytes.Buffer
			if err := res.WriteText(&out); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(strings.TrimSpace(out.String()), test.want) {
				t.Errorf("it begins with\n%.200s", out.String())
			}
		})
	}
}

// TestResumedInFiles has what came of coming back written, read, compared and
// added up.
func TestResumedInFiles(t *testing.T) {
	a := sample(10, 1000)
	a.Scenario = "resume"
	a.Resumed = &Resumed{Viewers: 5, History: "relay", Waves: 2, Resumes: 10, Recovered: 9, Unrecovered: 1, Seconds: 2, PerSecond: 5, Back: a.Phases[0].Latency}
	a.Arrived = &Arrived{Viewers: 5, History: "host", Histories: 5, Asked: 2, Bytes: 5000, Largest: 1000, Told: a.Phases[0].Latency, Live: a.Phases[0].Latency}
	sum, err := Merge(a, a)
	if err != nil {
		t.Fatal(err)
	}
	if r := sum.Resumed; r.Resumes != 20 || r.PerSecond != 10 || r.Back.Count != 2000 || a.Resumed.Resumes != 10 {
		t.Errorf("%+v", r)
	}
	if r := sum.Arrived; r.Histories != 10 || r.Asked != 4 || r.Live.Count != 2000 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	if err := errors.Join(a.WriteText(&out), WriteComparison(&out, a, sum), WritePage(filepath.Join(t.TempDir(), "p.html"), a)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not recovered", "joined again", "requests that hosts got", "first live message p99"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
