// Package refusals counts what the relay refuses, by cause and by address.
package refusals

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
)

// maxSources bounds how many addresses are counted for one cause between two
// calls of Take.
const maxSources = 1024

// A Counter counts refusals by cause: for metrics since it was created, for the
// log since Take. The zero value is ready to use. Methods may be called from any
// goroutine.
type Counter struct {
	mu     sync.Mutex
	causes map[string]*refusal // guarded by mu
}

// A refusal counts the refusals of one cause.
type refusal struct {
	total   uint64                  // since the Counter was created
	recent  uint64                  // since Take
	sources map[netip.Addr]struct{} // addresses since Take, at most maxSources
}

// A Report is what was refused for one cause since the previous report.
type Report struct {
	Cause string
	Count uint64
	From  []netip.Addr // some of the addresses, in order, at most maxReported
	More  int          // how many other addresses there were; at most maxSources are counted
}

// maxReported is how many addresses a report names.
const maxReported = 3

// Add counts a refusal. Causes must be a fixed set of words because they
// are labels of a metric. An invalid address is not recorded.
func (r *Counter) Add(cause string, from netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.causes[cause]
	if c == nil {
		if r.causes == nil {
			r.causes = make(map[string]*refusal)
		}
		c = new(refusal)
		r.causes[cause] = c
	}
	c.total++
	c.recent++
	if !from.IsValid() || len(c.sources) >= maxSources {
		return
	}
	if c.sources == nil {
		c.sources = make(map[netip.Addr]struct{})
	}
	c.sources[from] = struct{}{}
}

// Totals returns the number of refusals since the Counter was created, by cause:
// all of the given causes, and any others that occurred.
func (r *Counter) Totals(causes ...string) map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	totals := make(map[string]uint64, len(r.causes))
	for _, cause := range causes {
		totals[cause] = 0
	}
	for cause, c := range r.causes {
		totals[cause] = c.total
	}
	return totals
}

// Take returns what was refused since it was last called: a report for
// each cause, in the order of the causes' names.
func (r *Counter) Take() []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reports []Report
	for cause, c := range r.causes {
		if c.recent == 0 {
			continue
		}
		report := Report{Cause: cause, Count: c.recent}
		for from := range c.sources {
			report.From = append(report.From, from)
		}
		slices.SortFunc(report.From, netip.Addr.Compare)
		if more := len(report.From) - maxReported; more > 0 {
			report.From, report.More = report.From[:maxReported:maxReported], more
		}
		reports = append(reports, report)
		c.recent, c.sources = 0, nil
	}
	slices.SortFunc(reports, func(a, b Report) int { return cmp.Compare(a.Cause, b.Cause) })
	return reports
}
