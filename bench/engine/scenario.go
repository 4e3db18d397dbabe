// Package engine carries out the load tests of `lectern bench`: it opens rooms
// and viewers on a WebSocket relay, publishes at a fixed rate and measures how late
// each delivery was, what was missing and what it cost the server. A [Scenario] says
// what is done in which order.
//
// It knows nothing of the relay but the wire. The messages that open, join and
// publish are templates, so it measures any server that relays one connection's
// messages to many. It does not measure echo, requests or HTTP.
//
// # Truth
//
// The load is an open loop: message k is due at start + k/rate whatever the
// server does, and its latency counts from that moment. So a server that stops
// for a second shows a second in the tail. Every message carries a [stamp.Stamp]
// with its number, the time it was due and a checksum. The engine checks every
// viewer's stream for missing, repeated, reordered and damaged messages.
//
// In a [Classroom], viewers must find their place in the stream again. There the
// numbers of the classroom protocol are checked, too: those in joined, in each
// message and in a history must agree with the stamps. A loss that the server
// announces is not a gap.
//
// # How it stays out of the way
//
// Viewers live on the reactor of package netpoll, one recv for each readable
// event. A room keeps the frames that its viewers should see next, so that
// checking a delivery is one comparison of memory. Only a frame that differs is
// parsed. Each worker counts into a [lane] of its own.
package engine

import (
	"context"
	"time"

	"lectern/bench/clock"
	"lectern/bench/workload"
)

// A Scenario is one kind of load.
type Scenario interface {
	Name() string
	// Defaults returns what the scenario takes for options that are not given.
	Defaults() workload.Options
	// Prepare checks the options and says what the run needs. It may change the
	// options for the run; the result shows them as they were given.
	Prepare(*workload.Options) (Setup, error)
	// Run makes the load. The rooms are open when it begins.
	Run(context.Context, *Runner) error
}

// A Setup is what a run needs besides its options. The zero value of each field
// means the default that is named.
type Setup struct {
	Viewers     int          // that are there at a time at most; default Options.Viewers
	Connections int          // that the viewers make in all; default Viewers
	Classroom   *Classroom   // how rooms are opened and joined; default: as the template says
	Breaks      bool         // the load breaks connections on purpose: that alone is no problem
	Clock       *clock.Clock // default: a clock of the kind that the options name
	Peers       Peers        // other machines of the run; default: none
}

// A Classroom has the rooms opened and joined so that the numbers and histories
// of the classroom protocol can be checked.
type Classroom struct {
	History  string  // what keeps it: relay or host
	Numbered float64 // share of the viewers that ask for numbered messages
	Late     bool    // viewers join with the history
}

// Peers are the other machines of a run. One machine leads: it opens the rooms
// and publishes. The others join its rooms, which their options name.
type Peers interface {
	// Meet waits until all machines have reached a place of the run, and returns
	// the order that lead wrote on the machine that leads.
	Meet(ctx context.Context, place string, lead func(*Order)) (Order, error)
}

// An Order is what the machine that leads sends to the others at a place.
type Order struct {
	Start int64       `json:"start,omitempty"` // when the first message is due, nanoseconds of the run's clock
	Spans [][2]uint32 `json:"spans,omitempty"` // measured messages of each room, from included, to not
}

// A Plan is a phase that is to come.
type Plan struct {
	Name     string
	Rate     float64 // messages a second in each room
	Duration time.Duration
	Drain    time.Duration // how long to wait for late messages

	// Meanwhile is what viewers do in the phase besides reading: [Runner.Ramp],
	// [Runner.Arrive] or [Drops.Run]. The hosts go on, if need be beyond the duration,
	// until it returns. Default: the viewers only read.
	Meanwhile func(context.Context, Plan) error

	warm bool // checked, but not measured
}
