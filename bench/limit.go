package bench

import (
	"context"
	"fmt"
	"os"

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

func (Limit) name() string { return "limit" }

func (Limit) defaults() workload.Options { return Fanout{}.defaults() }

func (Limit) check(o workload.Options) error {
	switch {
	case o.Rooms != 1 || len(o.RoomNames) > 0:
		return workload.Refuse("limit has one room of its own")
	case o.Clock != workload.Monotonic:
		return workload.Refuse("limit runs on one machine: its clock is %q", workload.Monotonic)
	case o.Serve || o.PID != 0:
		return workload.Refuse("limit measures its own sender: no server takes part")
	}
	return nil
}

func (l Limit) run(ctx context.Context, r *runner) error {
	o := &r.options
	if o.ServerCommand = l.Sender; o.ServerCommand == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.ServerCommand = []string{self, "bench", "limit-sender", "{addr}"}
	}
	o.Serve, o.URL = true, "ws://127.0.0.1:1/"
	o.Template = workload.Template{Name: "limit", Publish: workload.PayloadMark, Verbatim: true}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	if err := r.gather(ctx, "connect", o.Viewers); err != nil {
		return err
	}
	_, err := r.measure(ctx, r.plan("limit"))
	return err
}
