package hub

import (
	"math"
	"time"
)

// What becomes of viewers who do not keep up.

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
// broadcast and tells it how many it has missed.
func (s *Session) tooSlow() {
	if !s.room.options.skips {
		s.end(ReasonTooSlow)
		return
	}
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
