package hub

import "lectern/hub/budget"

// maxPressure bounds how far limits shrink: to a thousandth.
const maxPressure = 10

// Tend looks after what no single connection sees. It is to be called about once
// a second, by one goroutine. While more than the budget allows is used, the
// limits of single rooms and connections are halved with each call: so the viewers
// that are furthest behind, and the connections for which most waits, are closed
// first. They grow again when less is used.
func (h *Hub) Tend() {
	switch pressure := h.pressure.Load(); {
	case h.budget.Counted() >= budget.Over:
		h.pressure.Store(min(pressure+1, maxPressure))
	case pressure > 0 && h.budget.Counted() < budget.Full:
		h.pressure.Store(pressure - 1)
	}
	for _, s := range h.shards {
		if s.scans.Load() {
			s.Post(s.scan)
		}
	}
}

// shrunk returns what is left of a limit of a single room or connection.
func (h *Hub) shrunk(limit int) int { return limit >> h.pressure.Load() }

// holdsTooMuch reports whether more waits for the session than may while the
// budget is used up.
func (s *Session) holdsTooMuch() bool {
	h := s.shard.hub
	return h.pressure.Load() > 0 && s.out != nil && s.out.bytes > h.shrunk(h.Config().MaxPrivate)
}
