// Command compare puts Lectern beside other Go relays: the same work, on the
// same machine, in turns. It is a module of its own so that Lectern does not
// depend on its peers.
//
//	compare --lectern ./lectern --html compare.html
//
// Each peer is a minimal relay written as its own documentation recommends for
// broadcast, in a file of its own here.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/workload"
)

type cli struct {
	Run   runCommand   `cmd:"" default:"withargs" help:"Measure all, and print one table."`
	Serve serveCommand `cmd:"" help:"Run one peer."`
}

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("compare"), kong.Description("Lectern and its peers, on the same work."))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// serveCommand runs a peer in this process.
type serveCommand struct {
	Peer string `arg:"" enum:"gorilla,gws,nbio,centrifuge,nginx" help:"One of ${enum}."`
	Addr string `arg:"" help:"Where to listen."`
	Cert string `arg:"" optional:"" help:"Certificate, for TLS."`
	Key  string `arg:"" optional:"" help:"Its key."`

	Lectern string `help:"Lectern's binary, for nginx in front of it."`
}

func (c serveCommand) Run() error {
	at := place{c.Addr, c.Cert, c.Key}
	if c.Peer == "nginx" {
		return serveNginx(at, c.Lectern)
	}
	i := slices.IndexFunc(peers, func(p relay) bool { return p.name == c.Peer })
	return peers[i].serve(at)
}

// A place is where a peer listens.
type place struct {
	addr      string
	cert, key string // files; empty without TLS
}

// serve serves HTTP.
func (p place) serve(handler http.Handler) error {
	if p.cert == "" {
		return http.ListenAndServe(p.addr, handler)
	}
	return http.ListenAndServeTLS(p.addr, p.cert, p.key, handler)
}

// runCommand measures all relays.
type runCommand struct {
	Lectern  string        `default:"lectern" type:"existingfile" help:"Lectern's binary."`
	Only     []string      `help:"Measure only these: lectern, gorilla, gws, nbio, centrifuge."`
	Rounds   int           `default:"1" help:"How often; the table shows the medians."`
	Viewers  int           `default:"1000" help:"Viewers of fanout and saturate."`
	Crowd    int           `default:"10000" help:"Viewers of idle, which also tells the connection rate."`
	Duration time.Duration `default:"5s" help:"Of fanout; saturate's steps take 3 s."`
	TLS      bool          `name:"tls" help:"All over TLS, with Lectern without it beside them. Peers without TLS of net/http stay away."`
	Compress bool          `help:"Only relays that compress, each without and with it, on payloads of lectures. Fanout only."`
	HTML     string        `name:"html" help:"Write one page with charts."`
}

func (c runCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all, err := c.relays()
	if err != nil {
		return err
	}
	var shown []*report.Result // the last round's fanout, for the charts
	for round := range max(c.Rounds, 1) {
		shown = nil
		for _, work := range c.works() {
			// Which relay goes first changes from round to round.
			for i := range all {
				p := &all[(i+round)%len(all)]
				fmt.Fprintf(os.Stderr, "\n== round %d: %s, %s\n", round+1, work.name, p.name)
				o, err := p.options(work.load)
				if err != nil {
					return err
				}
				res, err := engine.Run(ctx, work.scenario, o, os.Stderr)
				switch {
				case errors.Is(err, report.ErrInterrupted), res == nil:
					return err
				case err != nil:
					fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err) // a peer that breaks is a result
				}
				p.results = append(p.results, res)
				if work.scenario.Name() == "fanout" {
					shown = append(shown, res)
				}
			}
		}
	}
	rows := table(columnsOf(c), all)
	if err := writeTable(os.Stdout, rows); err != nil {
		return err
	}
	if c.HTML == "" {
		return nil
	}
	return report.Page{Title: "Lectern and its peers", Tables: [][][]string{rows}, Results: shown}.WriteFile(c.HTML)
}

// lectures are the payloads of --compress.
var lectures = []workload.Payload{workload.Command, workload.JSON, workload.SVG}

// A work is a load that all relays get.
type work struct {
	name     string
	scenario engine.Scenario
	load     workload.Options
}

func (c runCommand) works() (all []work) {
	if c.Compress {
		for _, payload := range lectures {
			load := workload.Options{Viewers: c.Viewers, Rate: 50, Payload: payload, Duration: c.Duration}
			if payload == workload.SVG {
				load.Rate = 5
			}
			all = append(all, work{"fanout of " + string(payload), scenario.Fanout{}, load})
		}
		return all
	}
	return []work{
		{"fanout", scenario.Fanout{}, workload.Options{Viewers: c.Viewers, Rate: 50, Size: 256, Duration: c.Duration}},
		{"idle", scenario.Idle{}, workload.Options{Viewers: c.Crowd, Duration: 10 * time.Second}},
		{"saturate", scenario.Saturate{}, workload.Options{Viewers: c.Viewers, Size: 128, Duration: 3 * time.Second}},
	}
}
