package scenario

import (
	"errors"
	"slices"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

func TestParseStages(t *testing.T) {
	got, err := ParseStages([]string{"1m:1000", " 30s:0"})
	if want := []Stage{{time.Minute, 1000}, {30 * time.Second, 0}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "1m", "1000", "x:5", "1m:", "1m:x", "1m:5:5"} {
		if _, err := ParseStages([]string{bad}); !errors.Is(err, workload.ErrOptions) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestStages has viewers come, stay, come and leave while the host publishes:
// whatever each was there for must have come.
func TestStages(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Viewers, o.Duration, o.Rate = 0, 0, 200
	res, err := runSmall(t, Fanout{Stages: []Stage{{time.Second, 20}, {300 * time.Millisecond, 20}, {500 * time.Millisecond, 30}, {500 * time.Millisecond, 5}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range res.Phases {
		if want := []int{20, 20, 30, 30}[i]; p.Viewers != want {
			t.Errorf("%s: %d viewers, not %d", p.Name, p.Viewers, want)
		}
		if p.Trouble != (report.Trouble{}) || p.Gone != 0 || p.Delivered == 0 || p.Delivered != p.Expected {
			t.Errorf("%s: %d of %d, %d gone, %+v", p.Name, p.Delivered, p.Expected, p.Gone, p.Trouble)
		}
	}
	// A viewer that comes or leaves in the middle of a second gets about half.
	if first, last := res.Phases[0], res.Phases[3]; first.Expected > first.Published*20*9/10 || last.Expected > last.Published*30*9/10 {
		t.Errorf("expected %d of %d x 20 and %d of %d x 30", first.Expected, first.Published, last.Expected, last.Published)
	}
	if c := res.Connects; len(c) != 2 || c[0].Joined != 20 || c[0].Seconds < 0.9 || c[1].Joined != 10 {
		t.Errorf("%+v", c)
	}
}

// TestStagesFindLosses has a message go missing for each viewer that is there.
func TestStagesFindLosses(t *testing.T) {
	t.Parallel()
	r := &Relay{Deliver: func(_, n int, m []byte) [][]byte {
		if n == 30 {
			return nil
		}
		return [][]byte{m}
	}}
	o := Small(r.Start(t))
	o.Viewers, o.Duration, o.Rate = 0, 0, 200
	res, err := runSmall(t, Fanout{Stages: []Stage{{100 * time.Millisecond, 10}, {500 * time.Millisecond, 10}}}, o)
	if n := res.Phases[0].Missing + res.Phases[1].Missing; !errors.Is(err, report.ErrFailed) || n != 10 {
		t.Errorf("%v, %d missing", err, n)
	}
}

// TestStagesEndWithTheServer has the server die while viewers come.
func TestStagesEndWithTheServer(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	url := r.Start(t)
	r.Before = func(n int) {
		if n == 50 {
			for _, host := range r.Hosts {
				_ = host.CloseNow()
			}
		}
	}
	o := Small(url)
	o.Viewers, o.Duration, o.Rate, o.Drain = 0, 0, 200, 2*time.Second
	begun := time.Now()
	_, err := runSmall(t, Fanout{Stages: []Stage{{time.Minute, 600}}}, o)
	if !errors.Is(err, report.ErrFailed) || time.Since(begun) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}
