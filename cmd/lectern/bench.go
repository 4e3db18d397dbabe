package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"lectern/bench"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// benchCommand is `lectern bench`: one subcommand for each scenario, and two
// for the files that they write.
type benchCommand struct {
	Fanout   fanoutCommand   `cmd:"" help:"Publish at a fixed rate to viewers who all read (default 1,000 viewers, 50 a second, 256 B, 10 s)."`
	Saturate saturateCommand `cmd:"" help:"Raise the load step by step until a limit breaks (default from 250 a second, 1,000 viewers, 128 B, steps of 3 s)."`
	Storm    stormCommand    `cmd:"" help:"Connect and join as fast as the server takes it (default 10,000 viewers)."`
	Idle     idleCommand     `cmd:"" help:"Let viewers sit there, and read the server's memory (default 10,000 viewers, 15 s)."`
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

// benchFlags are common to all scenarios. What is zero is the scenario's own
// default.
type benchFlags struct {
	URL      string         `placeholder:"URL" help:"Server, ws:// or wss://; {room} in it stands for the room. Default ws://127.0.0.1:8765/."`
	Viewers  *int           `placeholder:"N" help:"Viewers, all rooms together."`
	Rooms    *int           `placeholder:"N" help:"Rooms, each with a host of its own. Default 1."`
	Rate     *float64       `placeholder:"N" help:"Messages a second in each room."`
	Size     *int           `placeholder:"BYTES" help:"Bytes of a message as its host sends it, envelope included."`
	Duration *time.Duration `placeholder:"TIME" help:"Of the measured part, or of one step."`
	Warmup   time.Duration  `default:"1s" help:"Published before, checked but not measured; negative for none."`

	MaxP99     time.Duration `name:"max-p99" placeholder:"TIME" group:"Thresholds" help:"Limit of the 99th percentile of the latency in each measured phase; for storm, of the time to join. Beyond a threshold the exit status is 99."`
	MaxMissing *uint64       `placeholder:"N" group:"Thresholds" help:"How many messages may be missing in each measured phase; beyond it the exit status is 99. Without it none may, and the exit status is 1."`

	PID           int    `name:"pid" placeholder:"PID" help:"Process to read CPU and memory of."`
	Serve         bool   `help:"Start the server, and end it afterwards."`
	ServerCommand string `placeholder:"COMMAND" help:"What --serve starts, words split at spaces; {addr} stands for host:port. Default: this program's serve."`

	Label string `placeholder:"NAME" help:"What is measured, for comparisons."`
	JSON  string `name:"json" placeholder:"FILE" help:"Write everything, histograms included."`
	HTML  string `name:"html" placeholder:"FILE" help:"Write one page with charts that needs no network."`

	ConnectRate   float64       `placeholder:"N" help:"New connections a second. Default: as fast as the server takes them."`
	Window        int           `default:"1000" help:"Connections on their way at once."`
	Source        []string      `placeholder:"ADDRESS" help:"Local addresses to connect from, in turns."`
	StartAt       string        `placeholder:"TIME" help:"When to begin to publish, as 2006-01-02T15:04:05Z, for benches on several machines."`
	Timeout       time.Duration `default:"10s" help:"Limit of each stage of a connection."`
	Drain         time.Duration `default:"10s" help:"How long to wait for late messages at the end."`
	Room          []string      `placeholder:"CODE,..." help:"Join this room, which another bench opened, and publish nothing."`
	Clock         string        `default:"monotonic" enum:"monotonic,wall" help:"What latencies count in: monotonic on one machine, wall when hosts and viewers are on several (${enum})."`
	CreateKeyFile string        `name:"create-key-file" placeholder:"FILE" help:"File that holds the relay's create key. The key may also be in the variable LECTERN_CREATE_KEY. No flag takes it, and no report shows it."`

	Header   []string `sep:"none" placeholder:"LINE" help:"\"Name: value\" for the handshake."`
	Insecure bool     `help:"wss: do not check the certificate."`

	templateFlags `group:"What is said to the server"`

	team struct {
		agents []string
		token  string
	} `kong:"-"`
}

// templateFlags replace parts of the preset. An empty text is given as none.
type templateFlags struct {
	Preset      string  `default:"classroom" help:"How to talk to the server: classroom, topic, pubsub-json or centrifuge."`
	Subprotocol *string `placeholder:"NAME" help:"Offered in the handshake."`
	Open        *string `placeholder:"TEXT" help:"The host's first message."`
	Opened      *string `placeholder:"REGEXP" help:"Its answer; the first group is the room."`
	Join        *string `placeholder:"TEXT" help:"A viewer's first message; {room} and {viewer} are filled in."`
	Joined      *string `placeholder:"TEXT" help:"A part of the answer that says yes."`
	Refused     *string `placeholder:"TEXT" help:"A part of an answer that says no."`
	Publish     *string `placeholder:"TEXT" help:"A host's message, with {payload} once."`
	Finish      *string `placeholder:"TEXT" help:"The host's last message."`
	Verbatim    *bool   `negatable:"" help:"Whether viewers get the very bytes that were published."`
}

// template returns the preset with what the flags replace.
func (f templateFlags) template() (workload.Template, error) {
	t, err := workload.Preset(f.Preset)
	if err != nil {
		return t, err
	}
	for _, part := range []struct {
		flag *string
		text *string
	}{
		{f.Subprotocol, &t.Subprotocol}, {f.Open, &t.Open}, {f.Opened, &t.Opened}, {f.Join, &t.Join}, {f.Joined, &t.Joined},
		{f.Refused, &t.Refused}, {f.Publish, &t.Publish}, {f.Finish, &t.Finish},
	} {
		if part.flag != nil {
			*part.text = *part.flag
		}
	}
	if f.Verbatim != nil {
		t.Verbatim = *f.Verbatim
	}
	return t, nil
}

func (f benchFlags) options() (workload.Options, error) {
	t, err := f.template()
	if err != nil {
		return workload.Options{}, err
	}
	o := workload.Options{
		Label: f.Label, URL: f.URL, Warmup: f.Warmup,
		Template: t, RoomNames: f.Room, Clock: workload.Clock(f.Clock), ConnectRate: f.ConnectRate, Window: f.Window, Sources: f.Source,
		Timeout: f.Timeout, Drain: f.Drain, Headers: f.Header, Insecure: f.Insecure, PID: f.PID, Serve: f.Serve,
		Agents: f.team.agents, Token: f.team.token,
		Thresholds:    workload.Thresholds{MaxP99: f.MaxP99, MaxMissing: f.MaxMissing},
		ServerCommand: strings.Fields(f.ServerCommand),
	}
	if o.CreateKey, err = f.createKey(); err != nil {
		return o, err
	}
	err = errors.Join(
		given(&o.Viewers, f.Viewers, "viewers"), given(&o.Rooms, f.Rooms, "rooms"), given(&o.Rate, f.Rate, "rate"),
		given(&o.Size, f.Size, "size"), given(&o.Duration, f.Duration, "duration"))
	if err != nil {
		return o, err
	}
	if f.StartAt != "" {
		if o.StartAt, err = time.Parse(time.RFC3339, f.StartAt); err != nil {
			return o, fmt.Errorf("%w: the start time: %w", workload.ErrOptions, err)
		}
	}
	return o, nil
}

// createKey returns the key that the relay asks of those who open rooms: from
// the file that is named, or from the variables that serve looks at. A server
// with another protocol has no use for what the environment says.
func (f benchFlags) createKey() (string, error) {
	file := f.CreateKeyFile
	if file == "" {
		if f.Preset != "classroom" {
			return "", nil
		}
		if key := os.Getenv("LECTERN_CREATE_KEY"); key != "" {
			return key, nil
		}
		if file = os.Getenv("LECTERN_CREATE_KEY_FILE"); file == "" {
			return "", nil
		}
	}
	return firstLine(file)
}

// firstLine reads a file that holds one secret line.
func firstLine(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", workload.ErrOptions, err)
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" || strings.Contains(line, "\n") {
		return "", fmt.Errorf("%w: %s must hold one line", workload.ErrOptions, file)
	}
	return line, nil
}

