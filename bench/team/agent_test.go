package team

import (
	"net"
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
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	leader := clock.New(workload.Monotonic)
	leader.Shift(int64(time.Hour))
	go (&agent{link: newLink(a), reached: make(chan string)}).listen(leader)
	m := &member{link: newLink(b)}
	if err := m.matchClock(); err != nil {
		t.Fatal(err)
	}
	if off := time.Duration(m.clock.Now() - leader.Now()); off > m.within+time.Millisecond || off < -m.within-time.Millisecond {
		t.Errorf("the clock is off by %v, and claims to be right to %v", off, m.within)
	}
}
