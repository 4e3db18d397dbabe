package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lectern/bench/report"
	"lectern/bench/scenario"
	"lectern/bench/team"
	"lectern/bench/workload"
)

// benchCommand is `lectern bench`: one subcommand for each scenario, and two
// for the files that they write.
type benchCommand struct {
	Fanout   fanoutCommand   `cmd:"" help:"Publish at a fixed rate to viewers who all read (default 1,000 viewers, 50 a second, 256 B, 10 s)."`
	Saturate saturateCommand `cmd:"" help:"Raise the load step by step until a limit breaks (default from 250 a second, 1,000 viewers, 128 B, steps of 3 s)."`
	Storm    stormCommand    `cmd:"" help:"Connect and join as fast as the server takes it (default 10,000 viewers)."`
	Idle     idleCommand     `cmd:"" help:"Keep viewers connected in silence, and read the server's memory (default 10,000 viewers, 15 s)."`
	Stall    stallCommand    `cmd:"" help:"Have a share of the viewers stop reading (default 2,000 viewers, 50 a second, 4096 B, 8 s)."`
	Resume   resumeCommand   `cmd:"" help:"Have viewers drop and come back to where they were, over and over (default 1,000 viewers, 50 a second, 256 B, 10 s)."`
	Late     lateCommand     `cmd:"" help:"Have all viewers join late, with the history, while the host goes on (default 1,000 viewers, 50 a second, 256 B, 5 s)."`
	Limit    limitCommand    `cmd:"" help:"No server: one raw send for each message and socket, on all processors. That is what a delivery costs the kernel; a server stays above it unless it sends several messages at once (defaults of fanout)."`
	Compare  compareCommand  `cmd:"" help:"Put results side by side, with ratios to the first."`
	Merge    mergeCommand    `cmd:"" help:"Add up the results of benches that ran at the same time."`

	Agent agentCommand `cmd:"" help:"Lend this machine to a bench on another, which names it with --agents."`

	LimitSender limitSenderCommand `cmd:"" hidden:"" help:"The child process of limit."`
}

// thresholdStatus is the exit status of a bench that crossed a threshold, the
// same as k6's.
const thresholdStatus = 99

// exitStatus returns the exit status of a command that failed.
func exitStatus(err error) int {
	if errors.Is(err, report.ErrThreshold) {
		return thresholdStatus
	}
	return 1
}

type fanoutCommand struct {
	benchFlags
	Agents    []string `placeholder:"HOST:PORT,..." help:"Other machines that take a share of the viewers, where 'lectern bench agent' runs. This machine opens the rooms, publishes, and adds up the results. --viewers is for all together."`
	TokenFile string   `placeholder:"FILE" help:"File that holds the agents' token."`
	Stages    []string `placeholder:"TIME:N,..." help:"Change the number of viewers over time: 1m:1000,5m:5000,30s:0 has 1,000 come within a minute, 4,000 more within five, and all leave within 30 s. Instead of --viewers and --duration."`
}

func (c fanoutCommand) Run() error {
	stages, err := scenario.ParseStages(c.Stages)
	if err != nil {
		return err
	}
	if (len(c.Agents) > 0) != (c.TokenFile != "") {
		return fmt.Errorf("%w: --agents and --token-file go together", workload.ErrOptions)
	}
	s := scenario.Fanout{Stages: stages}
	if len(c.Agents) == 0 {
		return c.run(s)
	}
	token, err := firstLine(c.TokenFile)
	if err != nil {
		return err
	}
	return c.report(func(ctx context.Context, o workload.Options) (*report.Result, error) {
		o.Agents, o.Token = c.Agents, token
		return team.Run(ctx, s, o, os.Stderr)
	})
}

type saturateCommand struct {
	benchFlags
	P99          time.Duration `name:"p99" default:"250ms" help:"Limit of the 99th percentile."`
	Factor       float64       `default:"2" help:"From one step to the next."`
	Refine       int           `default:"2" help:"Steps between the last that held and the first that broke; negative for none."`
	RaiseViewers bool          `help:"Raise the viewers, and not the rate."`
	MaxRate      float64       `placeholder:"N" help:"Where to stop."`
	MaxViewers   int           `placeholder:"N" help:"Where to stop."`
}

func (c saturateCommand) Run() error {
	return c.run(scenario.Saturate{P99: c.P99, Factor: c.Factor, Refine: c.Refine, Viewers: c.RaiseViewers, MaxRate: c.MaxRate, MaxViewers: c.MaxViewers})
}

type stormCommand struct {
	benchFlags
	Again int `default:"0" help:"How often all drop and come back at once."`
}

func (c stormCommand) Run() error { return c.run(scenario.Storm{Again: c.Again}) }