// given takes over a flag that was given. A zero is refused here: to the
// package it means the default.
func given[T comparable](option, flag *T, name string) error {
	var zero T
	if flag == nil {
		return nil
	}
	if *flag == zero {
		return fmt.Errorf("%w: --%s is %v", workload.ErrOptions, name, zero)
	}
	*option = *flag
	return nil
}

// run runs a scenario and writes what came of it, whatever that is.
func (f benchFlags) run(s bench.Scenario) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	result, err := bench.Run(ctx, s, o, os.Stderr)
	if result == nil {
		return err
	}
	return errors.Join(err, result.WriteText(os.Stdout), writeFiles(f.JSON, f.HTML, result))
}

// writeFiles writes the files that were asked for.
func writeFiles(json, html string, results ...*report.Result) error {
	var errs []error
	if json != "" {
		errs = append(errs, report.WriteFile(json, results[0]))
	}
	if html != "" {
		errs = append(errs, report.WritePage(html, results...))
	}
	return errors.Join(errs...)
}

type fanoutCommand struct {
	benchFlags
	Agents    []string `placeholder:"HOST:PORT,..." help:"Other machines that take a share of the viewers, where 'lectern bench agent' runs. This machine opens the rooms, publishes, and adds up the results. --viewers is for all together."`
	TokenFile string   `placeholder:"FILE" help:"File that holds the agents' token."`
	Stages    []string `placeholder:"TIME:N,..." help:"Change the number of viewers over time: 1m:1000,5m:5000,30s:0 has 1,000 come within a minute, 4,000 more within five, and all leave within 30 s. Instead of --viewers and --duration."`
}

