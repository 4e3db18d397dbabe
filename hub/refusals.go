package hub

import (
	"net/netip"
	"slices"
	"sync"
)

// maxSources bounds how many addresses are counted for one cause between two
// calls of TakeRefusals.
const maxSources = 1024

// refusals counts refusals by cause: for the metrics since the hub was created,
// for the log since TakeRefusals. The zero value is ready to use. Methods may
// be called from any goroutine.
type refusals struct {
	mu     sync.Mutex
	causes map[string]*refusal // guarded by mu
}

// A refusal counts the refusals of one cause.
type refusal struct {
	total   uint64                  // since the hub was created
	recent  uint64                  // since TakeRefusals
	sources map[netip.Addr]struct{} // addresses since TakeRefusals, at most maxSources
}

// A RefusalReport is what was refused for one cause since the previous report.
type RefusalReport struct {
	Cause string
	Count uint64
	From  []netip.Addr // some of the addresses, in order, at most maxReported
	More  int          // how many other addresses there were; at most maxSources are counted
}

// maxReported is how many addresses a report names.
const maxReported = 3

// Refused counts a refusal. Causes must be a fixed set of words because they
// are labels of a metric. An invalid address is not recorded.
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

// Causes returns the causes of refusals that are not errors of a message, so
// that each can have a counter from the start.
func Causes() []string {
	return []string{
		"handshakes_full", "handshake_timeout", "memory", "origin", "connections_per_address", "rooms_per_address",
		"http_full", "http_address", "http_busy", "descriptors", "misdirected", "wrong_api_key", "too_many_keys",
		"tls_plain", "tls_not", "tls_hello", "tls_displaced", "tls_memory", "tls_handshake",
	}
}

// Refusals returns the number of refusals since the hub was created, by cause:
// all of Causes and RefusalCodes, and any others that occurred.
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

// TakeRefusals returns what was refused since it was last called: a report for
// each cause, in the order of the causes' names.
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
