package scenario_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/team"
	"lectern/bench/workload"
)

const agentToken = "a token of this test only"

// startAgent lends this machine to benches, until stop is called or the test ends.
func startAgent(t *testing.T, token string) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := (team.Agent{Token: token}).Serve(ctx, l, io.Discard); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	stop = func() {
		cancel()
		group.Wait()
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// together are options for a run with agents.
func together(url string, agents ...string) workload.Options {
	o := scenario.Small(url)
	o.Viewers, o.Rate, o.Duration, o.Agents, o.Token = 11, 100, 700*time.Millisecond, agents, agentToken
	return o
}

// runSmall runs a fanout silently.
func runTeam(t *testing.T, f scenario.Fanout, o workload.Options) (*report.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := team.Run(ctx, f, o, io.Discard)
	if res == nil {
		t.Fatalf("no result: %v", err)
	}
	return res, err
}

func inStages(texts ...string) scenario.Fanout {
	stages, err := scenario.ParseStages(texts)
	if err != nil {
		panic(err)
	}
	return scenario.Fanout{Stages: stages}
}

// TestAgents shares viewers among three machines, over and over with the same
// agents, in several rooms too.
func TestAgents(t *testing.T) {
	t.Parallel()
	first, _ := startAgent(t, agentToken)
	second, _ := startAgent(t, agentToken)
	for _, rooms := range []int{1, 3} {
		r := &scenario.Relay{}
		o := together(r.Start(t), first, second)
		o.Rooms = rooms
		res, err := runTeam(t, scenario.Fanout{}, o)
		if err != nil {
			t.Fatal(err)
		}
		p := res.Phases[0]
		if res.Merged != 3 || res.Options.Viewers != 11 || p.Viewers != 11 || p.Published != uint64(70*rooms) || p.Delivered != 11*70 || p.Expected != 11*70 {
			t.Errorf("%d results, %d viewers, %d published, %d of %d delivered", res.Merged, p.Viewers, p.Published, p.Delivered, p.Expected)
		}
		if p.Latency.Count != 11*70 || p.Latency.Max > 5e6 || p.Early > 11*70/2 {
			t.Errorf("latencies: %d, at most %d us, %d early", p.Latency.Count, p.Latency.Max, p.Early)
		}
		if c := res.Connects; len(c) != 1 || c[0].Joined != 11 {
			t.Errorf("%+v", c)
		}
	}
}

func TestAgentsInStages(t *testing.T) {
	t.Parallel()
	first, _ := startAgent(t, agentToken)
	second, _ := startAgent(t, agentToken)
	r := &scenario.Relay{}
	o := together(r.Start(t), first, second)
	o.Viewers, o.Duration = 0, 0
	res, err := runTeam(t, inStages("500ms:10", "300ms:10", "300ms:4"), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range res.Phases {
		if p.Viewers != 10 || p.Delivered != p.Expected || p.Delivered == 0 || p.Trouble != (report.Trouble{}) {
			t.Errorf("stage %d: %d viewers, %d of %d, %+v", i+1, p.Viewers, p.Delivered, p.Expected, p.Trouble)
		}
	}
}

// TestAgentsCountLosses has a relay lose a message for all viewers, and close all
// of them in the middle: what agents' viewers lack is missing like the others'.
func TestAgentsCountLosses(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, agentToken)
	closing := &scenario.Relay{}
	closing.Before = func(n int) {
		if n == 30 {
			for _, rm := range closing.Rooms {
				for _, v := range rm.Viewers {
					_ = v.Conn.CloseNow()
				}
			}
		}
	}
	for name, test := range map[string]struct {
		relay *scenario.Relay
		least uint64
	}{
		"loses one": {&scenario.Relay{Deliver: func(_, n int, m []byte) [][]byte {
			if n == 30 {
				return nil
			}
			return [][]byte{m}
		}}, 11},
		"closes all": {closing, 11},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := runTeam(t, scenario.Fanout{}, together(test.relay.Start(t), addr))
			if !errors.Is(err, report.ErrFailed) {
				t.Errorf("the error is %v", err)
			}
			p := res.Phases[0]
			if p.Viewers != 11 || p.Missing < test.least || p.Missing != p.Expected-p.Delivered || p.Expected != 11*p.Published {
				t.Errorf("%d viewers, %d published, %d expected, %d delivered, %d missing", p.Viewers, p.Published, p.Expected, p.Delivered, p.Missing)
			}
		})
	}
}