func (c fanoutCommand) Run() error {
	stages, err := bench.ParseStages(c.Stages)
	if err != nil {
		return err
	}
	if len(c.Agents) > 0 {
		if c.team.token, err = firstLine(c.TokenFile); err != nil {
			return err
		}
		c.team.agents = c.Agents
	}
	return c.run(bench.Fanout{Stages: stages})
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
	return c.run(bench.Saturate{P99: c.P99, Factor: c.Factor, Refine: c.Refine, Viewers: c.RaiseViewers, MaxRate: c.MaxRate, MaxViewers: c.MaxViewers})
}

type stormCommand struct {
	benchFlags
	Again int `default:"0" help:"How often all drop and come back at once."`
}

func (c stormCommand) Run() error { return c.run(bench.Storm{Again: c.Again}) }

type idleCommand struct{ benchFlags }

func (c idleCommand) Run() error { return c.run(bench.Idle{}) }

type stallCommand struct {
	benchFlags
	Share float64 `default:"0.5" help:"Share of the viewers that stops reading."`
}

func (c stallCommand) Run() error { return c.run(bench.Stall{Share: c.Share}) }

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
	s := bench.Resume{Share: c.Share, Every: c.Every, Waves: c.Waves, Away: c.Away, Numbered: c.Numbered, History: c.History}
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
	return c.run(bench.Late{Messages: c.Messages, Over: c.Over, Numbered: c.Numbered, History: c.History})
}

type limitCommand struct{ benchFlags }

func (c limitCommand) Run() error { return c.run(bench.Limit{}) }

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
	return bench.Agent{Token: token, Sources: c.Source}.Serve(ctx, listener, os.Stderr)
}

type limitSenderCommand struct{}

func (limitSenderCommand) Run() error { return bench.SendLimit(os.Stdin, os.Stdout) }

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
