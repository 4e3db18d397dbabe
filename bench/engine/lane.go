package engine

import (
	"sync/atomic"

	"lectern/bench/clock"
	"lectern/bench/report"
	"lectern/bench/wire"
	"lectern/netpoll"
)

// What a lane counts for the coordinator, which reads it at any time.
const (
	countJoined     = iota // viewers that are in a room
	countFailed            // viewers whose connection failed before they joined
	countLost              // viewers whose connection ended after they joined
	countDeparted          // viewers that left on purpose
	countAnchored          // viewers that have seen a first message and are still there
	countFenced            // viewers that have reached the phase's end
	countGone              // viewers of the phase that ended before they reached it
	countDropped           // times that a viewer dropped that is to come back
	countReturned          // times that a viewer was back
	countUnreturned        // times that a viewer did not come back
	countAlive             // viewers that came late and have got a live message
	counts
)

// A lane is what one worker counts: its viewers and everything about them. It
// belongs to the worker.
type lane struct {
	worker *netpoll.Worker // immutable
	clock  *clock.Clock    // immutable

	viewers  []*viewer           // owned by the lane
	joins    report.Distribution // owned by the lane; from connecting to joined
	latency  report.Series       // owned by the lane; microseconds from due to arrived
	faults   report.FaultLog     // owned by the lane
	total    uint64              // owned by the lane; measured deliveries of the phase
	received uint64              // owned by the lane; bytes that came to viewers of the phase
	early    uint64              // owned by the lane; deliveries that came before they were due
	ends     uint64              // owned by the lane; deliveries of what ends the phase
	first    int64               // owned by the lane; when the first message of another process was due
	phase    uint32              // owned by the lane; counts the phases
	others   uint64              // owned by the lane; frames of the server that are no messages

	inflater wire.Inflater // owned by the lane

	resumed report.Resumed // owned by the lane; what came of coming back
	arrived report.Arrived // owned by the lane; what came of coming late
	frames  []*sharedFrame // owned by the lane; what viewers get that wait for a history, latest last
	checked []checked      // owned by the lane; histories that were looked at, latest last

	delivered atomic.Uint64        // total, as of the last chunk
	counts    [counts]atomic.Int64 // by what they count
	lastBack  atomic.Int64         // when the last viewer was back, nanoseconds of the run's clock
}

func (l *lane) add(what int, n int64) { l.counts[what].Add(n) }

// do runs f with the lane to itself and waits for it. It must not be called once the
// reactor is closed.
func (l *lane) do(f func()) {
	done := make(chan struct{})
	l.worker.Post(func() bool {
		f()
		close(done)
		return false
	})
	<-done
}

// lanes are all lanes of a run.
type lanes []*lane

func (ls lanes) do(f func(*lane)) {
	for _, l := range ls {
		l.do(func() { f(l) })
	}
}

// each runs f for every viewer, on its lane.
func (ls lanes) each(f func(*lane, *viewer)) {
	ls.do(func(l *lane) {
		for _, v := range l.viewers {
			f(l, v)
		}
	})
}

// count adds up what the lanes count.
func (ls lanes) count(what ...int) (n int) {
	for _, l := range ls {
		for _, w := range what {
			n += int(l.counts[w].Load())
		}
	}
	return n
}

func (ls lanes) delivered() (n uint64) {
	for _, l := range ls {
		n += l.delivered.Load()
	}
	return n
}

// present returns how many viewers are in a room.
func (ls lanes) present() int { return ls.count(countJoined) - ls.count(countLost, countDeparted) }

// silent returns how many viewers are in a room and have not got a message yet.
func (ls lanes) silent() int { return ls.present() - ls.count(countAnchored) }

// settled returns how many viewers have reached the end of the phase, or ended
// on the way.
func (ls lanes) settled() int { return ls.count(countFenced, countGone) }

// back returns how often a viewer was back, or will not be any more.
func (ls lanes) back() int { return ls.count(countReturned, countUnreturned) }

// lastBack returns when the last viewer was back.
func (ls lanes) lastBack() (at int64) {
	for _, l := range ls {
		at = max(at, l.lastBack.Load())
	}
	return at
}
