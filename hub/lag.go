package hub

import (
	"time"

	"lectern/hub/broadcast"
)

// This file is about viewers that do not keep up.

// A Cause is why a viewer is too slow. Metrics count the viewers that were
// closed and those that skipped broadcasts by cause.
type Cause uint8

// The causes.
const (
	CauseLag     Cause = iota // too many bytes behind the live stream
	CauseStall                // accepted no data for too long
	CauseHistory              // did not receive a history in time, and so held its memory
	causes                    // number of causes
)

// String returns the cause's name in the metrics.
func (c Cause) String() string { return [causes]string{"lag", "stall", "history"}[c] }

// Slow counts the viewers that were too slow for one cause.
type Slow struct{ Closed, Skipped uint64 }

// stalls reports whether the socket has accepted nothing for longer than limit.
// It is false for a host, whose room goes on as long as it sends: what waits
// for a host is bounded, and the relay does not read from it beyond that.
func (s *Session) stalls(limit time.Duration) bool {
	return s.has(flagBlocked) && !s.has(flagHost) && s.past(s.lastSent, limit) && !s.isStanding()
}

// lags reports whether the session is too far behind the live stream, even if
// it is parked.
func (s *Session) lags() bool { return !s.cursor.IsZero() && s.behind() > s.lagLimit() }

// behind returns how many bytes of the Log the session has not received. It
// must be a viewer.
func (s *Session) behind() uint64 {
	end := s.log().End()
	return end.Position() - s.cursor.Position()
}

// lagLimit returns how many bytes the session may be behind. With a lag
// allowance, the limit also includes the largest size of the room's record. So
// a room holds its lag limit and its record at most, whatever its viewers do.
func (s *Session) lagLimit() uint64 {
	c := s.shard.hub.Config()
	limit := s.shard.hub.shrunk(c.LagLimit)
	if s.lagAllowance {
		limit += c.recordLimit()
	}
	return uint64(limit)
}

// recordLimit returns the largest size of a room's record in bytes: what it
// retains and two segments, each of which may be a single broadcast.
func (c *Config) recordLimit() int { return c.Retain + 2*max(broadcast.MaxSegment, c.MaxHostMessage) }

// allowLag raises the session's lag limit until it has caught up, because the
// relay itself has put it behind.
func (s *Session) allowLag() { s.lagAllowance = s.behind() > 0 }

// stopWaiting ends a viewer's wait for a history because the viewer is about to
// fall too far behind.
func (s *Session) stopWaiting() {
	s.room.audiences.of(s.shard).unparkOne(s)
	s.historyUnavailable(refused(HistoryOvertaken))
}

// tooSlow closes a viewer that is too slow, or, if the room's rules say so,
// moves it to the newest broadcast and tells it how many it has skipped. If it
// accepts nothing after that either, keepAlive closes it as idle.
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
	s.cursor.Advance(len(partial)) // the rest of the frame that it is in the middle of still goes out
	last, end := s.cursor.Seq(), s.log().End()
	s.cursor = end
	s.shard.counters.skipped.Add(end.Seq() - last)
	s.tellAt(Skipped{Messages: end.Seq() - last, Epoch: s.room.epoch, Seq: end.Seq()}, end.Position())
	if partial != nil {
		s.out.pushRest(partial)
	}
}
