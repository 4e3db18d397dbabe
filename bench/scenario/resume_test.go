package scenario

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// dropping are options and a scenario in which half of the viewers drop once:
// how often what is wrong can be seen is then known on a slow machine, too.
func dropping(url string) (Resume, workload.Options) {
	o := Small(url)
	o.Viewers, o.Rate, o.Duration, o.Drain = 16, 100, time.Second, 10*time.Second
	return Resume{Share: 0.5, Every: 400 * time.Millisecond, Waves: 1, Away: 30 * time.Millisecond, Numbered: 0.5}, o
}

// dropped is how many drop there.
const dropped = 8

func TestResumeOnARightServer(t *testing.T) {
	t.Parallel()
	l := &lecture{}
	s, o := dropping(l.start(t))
	s.Waves, o.Duration = 0, 2*time.Second
	res, err := runSmall(t, s, o)
	if err != nil {
		t.Fatalf("%v: %q", err, res.Problems)
	}
	r := res.Resumed // a slow viewer may miss a wave
	if r.Viewers != dropped || r.Waves != 4 || r.Numbered < 7 || r.Numbered > 9 || r.Resumes < dropped || r.Resumes > 4*dropped || r.Recovered != r.Resumes || r.Failed+r.Unrecovered != 0 {
		t.Errorf("%+v", r)
	}
	// A slow viewer may be cut off again before it has caught up.
	if n := int64(r.Resumes); r.Back.Count != n || r.Caught.Count > n || r.Caught.Count == 0 || r.Live.Count == 0 || r.PerSecond <= 0 {
		t.Errorf("%d joined again, %d caught up, %d live, %v a second", r.Back.Count, r.Caught.Count, r.Live.Count, r.PerSecond)
	}
	p := res.Phases[1]
	if p.Viewers != 16 || p.Delivered != p.Expected || p.Trouble != (report.Trouble{}) || p.Latency.Count != int64(p.Delivered/2) {
		t.Errorf("%d viewers, %d of %d, %d measured of those who stayed, %+v", p.Viewers, p.Delivered, p.Expected, p.Latency.Count, p.Trouble)
	}
}

func TestEverybodyComesBackAtOnce(t *testing.T) {
	t.Parallel()
	l := &lecture{}
	o := Small(l.start(t))
	o.Viewers, o.Rate, o.Duration = 100, 50, time.Second
	res, err := runSmall(t, Resume{Share: 1, Every: 300 * time.Millisecond, Waves: 1, Away: -1}, o)
	if err != nil {
		t.Fatalf("%v: %q", err, res.Problems)
	}
	if r := res.Resumed; r.Waves != 1 || r.Resumes != 100 || r.Recovered != 100 || r.Numbered != 0 {
		t.Errorf("%+v", r)
	}
}

// TestResumeFaultsAreFound has a server do something wrong each time that a
// viewer comes back.
func TestResumeFaultsAreFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server *lecture
		want   report.Trouble // each time
		fault  string         // what happened as often as one came back
	}{
		"loses one":   {&lecture{first: func([]byte) [][]byte { return nil }}, report.Trouble{Missing: 1}, ""},
		"repeats one": {&lecture{first: func(m []byte) [][]byte { return [][]byte{m, m} }}, report.Trouble{Repeated: 1}, ""},
		"goes back": {&lecture{resume: func(last, _ int) (int, bool, int) { return last, true, last - 1 }},
			report.Trouble{Repeated: 1}, ""},
		"garbles one": {&lecture{first: func(m []byte) [][]byte {
			m = bytes.Clone(m)
			m[len(m)-5] ^= 1
			return [][]byte{m}
		}}, report.Trouble{Damaged: 1}, ""},
		"renumbers":        {&lecture{resume: func(last, _ int) (int, bool, int) { return last + 3, true, last }}, report.Trouble{}, "renumbered"},
		"numbers it lower": {&lecture{resume: func(last, _ int) (int, bool, int) { return last - 1, false, last }}, report.Trouble{}, "renumbered"},
		"misnumbers one": {&lecture{number: func(seq int, first bool) int {
			if first {
				seq--
			}
			return seq
		}}, report.Trouble{Misnumbered: 1}, ""},
		"loses more than it tells": {&lecture{resume: func(_, newest int) (int, bool, int) { return newest, false, newest },
			first: func([]byte) [][]byte { return nil }}, report.Trouble{Missing: 1}, ""},
		"loses less than it tells": {&lecture{resume: func(_, newest int) (int, bool, int) { return newest, false, newest - 1 }},
			report.Trouble{Repeated: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, o := dropping(test.server.start(t))
			res, err := runSmall(t, s, o)
			if !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
			if res.Resumed.Resumes != dropped {
				t.Fatalf("%+v", res.Resumed)
			}
			n, want := test.server.times(), test.want
			want = report.Trouble{Missing: n * want.Missing, Repeated: n * want.Repeated, Damaged: n * want.Damaged, Misnumbered: n * want.Misnumbered}
			if got := res.Phases[1].Trouble; got != want || n == 0 {
				t.Errorf("found %+v, there were %+v", got, want)
			}
			if n := countFaults(res, report.WhoResuming, report.StageJoin, test.fault); test.fault != "" && n != dropped {
				t.Errorf("%d times %q: %+v", n, test.fault, res.Faults)
			}
		})
	}
}

// TestAnnouncedLossIsNoFault has a server say that it has nothing that was
// missed.
func TestAnnouncedLossIsNoFault(t *testing.T) {
	t.Parallel()
	l := &lecture{resume: func(_, newest int) (int, bool, int) { return newest, false, newest }}
	s, o := dropping(l.start(t))
	res, err := runSmall(t, s, o)
	if err != nil {
		t.Fatalf("%v: %q", err, res.Problems)
	}
	r := res.Resumed
	if r.Unrecovered != dropped || r.Recovered != 0 || r.Announced == 0 || r.Announced != uint64(l.missed) {
		t.Errorf("%+v, the server told of %d", r, l.missed)
	}
}

func TestServerLetsNobodyBack(t *testing.T) {
	t.Parallel()
	s, o := dropping((&lecture{refuse: true}).start(t))
	res, err := runSmall(t, s, o)
	if !errors.Is(err, report.ErrFailed) || countFaults(res, report.WhoResuming, report.StageJoin, "refused") != dropped {
		t.Errorf("%v: %+v", err, res.Faults)
	}
	p := res.Phases[1]
	if r := res.Resumed; r.Failed != dropped || r.Resumes != 0 || p.Gone != dropped || p.Missing != p.Lost || p.Delivered+p.Missing != p.Expected {
		t.Errorf("%+v; %d gone, %d missing, %d delivered and %d lost of %d", r, p.Gone, p.Missing, p.Delivered, p.Lost, p.Expected)
	}
}
