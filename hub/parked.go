package hub

import "sync/atomic"

// Viewers that wait for a history are parked: they receive no broadcasts.

// A source is where a history comes from.
type source uint8

// The sources. A parked viewer waits for one of them.
const (
	fromHost source = iota
	fromRecord
	sources // number of sources
)

// park has a viewer wait for the answer to a request.
func (a *audience) park(s *Session, from source, request uint32) {
	s.set(flagParked)
	if a.parked[from] == nil {
		a.parked[from] = make(map[*Session]uint32)
	}
	a.parked[from][s] = request
}

// unpark calls f for each viewer that waits for this request or an older one,
// on the viewer's worker, and lets it continue. When all workers have finished,
// it calls done unless that is nil. It may be called from any goroutine.
func (all audiences) unpark(from source, request uint32, f func(*Session), done func()) {
	var left atomic.Int32
	left.Store(1)
	finish := func() {
		if left.Add(-1) == 0 && done != nil {
			done()
		}
	}
	for a := range all.each {
		left.Add(1)
		a.shard.Post(func() (more bool) {
			if more = a.unpark(from, request, f); !more {
				finish()
			}
			return more
		})
	}
	finish()
}

// unpark is audiences.unpark on one worker. It returns true if it has to be run
// again.
func (a *audience) unpark(from source, request uint32, f func(*Session)) (more bool) {
	for s, waits := range a.parked[from] {
		if waits > request {
			continue
		}
		delete(a.parked[from], s)
		s.clear(flagParked)
		f(s)
		s.conn.Flush()
		if a.shard.Spent() {
			return true
		}
	}
	if len(a.parked[from]) == 0 {
		a.parked[from] = nil
	}
	return false
}

// unparkOne has a viewer wait no longer.
func (a *audience) unparkOne(s *Session) {
	for from := range a.parked {
		delete(a.parked[from], s)
	}
	s.clear(flagParked)
}

// waitsForHistory reports whether some viewer waits for a history.
func (a *audience) waitsForHistory() bool {
	return len(a.parked[fromHost])+len(a.parked[fromRecord]) > 0
}
