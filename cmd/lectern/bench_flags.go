package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// benchFlags are common to all scenarios. A zero value means the scenario's own
// default.
type benchFlags struct {
	URL      string         `placeholder:"URL" help:"Server, ws:// or wss://; {room} in it stands for the room. Default ws://127.0.0.1:8765/."`
	Viewers  *int           `placeholder:"N" help:"Viewers, all rooms together."`
	Rooms    *int           `placeholder:"N" help:"Rooms, each with a host of its own. Default 1."`
	Rate     *float64       `placeholder:"N" help:"Messages a second in each room."`
	Size     *int           `placeholder:"BYTES" help:"Bytes of a message as its host sends it, envelope included."`
	Payload  string         `default:"random" enum:"random,command,json,svg" help:"What messages are filled up with (${enum}). All but random compress as in lectures, and are 66 B, 2 KB and 40 KB by default."`
	Duration *time.Duration `placeholder:"TIME" help:"Length of the measured part, or of one step."`
	Warmup   time.Duration  `default:"1s" help:"Time to publish before measuring; negative for none. These messages are checked, too."`

	MaxP99     time.Duration `name:"max-p99" placeholder:"TIME" group:"Thresholds" help:"Limit of the 99th percentile of the latency in each measured phase; for storm, of the time to join. Beyond a threshold the exit status is 99."`
	MaxMissing *uint64       `placeholder:"N" group:"Thresholds" help:"How many messages may be missing in each measured phase; beyond it the exit status is 99. Without it none may, and the exit status is 1."`

	PID           int    `name:"pid" placeholder:"PID" help:"Process to read CPU and memory of."`
	Serve         bool   `help:"Start the server for this run, and end it afterwards."`
	TLS           bool   `name:"tls" help:"With --serve: over TLS, with a certificate that is made for the run."`
	ServerCommand string `placeholder:"COMMAND" help:"Command that --serve runs, split at spaces; {addr} stands for host:port, {cert} and {key} for the files of --tls. Default: this program's serve."`

	Label string `placeholder:"NAME" help:"Name of what is measured, for comparisons."`
	JSON  string `name:"json" placeholder:"FILE" help:"Write the whole result, histograms included, for compare and merge."`
	HTML  string `name:"html" placeholder:"FILE" help:"Write a page with charts that opens without a network."`

	Transport string `default:"ws" enum:"ws,sse,poll" help:"How viewers are connected: by WebSocket, with event streams, or by long-polling (${enum}). Hosts always use a WebSocket."`
	Compress  bool   `help:"Have viewers offer permessage-deflate. A server that does not agree to compress each message by itself is an error."`

	ConnectRate   float64       `placeholder:"N" help:"New connections a second. Default: as fast as the server takes them."`
	Window        int           `default:"1000" help:"Most connections that may be on their way to joining at once."`
	Source        []string      `placeholder:"ADDRESS" help:"Local addresses to connect from, in turns."`
	StartAt       string        `placeholder:"TIME" help:"Time to begin publishing, as 2006-01-02T15:04:05Z, for benches that you start by hand on several machines. See --agents for the other way."`
	Timeout       time.Duration `default:"10s" help:"Time limit of each stage of a connection."`
	Drain         time.Duration `default:"10s" help:"How long to wait for late messages at the end."`
	Room          []string      `placeholder:"CODE,..." help:"Join this room, which another bench opened, and publish nothing."`
	Clock         string        `default:"monotonic" enum:"monotonic,wall" help:"Clock for latencies: monotonic on one machine, wall for benches that you start by hand on several (${enum})."`
	CreateKeyFile string        `name:"create-key-file" placeholder:"FILE" help:"File that holds the relay's create key. The key may also be in the variable LECTERN_CREATE_KEY. There is no flag for the key itself, and no report shows it."`

	Header   []string `sep:"none" placeholder:"LINE" help:"Header line \"Name: value\" to add to the handshake."`
	Insecure bool     `help:"wss: do not check the certificate."`
	CA       string   `name:"ca" placeholder:"FILE" help:"wss: certificates in PEM to trust, instead of the system's."`

	templateFlags `group:"What is said to the server"`
}

// templateFlags replace parts of the preset. An empty text removes the part.
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
		Template: t, RoomNames: f.Room, Transport: workload.Transport(f.Transport), Compress: f.Compress, Payload: workload.Payload(f.Payload), Clock: workload.Clock(f.Clock), ConnectRate: f.ConnectRate, Window: f.Window, Sources: f.Source,
		Timeout: f.Timeout, Drain: f.Drain, Headers: f.Header, Insecure: f.Insecure, PID: f.PID, Serve: f.Serve, TLS: f.TLS,
		Thresholds:    workload.Thresholds{MaxP99: f.MaxP99, MaxMissing: f.MaxMissing},
		ServerCommand: strings.Fields(f.ServerCommand),
	}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return o, fmt.Errorf("%w: %w", workload.ErrOptions, err)
		}
		o.CA = string(text)
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

// createKey returns the key that a relay wants before it opens a room: from
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

// run runs a scenario on this machine.
func (f benchFlags) run(s engine.Scenario) error {
	return f.report(func(ctx context.Context, o workload.Options) (*report.Result, error) {
		return engine.Run(ctx, s, o, os.Stderr)
	})
}

// report writes what came of a run, whatever that is.
func (f benchFlags) report(run func(context.Context, workload.Options) (*report.Result, error)) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	result, err := run(ctx, o)
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
