package bench

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// A Stage is how far a connection had come.
type Stage string

// The stages in their order.
const (
	StageConnect   Stage = "connect"   // TCP, or TLS
	StageHandshake Stage = "handshake" // the HTTP upgrade
	StageJoin      Stage = "join"      // the first message and its answer
	StageHistory   Stage = "history"   // joined, but the history has not arrived
	StageFirst     Stage = "first"     // joined, but nothing published has arrived
	StageLive      Stage = "live"      // receiving
	StagePublish   Stage = "publish"   // a host, sending
)

var stageOrder = []Stage{StageConnect, StageHandshake, StageJoin, StageHistory, StageFirst, StageLive, StagePublish}

// Who something happened to.
const (
	whoViewer   = "viewer"
	whoHost     = "host"
	whoStalled  = "stalled"  // a viewer who had stopped reading
	whoResuming = "resuming" // a viewer who had dropped and came back
)

// A Fault is something that happened to connections.
type Fault struct {
	Who     string `json:"who"` // one of the above
	Stage   Stage  `json:"stage"`
	Reason  string `json:"reason"`
	Count   int    `json:"count"`             // connections, or messages of the server
	Example string `json:"example,omitempty"` // what the first of them said
}

// maxReasons bounds the kinds of faults that are told apart; the rest counts
// as "other".
const maxReasons = 64

// A faultLog counts faults by what they were.
type faultLog struct {
	faults []Fault
}

func (l *faultLog) note(who string, stage Stage, reason, example string) {
	l.merge(Fault{who, stage, reason, 1, example})
}

func (l *faultLog) merge(f Fault) {
	same := func(g Fault) bool { return g.Who == f.Who && g.Stage == f.Stage && g.Reason == f.Reason }
	i := slices.IndexFunc(l.faults, same)
	if i < 0 && len(l.faults) >= maxReasons {
		f.Reason = "other"
		i = slices.IndexFunc(l.faults, same)
	}
	if i < 0 {
		l.faults = append(l.faults, f)
		return
	}
	l.faults[i].Count += f.Count
	l.faults[i].Example = cmp.Or(l.faults[i].Example, f.Example)
}

func (l *faultLog) mergeAll(faults []Fault) {
	for _, f := range faults {
		l.merge(f)
	}
}

// sorted returns the faults in the order of their stages, most first.
func (l *faultLog) sorted() []Fault {
	out := slices.Clone(l.faults)
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(slices.Index(stageOrder, a.Stage), slices.Index(stageOrder, b.Stage)),
			cmp.Compare(b.Count, a.Count))
	})
	return out
}

// explain turns an error into one of few reasons, so that they can be counted.
func explain(err error) (reason, example string) {
	var status statusError
	var errno syscall.Errno
	var resolve *net.DNSError
	switch {
	case errors.As(err, &status):
		return status.Error(), ""
	case errors.Is(err, errGarbage):
		return errGarbage.Error(), err.Error()
	case errors.Is(err, io.EOF):
		return "closed without a word", ""
	case errors.As(err, &resolve):
		return "name not found", err.Error()
	case errors.As(err, &errno):
		return errno.Error(), ""
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time", ""
	case errors.Is(err, net.ErrClosed):
		return "closed by the bench", ""
	default:
		return "error", err.Error()
	}
}
