package hub

import (
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
)

// pingFrame is an empty ping.
var pingFrame = frame.AppendFrame(nil, ws.OpPing, nil)

// pingEvery returns how long a peer may take to answer a ping, and how long
// after it the next ping is sent. The next ping also reaches clients that
// answer only when further bytes arrive.
func (c *Config) pingEvery() time.Duration {
	return max(time.Second, (c.IdleTimeout-c.PingAfter)/3)
}

// keepAlive pings a silent peer repeatedly. It closes a peer as idle only after
// a ping has gone unanswered for pingEvery, even if the limits have just been
// lowered.
func (s *Session) keepAlive(config *Config) {
	if s.isEvents() {
		if !s.isStanding() {
			s.keepAwake(config)
		}
		return
	}
	unanswered := s.has(flagPinged) && s.past(s.since, config.pingEvery())
	switch {
	case unanswered && s.past(s.lastReceived, config.IdleTimeout):
		s.end(ReasonIdle)
	case !s.past(s.lastReceived, config.PingAfter) && !s.past(s.lastSent, config.PingAfter):
	case unanswered && s.has(flagBlocked): // the previous ping still waits for the socket
	case unanswered || !s.has(flagPinged):
		s.set(flagPinged)
		s.since = s.shard.Now()
		s.push(private{frame: pingFrame, kind: urgent})
	}
}

// isPong reports whether a chunk is exactly one valid pong frame (RFC 6455 5.2 and
// 5.5). That is all that most viewers ever send, and nothing has to be done about it,
// so nothing is allocated for it. In doubt it returns false.
func isPong(chunk []byte) bool {
	const pong, masked, maskSize = 0x80 | byte(ws.OpPong), 0x80, 4
	if len(chunk) < 2+maskSize || chunk[0] != pong || chunk[1]&masked == 0 {
		return false
	}
	size := int(chunk[1] &^ masked)
	return size <= ws.MaxControlFramePayloadSize && len(chunk) == 2+maskSize+size
}

// quietFor returns how long nothing of the session can be due if nothing happens to
// it: the time until a silent peer is asked, or asked again, if that is all there is
// to do.
func (s *Session) quietFor(config *Config) time.Duration {
	if s.phase != open || s.room == nil || s.flags&^flagPinged != 0 || s.more != nil || s.out != nil {
		return 0
	}
	now := s.shard.Now()
	if s.isEvents() {
		return commentEvery - time.Duration(now-s.lastSent)*time.Millisecond
	}
	if s.has(flagPinged) {
		return config.pingEvery() - time.Duration(now-s.since)*time.Millisecond
	}
	return config.PingAfter - time.Duration(max(now-s.lastReceived, now-s.lastSent))*time.Millisecond
}
