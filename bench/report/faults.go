package report

import (
	"cmp"
	"slices"
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

// What something happened to.
const (
	WhoViewer   = "viewer"
	WhoHost     = "host"
	WhoStalled  = "stalled"  // a viewer that had stopped reading
	WhoResuming = "resuming" // a viewer that had dropped and came back
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

// A FaultLog counts faults by what they were.
type FaultLog struct {
	Faults []Fault
}

// Note counts one more fault.
func (l *FaultLog) Note(who string, stage Stage, reason, example string) {
	l.Merge(Fault{who, stage, reason, 1, example})
}

// Merge adds a fault's count to the same fault's, and keeps the first example.
func (l *FaultLog) Merge(f Fault) {
	same := func(g Fault) bool { return g.Who == f.Who && g.Stage == f.Stage && g.Reason == f.Reason }
	i := slices.IndexFunc(l.Faults, same)
	if i < 0 && len(l.Faults) >= maxReasons {
		f.Reason = "other"
		i = slices.IndexFunc(l.Faults, same)
	}
	if i < 0 {
		l.Faults = append(l.Faults, f)
		return
	}
	l.Faults[i].Count += f.Count
	l.Faults[i].Example = cmp.Or(l.Faults[i].Example, f.Example)
}

// MergeAll is Merge for each.
func (l *FaultLog) MergeAll(faults []Fault) {
	for _, f := range faults {
		l.Merge(f)
	}
}

// Sorted returns the faults in the order of their stages, most first.
func (l *FaultLog) Sorted() []Fault {
	out := slices.Clone(l.Faults)
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(slices.Index(stageOrder, a.Stage), slices.Index(stageOrder, b.Stage)),
			cmp.Compare(b.Count, a.Count))
	})
	return out
}
