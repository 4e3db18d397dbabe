package hub

import (
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// pingFrame is an empty ping.
var pingFrame = frame.AppendFrame(nil, ws.OpPing, nil)

// pingEvery is how long a peer may take to answer a ping, and how long after it
// the next one goes out. A client that answers only when the next bytes come is
// so heard in time.
func (c *Config) pingEvery() time.Duration {
	return max(time.Second, (c.IdleTimeout-c.PingAfter)/3)
}

// keepAlive asks a peer that was silent for a while whether it is there, again
// and again. Nobody is closed as idle who was not asked, and given time to
// answer, whatever the limits were before.
func (s *Session) keepAlive(config *Config) {
	unanswered := s.has(flagPinged) && s.past(s.since, config.pingEvery())
	switch {
	case unanswered && s.past(s.lastReceived, config.IdleTimeout):
		s.end(ReasonIdle)
	case !s.past(s.lastReceived, config.PingAfter) && !s.past(s.lastSent, config.PingAfter):
	case unanswered && s.has(flagBlocked): // the ping before waits for the socket too
	case unanswered || !s.has(flagPinged):
		s.set(flagPinged)
		s.since = s.shard.Now()
		s.push(private{frame: pingFrame, kind: urgent})
	}
}