// TestAgentsTolerate has a threshold decide about all machines' missing messages.
func TestAgentsTolerate(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, agentToken)
	for name, test := range map[string]struct {
		most uint64
		want error
	}{"tolerated": {11, nil}, "too many": {10, report.ErrThreshold}} {
		r := &scenario.Relay{Deliver: func(_, n int, m []byte) [][]byte {
			if n == 30 {
				return nil
			}
			return [][]byte{m}
		}}
		o := together(r.Start(t), addr)
		o.Thresholds.MaxMissing = &test.most
		if res, err := runTeam(t, scenario.Fanout{}, o); !errors.Is(err, test.want) || res.Phases[0].Missing != 11 {
			t.Errorf("%s: %v, %d missing", name, err, res.Phases[0].Missing)
		}
	}
}

// TestAgentEnds has an agent go away in the middle of a run: the others go on,
// and the report says that its part is missing.
func TestAgentEnds(t *testing.T) {
	t.Parallel()
	addr, stop := startAgent(t, agentToken)
	r := &scenario.Relay{}
	r.Before = func(n int) {
		if n == 20 {
			go stop()
		}
	}
	res, err := runTeam(t, scenario.Fanout{}, together(r.Start(t), addr))
	if !errors.Is(err, report.ErrFailed) || !strings.Contains(strings.Join(res.Problems, "\n"), "agent "+addr) {
		t.Errorf("%v: %q", err, res.Problems)
	}
	if p := res.Phases[0]; p.Viewers == 6 && p.Delivered != 6*70 {
		t.Errorf("%d viewers, %d of %d", p.Viewers, p.Delivered, p.Expected)
	}
}

// TestInterruptEndsAgents has the leader interrupted: its agents are free again.
func TestInterruptEndsAgents(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, agentToken)
	r := &scenario.Relay{}
	o := together(r.Start(t), addr)
	o.Duration = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := team.Run(ctx, scenario.Fanout{}, o, io.Discard); !errors.Is(err, report.ErrInterrupted) {
		t.Errorf("the error is %v", err)
	}
	o.Duration = 200 * time.Millisecond
	deadline := time.Now().Add(40 * time.Second)
	for {
		_, err := runTeam(t, scenario.Fanout{}, o)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "busy") || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestAgentWantsTheToken has leaders and strangers without it.
func TestAgentWantsTheToken(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, agentToken)
	r := &scenario.Relay{}
	o := together(r.Start(t), addr)
	o.Token = "another token of this test"
	if res, err := team.Run(context.Background(), scenario.Fanout{}, o, io.Discard); err == nil || res != nil || !strings.Contains(err.Error(), "the other end has another token") {
		t.Errorf("the error is %v", err)
	}
	o.Token = "short"
	if _, err := team.Run(context.Background(), scenario.Fanout{}, o, io.Discard); !errors.Is(err, workload.ErrOptions) {
		t.Errorf("a short token: %v", err)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, `{"job":{"version":1}}`+"\n")
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	if answer, err := bufio.NewReader(conn).ReadBytes('\n'); err == nil || bytes.Contains(answer, []byte("done")) {
		t.Errorf("a stranger got %q", answer)
	}
	o.Token = agentToken
	if _, err := runTeam(t, scenario.Fanout{}, o); err != nil {
		t.Errorf("with the token: %v", err)
	}
}

func TestTeamIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		scenario scenario.Fanout
		change   func(*workload.Options)
		says     string
	}{
		"too few":     {scenario.Fanout{}, func(o *workload.Options) { o.Viewers = 1 }, "each of 2 machines needs one"},
		"few a room":  {scenario.Fanout{}, func(o *workload.Options) { o.Rooms = 6 }, "each of 2 machines needs one"},
		"room":        {scenario.Fanout{}, func(o *workload.Options) { o.RoomNames = []string{"X"} }, "it cannot join another's"},
		"first stage": {inStages("1s:1"), func(o *workload.Options) { o.Viewers, o.Duration = 0, 0 }, "machines needs one"},
	} {
		t.Run(name, func(t *testing.T) {
			o := together("ws://127.0.0.1:1/", "127.0.0.1:1")
			test.change(&o)
			if _, err := team.Run(context.Background(), test.scenario, o, io.Discard); !errors.Is(err, workload.ErrOptions) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
