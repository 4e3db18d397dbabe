package hub

import "lectern/hub/budget"

// maxPressure is the largest number of times that limits are halved, to a
// thousandth.
const maxPressure = 10

// Tend adjusts limits to the memory in use, scans viewers that are behind, and frees
// compressors that nobody needs.
// One goroutine must call it about once a second. While more memory is used
// than the budget allows, each call halves the limits of single rooms and
// connections, so that the viewers furthest behind and the connections with the
// longest queues are closed first. The limits grow again when less memory is
// used.
func (h *Hub) Tend() {
	switch pressure := h.pressure.Load(); {
	case h.budget.Counted() >= budget.Over:
		h.pressure.Store(min(pressure+1, maxPressure))
	case pressure > 0 && h.budget.Counted() < budget.Full:
		h.pressure.Store(pressure - 1)
	}
	h.compressors.freeIdle()
	for _, s := range h.shards {
		if s.scans.Load() {
			s.Post(s.scan)
		}
		s.tendStanding()
	}
}

// shrunk returns the current value of a limit of a single room or connection.
func (h *Hub) shrunk(limit int) int { return limit >> h.pressure.Load() }

// holdsTooMuch reports whether the session's queue is over its limit while the
// budget is used up.
func (s *Session) holdsTooMuch() bool {
	h := s.shard.hub
	return h.pressure.Load() > 0 && s.out != nil && s.out.bytes > h.shrunk(h.Config().MaxPrivate)
}
