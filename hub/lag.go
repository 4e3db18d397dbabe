package hub

import (
	"math"
	"time"
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
// host is spared: as long as it speaks its room goes on, whether it listens or
// not.
func (s *Session) stalls(limit time.Duration) bool {
	return s.has(markBlocked) && !s.has(markHost) && s.past(s.took, limit)
}

// lags reports whether the session is too far behind the live stream.
func (s *Session) lags() bool {
	if s.room == nil || s.has(markHost|markParked) {
		return false
	}
	return s.behind() > s.lagLimit()*(1+uint64(s.excused))
}

// behind returns how many bytes of its room's Log the session has not had.
func (s *Session) behind() uint64 {
	end := s.log().End()
	return end.Position() - s.cursor.Position()
}

func (s *Session) lagLimit() uint64 { return uint64(s.shard.hub.Config().LagLimit) }

// excuse lets the session be behind by what was kept from it, until it has
// caught up. It is not excused twice, or it could hold on to the Log for ever.
func (s *Session) excuse() {
	if s.excused == 0 {
		s.excused = uint8(min(math.MaxUint8, (s.behind()+s.lagLimit()-1)/s.lagLimit()))
	}
}

// tooSlow closes a viewer that is too far behind, or moves it to the newest
// broadcast and tells it how many it has missed. Who takes nothing for as long
// again after that shows no sign of life, and is closed for it.
func (s *Session) tooSlow(why Cause) {
	count := &s.shard.counters.slow[why]
	if s.room == nil || !s.room.options.skips {
		count.closed.Add(1)
		s.end(ReasonTooSlow)
		return
	}
	s.took = s.shard.Now()
	if s.has(markParked) || s.behind() == 0 {
		return
	}
	count.skipped.Add(1)
	half := s.cursor.Rest()
	s.cursor.Advance(len(half)) // the frame that it is in the middle of still comes
	last, end := s.cursor.Seq(), s.log().End()
	s.cursor = end
	s.shard.counters.skipped.Add(end.Seq() - last)
	s.pushText(skipped(end.Seq()-last, end.Seq()), end.Position())
	if half != nil {
		s.out.pushRest(half)
	}
}
