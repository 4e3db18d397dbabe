package scenario

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// coming are options and a scenario of viewers that come late.
func coming(url, history string) (Late, workload.Options) {
	o := Small(url)
	o.Viewers, o.Rate, o.Duration, o.Drain = 20, 50, time.Second, 10*time.Second
	return Late{Messages: 15, Numbered: 0.5, History: history}, o
}

func TestLateOnARightServer(t *testing.T) {
	t.Parallel()
	for _, history := range []string{"relay", "host"} {
		t.Run(history, func(t *testing.T) {
			t.Parallel()
			l := &lecture{}
			s, o := coming(l.start(t), history)
			o.Rooms = 2
			res, err := runSmall(t, s, o)
			if err != nil {
				t.Fatalf("%v: %q, %+v", err, res.Problems, res.Faults)
			}
			a := res.Arrived
			if a.Viewers != 20 || a.Histories != 20 || a.Numbered < 9 || a.Numbered > 11 || a.Truncated != 0 || a.Told.Count != 20 || a.Live.Count != 20 {
				t.Errorf("%+v", a)
			}
			if a.Largest < 15*100 || a.Bytes < 20*15*100 || history == "host" && a.Asked == 0 || history == "relay" && a.Asked != 0 {
				t.Errorf("%d bytes, the largest %d, hosts were asked %d times", a.Bytes, a.Largest, a.Asked)
			}
			if p := res.Phases[0]; p.Viewers != 20 || p.Delivered != p.Expected || p.Delivered < 20 || p.Trouble != (report.Trouble{}) {
				t.Errorf("%d viewers, %d of %d, %+v", p.Viewers, p.Delivered, p.Expected, p.Trouble)
			}
		})
	}
}

// TestJoiningTakesItsTime has viewers come for longer than the phase lasts: the
// host goes on until all are live.
func TestJoiningTakesItsTime(t *testing.T) {
	t.Parallel()
	l := &lecture{}
	s, o := coming(l.start(t), "relay")
	s.Over, o.Duration = time.Second, 200*time.Millisecond
	res, err := runSmall(t, s, o)
	if err != nil {
		t.Fatalf("%v: %q, %+v", err, res.Problems, res.Faults)
	}
	if p := res.Phases[0]; p.Published < 40 || res.Arrived.Live.Count != 20 || res.Connects[0].Seconds < 0.9 {
		t.Errorf("%d published, %d live, joined in %v s", p.Published, res.Arrived.Live.Count, res.Connects[0].Seconds)
	}
}

// TestLateFaultsAreFound has a server do something wrong for each viewer.
func TestLateFaultsAreFound(t *testing.T) {
	t.Parallel()
	const viewers = 20
	replace := func(pattern, with string) func([]byte) [][]byte {
		return func(text []byte) [][]byte {
			return [][]byte{regexp.MustCompile(pattern).ReplaceAll(text, []byte(with))}
		}
	}
	for name, test := range map[string]struct {
		server *lecture
		stage  report.Stage
		fault  string
		want   report.Trouble
	}{
		"loses the first live one":   {&lecture{first: func([]byte) [][]byte { return nil }}, "", "", report.Trouble{Missing: viewers}},
		"repeats the first live one": {&lecture{first: func(m []byte) [][]byte { return [][]byte{m, m} }}, "", "", report.Trouble{Repeated: viewers}},
		"leaves out the first":       {&lecture{without: 1}, report.StageHistory, "wrong history", report.Trouble{}},
		"leaves out one":             {&lecture{without: 8}, report.StageHistory, "wrong history", report.Trouble{}},
		"gives a wrong seq":          {&lecture{history: replace(`"seq":\d+`, `"seq":7`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"gives no seq":               {&lecture{history: replace(`"seq":\d+`, `"s":7`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"garbles an envelope":        {&lecture{history: replace(`("messages":\[\{"type":"comma)nd`, `${1}md`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"breaks the JSON":            {&lecture{history: replace(`"messages":\[`, `"messages":`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"tells other commands":       {&lecture{history: replace(`"commands":\["[^"]*",`, `"commands":[`)}, report.StageHistory, "wrong history", report.Trouble{}},
		"tells it twice": {&lecture{history: func(text []byte) [][]byte { return [][]byte{text, text} }},
			report.StageHistory, "a history that it did not ask for", report.Trouble{}},
		"tells none": {&lecture{history: func([]byte) [][]byte { return nil }}, report.StageHistory, "no answer in time", report.Trouble{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := coming(test.server.start(t), "relay")
			if test.fault == "no answer in time" {
				o.Timeout = 5 * time.Second
			}
			res, err := runSmall(t, s, o)
			if !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
			got := res.Phases[0].Trouble
			got.Missing -= res.Phases[0].Lost // a viewer that waits in vain is closed, and misses what follows
			if got != test.want {
				t.Errorf("found %+v, there were %+v", got, test.want)
			}
			if n := countFaults(res, report.WhoViewer, test.stage, test.fault); test.fault != "" && n != viewers {
				t.Errorf("%d times %q: %+v", n, test.fault, res.Faults)
			}
		})
	}
}
