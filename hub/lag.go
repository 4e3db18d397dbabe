package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// What becomes of viewers who do not keep up.

// A Cause is why a viewer is too slow. Each has a count of its own, of those that
// were closed for it and of those that were moved on.
type Cause uint8

// The causes.
const (
	CauseLag     Cause = iota // too many bytes behind
	CauseStall                // took nothing of what was due for too long
	CauseHistory              // has not taken a history in time, and holds its memory
	causes                    // how many there are
)

// String returns the cause's name in the metrics.
func (c Cause) String() string { return [causes]string{"lag", "stall", "history"}[c] }

// Slow counts the viewers that were too slow for one cause.
type Slow struct{ Closed, Skipped uint64 }

// stalls reports whether the socket has not taken what was due for too long. A
// host is spared, as long as it speaks its room goes on: what may wait for it is
// bounded, and it is not read from while that is too much.
func (s *Session) stalls(limit time.Duration) bool {
	return s.has(flagBlocked) && !s.has(flagHost) && s.past(s.lastSent, limit)
}

// lags reports whether the session is too far behind the live stream, whatever it
// waits for.
func (s *Session) lags() bool { return !s.cursor.IsZero() && s.behind() > s.lagLimit() }

// behind returns how many bytes of its room's Log the session has not had. It
// must have a place in it.
func (s *Session) behind() uint64 {
	end := s.log().End()
	return end.Position() - s.cursor.Position()
}

// lagLimit returns how many bytes the session may be behind. With an allowance
// it is as many more as the room's record may have: so a room holds its lag limit
// and its record, whatever its viewers do.
func (s *Session) lagLimit() uint64 {
	c := s.shard.hub.Config()
	limit := s.shard.hub.shrunk(c.LagLimit)
	if s.lagAllowance {
		limit += c.recordLimit()
	}
	return uint64(limit)
}

// recordLimit is how many bytes a room's record has at most: what it retains and
// two segments, of which each may be a single broadcast.
func (c *Config) recordLimit() int { return c.Retain + 2*max(broadcast.MaxSegment, c.MaxHostMessage) }

// allowLag lets the session be behind by what was kept from it, until it has
// caught up.
func (s *Session) allowLag() { s.lagAllowance = s.behind() > 0 }

// stopWaiting ends a viewer's wait for a history before it is too far behind to
// go on.
func (s *Session) stopWaiting() {
	a := s.room.audience(s.shard)
	for from := range a.parked {
		delete(a.parked[from], s)
	}
	s.clear(flagParked)
	s.historyUnavailable(refused(HistoryOvertaken))
}

// tooSlow closes a viewer that is too far behind, or moves it to the newest
// broadcast and tells it how many it has missed. A viewer that still accepts
// nothing after another stall timeout is closed as idle.
func (s *Session) tooSlow(why Cause) {
	count := &s.shard.counters.slow[why]
	if s.room == nil || s.has(flagHost) || !s.room.options.skips {
		count.closed.Add(1)
		s.end(ReasonTooSlow)
		return
	}
	s.lastSent = s.shard.Now()
	if s.has(flagParked) || s.behind() == 0 {
		return
	}
	count.skipped.Add(1)
	partial := s.cursor.Rest()
	s.cursor.Advance(len(partial)) // the frame that it is in the middle of still comes
	last, end := s.cursor.Seq(), s.log().End()
	s.cursor = end
	s.shard.counters.skipped.Add(end.Seq() - last)
	s.tellAt(Skipped{Messages: end.Seq() - last, Seq: end.Seq()}, end.Position())
	if partial != nil {
		s.out.pushRest(partial)
	}
}
