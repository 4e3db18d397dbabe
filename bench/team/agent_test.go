package team

import (
	"io"
	"net"
	"net/rpc/jsonrpc"
	"sync"
	"testing"
	"time"

	"lectern/bench/clock"
	"lectern/bench/workload"
)

// TestAgentTakesNoCommand has the options that an agent takes leave out all that
// would start a process or read one.
func TestAgentTakesNoCommand(t *testing.T) {
	o := forAgent(workload.Options{Serve: true, ServerCommand: []string{"sh"}, PID: 1, CreateKey: "secret", Sources: []string{"::1"}, Agents: []string{"x"}, Token: "a token of this test only"})
	if o.Serve || o.ServerCommand != nil || o.PID != 0 || o.CreateKey != "" || o.Sources != nil || o.Agents != nil || o.Token != "" {
		t.Errorf("%+v", o)
	}
}

// TestClockOfAgent has an agent know the leader's time, whatever its own is.
func TestClockOfAgent(t *testing.T) {
	mine, theirs := net.Pipe()
	defer theirs.Close()
	go Agent{}.serve(t.Context(), theirs, new(sync.Mutex), io.Discard)
	leader, a := clock.New(workload.Monotonic), &agent{client: jsonrpc.NewClient(mine)}
	defer a.client.Close()
	leader.Shift(int64(time.Hour))
	shift, err := a.matchClock(t.Context(), leader)
	if err != nil {
		t.Fatal(err)
	}
	var now int64
	if err := a.call(t.Context(), "Time", true, &now); err != nil {
		t.Fatal(err)
	}
	if off := leader.Now() - now - shift; off < 0 || off > int64(a.within)+int64(10*time.Millisecond) {
		t.Errorf("the clock is off by %v, and claims to be right to %v", time.Duration(off), a.within)
	}
}
