package hub

import (
	"net/netip"
	"slices"
	"sync"
)

// maxSources bounds how many addresses are told apart for one cause until the
// refusals are next taken.
const maxSources = 1024

// refusals counts what the relay refuses, by cause: for the metrics since its
// start, and for the log since it last looked. Its zero value is ready. Its
// methods may be called from anywhere.
type refusals struct {
	mu     sync.Mutex
	causes map[string]*refusal // guarded by mu
}

// A refusal is what is known of one cause.
type refusal struct {
	total   uint64                  // since the start
	recent  uint64                  // since the last look
	sources map[netip.Addr]struct{} // at most maxSources, since the last look
}

// A RefusalReport is what was refused for one cause since the last report.
type RefusalReport struct {
	Cause string
	Count uint64
	From  []netip.Addr // some of the addresses that it came from, in order
	More  int          // how many other addresses there were; at most maxSources are told apart
}

// maxReported is how many addresses a report names.
const maxReported = 3

// Refused counts one refusal. Causes are a fixed set of words, as they are the
// labels of a metric. An address that is not valid is not noted.
func (h *Hub) Refused(cause string, from netip.Addr) {
	r := &h.refusals
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

// Causes returns the causes of refusals that are no errors of a message, so that
// each can have its count from the start.
func Causes() []string {
	return []string{
		"handshakes_full", "handshake_timeout", "memory", "origin", "connections_per_address", "rooms_per_address",
		"http_full", "http_address", "http_busy", "descriptors", "misdirected", "wrong_api_key", "too_many_keys",
	}
}

// Refusals returns how many refusals there were since the start, by cause: all
// of Causes and RefusalCodes, and others that there were.
func (h *Hub) Refusals() map[string]uint64 {
	r := &h.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	totals := make(map[string]uint64, len(r.causes))
	for _, cause := range append(Causes(), RefusalCodes()...) {
		totals[cause] = 0
	}
	for cause, c := range r.causes {
		totals[cause] = c.total
	}
	return totals
}

// TakeRefusals returns what was refused since it was last called, a report for
// each cause in the order of their names.
func (h *Hub) TakeRefusals() []RefusalReport {
	r := &h.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	var reports []RefusalReport
	for cause, c := range r.causes {
		if c.recent == 0 {
			continue
		}
		report := RefusalReport{Cause: cause, Count: c.recent}
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
	slices.SortFunc(reports, func(a, b RefusalReport) int {
		if a.Cause < b.Cause {
			return -1
		}
		return 1
	})
	return reports
}
