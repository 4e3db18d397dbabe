package scenario

import (
	"context"
	"fmt"
	"os"

	"lectern/bench/engine"
	"lectern/bench/workload"
)

// Limit measures the kernel's share of a delivery. In place of a server it
// starts a process that passes each message on with one raw send to each
// socket, on all processors, and does nothing else. A server that sends each
// message by itself stays above it. A server that is behind and sends several
// messages at once may fall below.
type Limit struct {
	// Sender is the command of that process, {addr} in it stands for host:port;
	// default: this program's hidden command. It must call [SendLimit].
	Sender []string
}

// Name returns the scenario's name.
func (Limit) Name() string { return "limit" }

// Defaults returns the scenario's own defaults.
func (Limit) Defaults() workload.Options { return Fanout{}.Defaults() }

// Prepare checks the options, and has the run start the sender.
func (l Limit) Prepare(o *workload.Options) (setup engine.Setup, err error) {
	switch {
	case o.Rooms != 1 || len(o.RoomNames) > 0:
		return setup, workload.Refuse("limit has one room of its own")
	case o.Clock != workload.Monotonic:
		return setup, workload.Refuse("limit runs on one machine: its clock is %q", workload.Monotonic)
	case o.Serve || o.PID != 0:
		return setup, workload.Refuse("limit measures its own sender: no server takes part")
	}
	if o.ServerCommand = l.Sender; o.ServerCommand == nil {
		self, err := os.Executable()
		if err != nil {
			return setup, fmt.Errorf("find this program: %w", err)
		}
		o.ServerCommand = []string{self, "bench", "limit-sender", "{addr}"}
	}
	o.Serve, o.URL = true, "ws://127.0.0.1:1/"
	o.Template = workload.Template{Name: "limit", Publish: workload.PayloadMark, Verbatim: true}
	return setup, nil
}

// Run measures one phase.
func (Limit) Run(ctx context.Context, r *engine.Runner) error {
	if err := r.Gather(ctx, "connect", r.Options.Viewers); err != nil {
		return err
	}
	return measure(ctx, r, r.Plan("limit"))
}