type idleCommand struct{ benchFlags }

func (c idleCommand) Run() error { return c.run(scenario.Idle{}) }

type stallCommand struct {
	benchFlags
	Share float64 `default:"0.5" help:"Share of the viewers that stops reading."`
}

func (c stallCommand) Run() error { return c.run(scenario.Stall{Share: c.Share}) }

// numberFlags say how rooms are opened and joined where numbers are looked at.
type numberFlags struct {
	Numbered float64 `default:"0.5" placeholder:"SHARE" help:"Share of the viewers that asks for numbered messages."`
	History  string  `default:"relay" enum:"relay,host" help:"Who keeps the rooms' history: ${enum}."`
}

type resumeCommand struct {
	benchFlags
	Share float64       `default:"0.1" help:"Share of the viewers that drops and comes back; 1 for everybody."`
	Every time.Duration `default:"1s" help:"Between two waves of drops."`
	Waves int           `placeholder:"N" help:"How many waves; 1 for one only. Default: until the duration is over."`
	Away  time.Duration `default:"100ms" help:"How long each stays away."`
	numberFlags
}

func (c resumeCommand) Run() error {
	s := scenario.Resume{Share: c.Share, Every: c.Every, Waves: c.Waves, Away: c.Away, Numbered: c.Numbered, History: c.History}
	if s.Away == 0 {
		s.Away = -1 // to the package zero means the default
	}
	return c.run(s)
}

type lateCommand struct {
	benchFlags
	Messages int           `default:"200" help:"What each host says before anybody joins."`
	Over     time.Duration `placeholder:"TIME" help:"In which all join. Default: as fast as the server takes them."`
	numberFlags
}

func (c lateCommand) Run() error {
	return c.run(scenario.Late{Messages: c.Messages, Over: c.Over, Numbered: c.Numbered, History: c.History})
}

type limitCommand struct{ benchFlags }

func (c limitCommand) Run() error { return c.run(scenario.Limit{}) }

// agentCommand has viewers for a bench on another machine.
type agentCommand struct {
	Listen    string   `required:"" placeholder:"ADDRESS" help:"Where the other machine connects, as :7777. The connection is encrypted."`
	TokenFile string   `required:"" placeholder:"FILE" help:"File that holds the token that both machines must have, at least 16 bytes, as 'openssl rand -hex 32' prints it. Whoever has it can have this machine connect to any server."`
	Source    []string `placeholder:"ADDRESS" help:"Local addresses to connect from, in turns."`
}

func (c agentCommand) Run() error {
	token, err := firstLine(c.TokenFile)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "agent listens at %s\n", listener.Addr())
	return team.Agent{Token: token, Sources: c.Source}.Serve(ctx, listener, os.Stderr)
}

type limitSenderCommand struct {
	Addr string `arg:"" help:"Where to listen."`
}

func (c limitSenderCommand) Run() error { return scenario.SendLimit(c.Addr) }

type compareCommand struct {
	Files []string `arg:"" type:"existingfile" help:"Files that --json wrote, the first is what the others are compared with."`
	HTML  string   `name:"html" placeholder:"FILE" help:"Write one page with charts of all."`

	MaxP99Ratio float64 `name:"max-p99-ratio" placeholder:"N" group:"Thresholds" help:"Limit of the ratio of each p99 to the first result's. Beyond it, and if a run had failed, the exit status is 99."`
	MaxCPURatio float64 `name:"max-cpu-ratio" placeholder:"N" group:"Thresholds" help:"The same for the server's CPU for each delivery; for storm, for each join."`
}

func (c compareCommand) Run() error {
	if len(c.Files) < 2 {
		return fmt.Errorf("%w: it takes two results to compare", workload.ErrOptions)
	}
	results, err := report.ReadFiles(c.Files)
	if err != nil {
		return err
	}
	return errors.Join(report.WriteComparison(os.Stdout, results...), writeFiles("", c.HTML, results...),
		report.Ratios{P99: c.MaxP99Ratio, CPU: c.MaxCPURatio}.Check(results...))
}

type mergeCommand struct {
	Files []string `arg:"" type:"existingfile" help:"Files that --json wrote."`
	JSON  string   `name:"json" placeholder:"FILE" help:"Write the sum."`
	HTML  string   `name:"html" placeholder:"FILE" help:"Write the sum as a page."`
}

func (c mergeCommand) Run() error {
	results, err := report.ReadFiles(c.Files)
	if err != nil {
		return err
	}
	sum, err := report.Merge(results...)
	if err != nil {
		return err
	}
	return errors.Join(sum.WriteText(os.Stdout), writeFiles(c.JSON, c.HTML, sum), sum.Failed())
}
