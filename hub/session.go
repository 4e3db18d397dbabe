package hub

import (
	"time"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// A phase is how far a connection has come. The phases follow one another in
// this order; some are left out.
//
//	opening    request head complete -> open, or finishing with a refusal;
//	           no room or no memory for it -> over, with a refusal
//	open       own close frame -> closing; peer's close frame -> over;
//	           broken frame -> finishing
//	closing    peer's close frame or the close timeout -> over
//	finishing  peer's end, or the close timeout -> over
//	over       drained -> the transport closes
//	gone       the transport has closed
type phase uint8

const (
	opening   phase = iota // the handshake is not finished
	open                   // messages in both directions
	closing                // our close frame is queued or sent, the peer's is awaited
	finishing              // nothing is looked at any more; what the peer still sends is discarded
	over                   // what is queued goes out, then the connection closes
	gone
)

// The marks of a session.
const (
	flagBlocked uint8 = 1 << iota // the socket is full
	flagParked                    // waits for a history; no broadcasts meanwhile
	flagPinged                    // a ping went out since the last sign of life
	flagFromOut                   // what Next returned came from out, not from the Log
	flagNewHost                   // was made host; its first message voids the older token
	flagHost                      // is its room's host, not a viewer
	flagSilent                    // is in the opening phase and has sent nothing
	flagBegun                     // is in the opening phase and has sent half of a head
)

// A Session is the protocol state of one connection, without the connection.
// Its methods may be called by its worker only.
type Session struct {
	shard  *shard           // immutable
	conn   Conn             // immutable
	room   *Room            // nil when in none
	cursor broadcast.Cursor // a viewer's place in its room's Log; else zero

	more *more     // nil unless there is something in it
	out  *outbound // nil unless something is due to this connection alone

	// In the worker's coarse time:
	lastReceived uint32 // when bytes last came
	lastSent     uint32 // when the socket last took bytes, or began not to
	since        uint32 // when the phase began, or, once open, when the last ping was due

	id           uint32 // a viewer's number in its room, from 1; 0 for anybody else
	slot         int32  // place in the audience's members
	from         uint32 // index in hub.addresses; 0 until the handshake is finished
	phase        phase
	flags        uint8
	reason       Reason
	lagAllowance bool  // it may be further behind, until it has caught up
	dialect      uint8 // place in hub.dialects; 0 until the handshake is finished

	encoding encoding // of the Log that it reads
}

// more is what few sessions have at a time.
type more struct {
	handshake *frame.Handshake // a request's head that is incomplete
	in        *frame.Assembler // a frame or message that is incomplete
	rate      rate

	unread    []byte // input that has to wait
	held      int    // bytes of input that are counted into the budget
	began     uint32 // when the incomplete message began, in the worker's coarse time
	offloaded bool   // a message is being checked aside from the worker
	retries   bool   // what is said now has waited for its room
}

// extra returns the session's more, made if need be.
func (s *Session) extra() *more {
	if s.more == nil {
		s.more = new(more)
	}
	return s.more
}

// dropExtra gives up the session's more when nothing is in it any longer. A host
// keeps it: it will speak again.
func (s *Session) dropExtra() {
	if m := s.more; m != nil && !s.has(flagHost) && m.handshake == nil && m.in == nil && len(m.unread) == 0 && !m.offloaded && !m.retries && s.silent() {
		s.more = nil
	}
}

// maxPongs is how many frames may wait for one connection, while its socket is
// not full, before of further pings only the latest is answered.
const maxPongs = 16

func (s *Session) has(mark uint8) bool { return s.flags&mark != 0 }
func (s *Session) set(mark uint8)      { s.flags |= mark }
func (s *Session) clear(mark uint8)    { s.flags &^= mark }

// past reports whether more than limit has gone by since the coarse time then.
func (s *Session) past(then uint32, limit time.Duration) bool {
	return time.Duration(s.shard.Now()-then)*time.Millisecond > limit
}

func (s *Session) enter(p phase) {
	if s.phase == opening {
		s.shard.silent.remove(s)
		s.shard.begun.remove(s)
		s.shard.hub.handshaking.Add(-1)
	}
	s.phase = p
	s.since = s.shard.Now()
}

// Receive takes bytes from the peer, cut anywhere. The chunk is changed, and
// not kept.
func (s *Session) Receive(chunk []byte) {
	s.lastReceived = s.shard.Now()
	s.clear(flagPinged)
	switch s.phase {
	case opening:
		s.open(chunk)
	case open, closing:
		s.decode(chunk)
	}
}

// language returns the dialect that the session speaks. Its handshake must be
// finished.
func (s *Session) language() Dialect { return s.shard.hub.dialects[s.dialect] }

// push queues a frame for this connection alone. Whoever pushes from outside
// of the session's own methods flushes the connection afterwards.
func (s *Session) push(p private) {
	if s.phase > closing {
		return
	}
	s.outbound().push(p)
}

// outbound returns the session's outbound, made if need be.
func (s *Session) outbound() *outbound {
	if s.out == nil {
		s.out = &outbound{budget: &s.shard.hub.budget}
	}
	return s.out
}

// dropOut gives up the outbound if nothing waits in it.
func (s *Session) dropOut() {
	if s.out != nil && len(s.out.items) == 0 {
		s.out = nil
	}
}

// tell tells the client of an event at its place in the room's order: after
// everything that is published now.
func (s *Session) tell(e Event) { s.tellAt(e, s.place()) }

// tellAt tells the client of an event at a place in the room's order.
func (s *Session) tellAt(e Event, place uint64) {
	if frame := s.language().AppendEvent(nil, e); len(frame) > 0 {
		s.push(private{frame: frame, place: place})
	}
}

// sendUrgent tells the client of an event that may overtake broadcasts.
func (s *Session) sendUrgent(e Event) {
	if frame := s.language().AppendEvent(nil, e); len(frame) > 0 {
		s.SendUrgent(frame)
	}
}

// place returns the present end of the room's order for this session. Without
// a place in the Log there is nothing to wait for.
func (s *Session) place() uint64 {
	if s.cursor.IsZero() {
		return 0
	}
	end := s.log().End()
	return end.Position()
}

// log returns its room's Log in the session's encoding. It must be a viewer.
func (s *Session) log() *broadcast.Log { return s.room.in(s.encoding) }

// Next returns the bytes that are due now: private frames at a frame boundary
// and in their order, else the Log from the cursor.
func (s *Session) Next() []byte {
	s.clear(flagFromOut)
	if s.out != nil {
		if !s.cursor.AtBoundary() {
			return s.cursor.Rest()
		}
		position := s.cursor.Position()
		due, until := s.out.due(position)
		if due != nil {
			s.set(flagFromOut)
			return due
		}
		if s.has(flagParked) {
			return nil
		}
		p := s.cursor.Next()
		return p[:min(uint64(len(p)), until-position)]
	}
	if s.has(flagParked) {
		return s.cursor.Rest()
	}
	p := s.cursor.Next()
	if len(p) == 0 {
		s.lagAllowance = false
	}
	return p
}

// Sent moves on by n bytes of what Next returned. With full the socket takes
// no more for now.
func (s *Session) Sent(n int, full bool) {
	if n > 0 || !s.has(flagBlocked) {
		s.lastSent = s.shard.Now()
	}
	if n > 0 && s.has(flagBlocked) {
		// Its socket was full and takes bytes again: it reads. A ping waits behind
		// what is in the socket, and what it says may not be read now.
		s.lastReceived = s.lastSent
	}
	messages := 0
	if s.has(flagFromOut) {
		messages = s.out.take(n)
		s.dropOut()
	} else {
		messages = s.cursor.Advance(n)
	}
	if messages > 0 {
		s.shard.counters.delivered.Add(uint64(messages))
	}
	if full != s.has(flagBlocked) {
		s.block(full)
	}
	s.resumeInput()
}

// block notes whether the socket is full.
func (s *Session) block(full bool) {
	s.flags ^= flagBlocked
	if s.room != nil && !s.has(flagHost) {
		s.room.audience(s.shard).block(s, full)
	}
}

// Established reports whether the session is in a room: strangers come after those
// that are.
func (s *Session) Established() bool { return s.room != nil }

// Wants says what the session wants of its connection, see the transport.
func (s *Session) Wants() (reading, writing bool) {
	switch s.phase {
	case opening, open, closing:
		return !s.inputWaits() && (s.more == nil || len(s.more.unread) == 0), true
	case finishing:
		return true, false
	default:
		return false, false
	}
}

// Tick looks at the session's time limits, and returns how long nothing more can be
// due.
func (s *Session) Tick() (next time.Duration) {
	config := s.shard.hub.Config()
	s.dropExtra()
	if s.has(flagHost) {
		s.room.age()
	}
	switch s.phase {
	case opening:
		switch {
		case s.past(s.since, config.HandshakeTimeout):
			s.shard.hub.Refused("handshake_timeout", s.conn.Peer())
			s.refuse(ReasonHandshakeSlow, 408, "the request's head took longer than "+config.HandshakeTimeout.String())
		case s.past(s.since, s.safeTime()) && s.shard.hub.overfull():
			s.displaced()
		}
	case open:
		switch {
		case s.more != nil && s.more.rate.omitted > 0:
			s.tooManyErrors()
		case s.has(flagParked) && s.lags():
			s.stopWaiting()
		case s.stalls(config.StallTimeout):
			s.tooSlow(CauseStall)
		case s.holdsTooMuch():
			s.endNow(ReasonMemory)
		case s.out != nil && s.past(s.out.since, s.historyTake()) && s.out.holdsHistory():
			s.shard.counters.slow[CauseHistory].closed.Add(1)
			s.end(ReasonTooSlow)
		case s.has(flagBlocked) && s.lags(): // who has room in its socket waits for this relay
			s.tooSlow(CauseLag)
		case s.messageLate():
			s.endNow(ReasonMessageSlow)
		default:
			s.keepAlive(config)
		}
	case closing, finishing, over:
		linger := config.CloseTimeout
		if s.phase == finishing && s.out == nil && config.crowded() {
			linger = 0 // all is said, and others wait for its place
		}
		if s.past(s.since, linger) {
			s.abandon()
		}
	}
	return s.quietFor(config)
}
