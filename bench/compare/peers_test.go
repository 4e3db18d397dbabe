package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

// TestPeersRelay sees that every peer does the work that it is measured by.
func TestPeersRelay(t *testing.T) {
	all := append(withCompression(peers), peers...)
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			_ = l.Close()
			go func() { _ = p.serve(place{addr: addr}) }() // until the test program ends
			for range 100 {
				if conn, err := net.Dial("tcp", addr); err == nil {
					_ = conn.Close()
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			o, err := p.options(workload.Options{Viewers: 10, Rate: 50, Payload: workload.JSON, Duration: 500 * time.Millisecond, Warmup: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			o.URL, o.Serve, o.ServerCommand = strings.Replace(o.URL, "127.0.0.1:1", addr, 1), false, nil
			res, err := engine.Run(context.Background(), scenario.Fanout{}, o, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Phases[0].Delivered; got != 250 {
				t.Errorf("%d of 250 delivered", got)
			}
			if each := float64(res.Phases[0].Received) / 250; (each < 1200) != p.compress {
				t.Errorf("%.0f bytes received a delivery, compressed %t", each, p.compress)
			}
		})
	}
}

func TestTable(t *testing.T) {
	fan := func(cpu float64) *report.Result {
		return &report.Result{Scenario: "fanout", Phases: []report.Phase{{Name: "fanout", Delivered: 1, CPUEach: cpu, Server: &report.Usage{}}}}
	}
	rows := table(columns, []relay{
		{name: "a", results: []*report.Result{fan(3000), fan(1000), fan(2000), {Scenario: "saturate", Held: &report.Phase{Rate: 500}}}},
		{name: "b", results: []*report.Result{{Scenario: "saturate"}}},
	})
	if rows[1][0] != "a" || rows[1][1] != "2.0 us" || rows[1][8] != "500/s" {
		t.Errorf("%q", rows[1])
	}
	if rows[2][1] != "-" || rows[2][8] != "0/s" {
		t.Errorf("%q", rows[2])
	}
}
