package scenario

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
)

func TestSaturateFindsTheLimit(t *testing.T) {
	t.Parallel()
	// This relay drops whatever is due less than 4 ms after the message before.
	r := &Relay{}
	last := map[int]int64{}
	r.Deliver = func(viewer, _ int, m []byte) [][]byte {
		s, _ := stamp.Parse(m[bytes.Index(m, []byte(stamp.Marker)):])
		soon := s.Due-last[viewer] < int64(4*time.Millisecond)
		last[viewer] = s.Due
		if soon {
			return nil
		}
		return [][]byte{m}
	}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.Drain = 50, 300*time.Millisecond, 500*time.Millisecond
	res, err := runSmall(t, Saturate{Refine: 1, P99: 30 * time.Second}, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Held == nil || res.Held.Rate != 200 {
		t.Fatalf("held: %+v", res.Held)
	}
	var rates []float64
	for _, p := range res.Phases {
		rates = append(rates, p.Rate)
		if (p.Broke != "") != (p.Rate > 200) {
			t.Errorf("%v/s: %q", p.Rate, p.Broke)
		}
	}
	if want := []float64{50, 100, 200, 400, 400, 283, 283}; !slices.Equal(rates, want) {
		t.Errorf("the steps were %v, not %v", rates, want)
	}
}

func TestSaturateRaisesViewers(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Viewers, o.Rate, o.Duration = 2, 20, 300*time.Millisecond
	res, err := runSmall(t, Saturate{Viewers: true, MaxViewers: 12, P99: 10 * time.Second}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Phases) != 4 || res.Held == nil || res.Held.Viewers != 12 {
		t.Errorf("%d steps, held %+v", len(res.Phases), res.Held)
	}
}

func TestSaturateGoesDown(t *testing.T) {
	t.Parallel()
	last := map[int]int64{}
	r := &Relay{Deliver: func(viewer, _ int, m []byte) [][]byte {
		s, _ := stamp.Parse(m[bytes.Index(m, []byte(stamp.Marker)):])
		soon := s.Due-last[viewer] < int64(12*time.Millisecond)
		last[viewer] = s.Due
		if soon {
			return nil
		}
		return [][]byte{m}
	}}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.Drain = 200, 300*time.Millisecond, 300*time.Millisecond
	res, err := runSmall(t, Saturate{Refine: -1, P99: 30 * time.Second}, o)
	if err != nil || res.Held == nil || res.Held.Rate != 50 {
		t.Errorf("%v, held %+v", err, res.Held)
	}
}

func TestSaturateNothingHolds(t *testing.T) {
	t.Parallel()
	r := &Relay{Deliver: func(int, int, []byte) [][]byte { return nil }}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.Drain, o.Warmup = 200, 100*time.Millisecond, 50*time.Millisecond, -1
	res, err := runSmall(t, Saturate{}, o)
	if !errors.Is(err, report.ErrFailed) || res.Held != nil {
		t.Errorf("%v, held %+v", err, res.Held)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	r := &Relay{From: map[string]int{}}
	o := Small(r.Start(t))
	o.Sources = []string{"127.0.0.2", "127.0.0.3"}
	if _, err := runSmall(t, Storm{}, o); err != nil {
		t.Fatal(err)
	}
	if r.From["127.0.0.2"] != o.Viewers/2+1 || r.From["127.0.0.3"] != o.Viewers/2 {
		t.Errorf("connections came from %v", r.From)
	}
}

func TestStorm(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Viewers, o.Window = 100, 10
	res, err := runSmall(t, Storm{Again: 1}, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range res.Connects {
		if c.Joined != 100 || c.Failed != 0 || c.Join.Count != 100 || c.PerSecond <= 0 {
			t.Errorf("round %d: %+v", i, c)
		}
	}
	if len(res.Connects) != 2 {
		t.Errorf("%d rounds", len(res.Connects))
	}
}

func TestConnectRate(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Viewers, o.ConnectRate = 51, 100
	res, err := runSmall(t, Storm{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if s := res.Connects[0].Seconds; s < 0.5 {
		t.Errorf("51 connections at 100 a second took %v s", s)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.PID, o.Duration = os.Getpid(), 300*time.Millisecond
	res, err := runSmall(t, Idle{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if m := res.Memory; m == nil || m.Viewers != o.Viewers || m.With < 1<<20 || m.Before < 1<<20 {
		t.Errorf("%+v", m)
	}
}

func TestStall(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Rate, o.Duration = 50, 600*time.Millisecond
	res, err := runSmall(t, Stall{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Phases) != 3 {
		t.Fatalf("%d phases", len(res.Phases))
	}
	for _, p := range res.Phases {
		if p.Viewers != o.Viewers/2 || p.Delivered != p.Expected || p.Latency.Count != int64(p.Delivered) {
			t.Errorf("%s: %d viewers, %d of %d, %d measured", p.Name, p.Viewers, p.Delivered, p.Expected, p.Latency.Count)
		}
	}
	if s := res.Stalled; s == nil || s.Viewers != o.Viewers/2 || s.CaughtUp != s.Viewers {
		t.Errorf("%+v", s)
	}
}

func TestLimit(t *testing.T) {
	t.Setenv(senderEnv, "1")
	o := workload.Options{Viewers: 20, Rate: 200, Size: 128, Duration: 500 * time.Millisecond, Warmup: 100 * time.Millisecond}
	res, err := runSmall(t, Limit{Sender: []string{os.Args[0], "{addr}"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := res.Phases[0]
	if p.Delivered != 20*100 || p.Expected != 20*100 || p.Published != 100 || p.Server == nil || p.SendLate.Count != 100 {
		t.Errorf("%+v", p)
	}
}

func TestLimitWithoutSender(t *testing.T) {
	t.Parallel()
	o := workload.Options{Viewers: 2, Rate: 10, Duration: time.Second, Timeout: time.Second}
	for name, command := range map[string][]string{"missing": {"/does/not/exist"}, "short": {"true"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := runSmall(t, Limit{Sender: command}, o); !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command []string
		says    string
	}{
		"missing": {[]string{"/does/not/exist"}, "no such file"},
		"ends":    {[]string{"sh", "-c", "echo broken >&2; exit 3"}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Small("ws://127.0.0.1:1/")
			o.Serve, o.ServerCommand = true, test.command
			_, err := runSmall(t, Fanout{}, o)
			if !errors.Is(err, report.ErrFailed) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	r := &Relay{Rooms: map[string]*Room{}}
	srv := httptest.NewUnstartedServer(r)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	o := Small(strings.Replace(srv.URL, "https", "wss", 1) + "/")
	o.Rate, o.Duration, o.Insecure = 50, 500*time.Millisecond, true
	res, err := runSmall(t, Fanout{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if p := res.Phases[0]; p.Delivered != uint64(25*o.Viewers) {
		t.Errorf("%+v", p)
	}
	o.Insecure = false
	o.Timeout = time.Second
	if res, err := runSmall(t, Fanout{}, o); !errors.Is(err, report.ErrFailed) || len(res.Faults) == 0 || res.Faults[0].Stage != report.StageConnect {
		t.Errorf("a wrong certificate: %v", err)
	}
}

// TestResumeOverTLS has viewers over TLS drop and come back.
func TestResumeOverTLS(t *testing.T) {
	t.Parallel()
	l := &lecture{rooms: map[string]*lectureRoom{}}
	srv := httptest.NewTLSServer(l)
	t.Cleanup(func() {
		srv.Close()
		l.pending.Wait()
	})
	s, o := dropping(strings.Replace(srv.URL, "https", "wss", 1) + "/")
	o.Insecure = true
	res, err := runSmall(t, s, o)
	if err != nil || res.Resumed.Resumes != dropped {
		t.Errorf("%v: %+v", err, res.Resumed)
	}
}

// TestTwoBenchesOneRoom has a second bench join the room of the first, and
// adds up what they saw.
func TestTwoBenchesOneRoom(t *testing.T) {
	t.Parallel()
	r := &Relay{}
	o := Small(r.Start(t))
	o.Rate, o.Duration = 100, 700*time.Millisecond
	o.StartAt = time.Now().Add(6 * time.Second)
	o.Warmup = -1

	type outcome struct {
		res *report.Result
		err error
	}
	first := make(chan outcome)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() {
		res, err := engine.Run(ctx, Fanout{}, o, io.Discard)
		first <- outcome{res, err}
	}()
	for r.Opened() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	second := o
	second.RoomNames, second.Viewers = []string{"000001"}, 5
	b, err := engine.Run(ctx, Fanout{}, second, io.Discard)
	if err != nil {
		t.Fatalf("second: %v", err)
	}
	a := <-first
	if a.err != nil {
		t.Fatalf("first: %v", a.err)
	}
	sum, err := report.Merge(a.res, b)
	if err != nil {
		t.Fatal(err)
	}
	if p := sum.Phases[0]; p.Viewers != 13 || p.Delivered != 13*70 || p.Missing != 0 || p.Latency.Count != 13*70 {
		t.Errorf("%d viewers, %d of %d, %+v", p.Viewers, p.Delivered, p.Expected, p.Trouble)
	}
}
