package hub

import (
	"time"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// A phase is how far a connection has come. Phases follow one another in this
// order, and some may be skipped.
//
//	opening    request head complete -> open, or finishing with a refusal;
//	           a request that polls -> polling;
//	           no room or no memory for it -> over, with a refusal
//	polling    response sent -> opening, or finishing if it was the last
//	open       own close frame -> closing; peer's close frame -> over;
//	           broken frame -> finishing
//	closing    peer's close frame or the close timeout -> over
//	finishing  peer's end, or the close timeout -> over
//	over       drained -> the transport closes
//	gone       the transport has closed
type phase uint8

const (
	opening   phase = iota // the handshake is not finished
	polling                // a request waits for a room's events, or its response is being sent
	open                   // messages in both directions
	closing                // our close frame is queued or sent, the peer's has not come yet
	finishing              // input is discarded; what is queued goes out
	over                   // what is queued goes out, then the transport closes
	gone
)

// The flags of a session.
const (
	flagBlocked uint8 = 1 << iota // the socket is full
	flagParked                    // waits for a history and receives no broadcasts meanwhile
	flagPinged                    // a ping went out since the peer last sent anything
	flagFromOut                   // the bytes that Next returned came from out, not from the Log
	flagNewHost                   // became host; its first message voids the older token
	flagHost                      // the room's host, not a viewer
	flagSilent                    // in the opening phase and has sent nothing
	flagBegun                     // in the opening phase with an incomplete request head
)

// A Session is the protocol state of one connection, without the connection.
// Only its worker may call its methods, and owns all its fields that are not
// marked immutable.
type Session struct {
	shard  *shard           // immutable
	conn   Conn             // immutable
	room   *Room            // nil while the session is in no room
	cursor broadcast.Cursor // a viewer's place in its room's Log; zero for any other session

	more *more     // nil unless needed, see more
	out  *outbound // nil unless frames for this connection alone are queued

	// In the worker's coarse time:
	lastReceived uint32 // when bytes last arrived
	lastSent     uint32 // when the socket last accepted bytes, or became full
	since        uint32 // when the phase began; while open, when the last ping was sent

	id           uint32 // a viewer's id in its room, from 1; 0 for any other session
	slot         int32  // index in audience.members
	from         uint32 // index in hub.addresses; 0 until the handshake is complete
	phase        phase
	flags        uint8
	reason       Reason
	lagAllowance bool  // the lag limit is larger until the viewer has caught up
	dialect      uint8 // index in hub.dialects; 0 until the handshake is complete

	encoding encoding      // encoding of the Log that the cursor is in
	deflate  frame.Deflate // immutable once the handshake is complete; what was agreed about compression
}

// more holds the state that few sessions need at a time. It belongs to the
// session's worker.
type more struct {
	handshake *frame.Handshake // an incomplete request head
	in        *frame.Assembler // an incomplete frame or message
	rate      rate

	unread     []byte      // input that has to wait, see input.go
	unanswered *unanswered // the request for an event stream whose response has yet to begin
	answering  *answering  // the message that came by POST and is being handled
	poll       *poll       // the request of a connection in the phase polling

	held      int    // bytes of input that the budget counts
	handled   int    // bytes of the message that a goroutine works on
	began     uint32 // when the incomplete message began, in the worker's coarse time
	suspended bool   // input waits for a goroutine or for other sessions' turn
	retries   bool   // the current message has waited for its room
}

// extra returns the session's more, which it allocates if necessary.
func (s *Session) extra() *more {
	if s.more == nil {
		s.more = new(more)
	}
	return s.more
}

// dropExtra frees the session's more when it holds nothing. A host keeps it
// because the host will send again.
func (s *Session) dropExtra() {
	if m := s.more; m != nil && !s.has(flagHost) && m.handshake == nil && m.in == nil && len(m.unread) == 0 && !m.suspended && !m.retries && m.unanswered == nil && m.answering == nil && m.poll == nil && s.silent() {
		s.more = nil
	}
}

// maxPongs is how many frames may wait for one connection whose socket is not
// full. Beyond it, or when the socket is full, only the latest ping is
// answered.
const maxPongs = 16

func (s *Session) has(flag uint8) bool { return s.flags&flag != 0 }
func (s *Session) set(flag uint8)      { s.flags |= flag }
func (s *Session) clear(flag uint8)    { s.flags &^= flag }

// past reports whether more than limit has passed since the coarse time then.
func (s *Session) past(then uint32, limit time.Duration) bool {
	return time.Duration(s.shard.Now()-then)*time.Millisecond > limit
}

func (s *Session) enter(p phase) {
	if s.phase == opening {
		s.shard.silent.remove(s)
		s.shard.begun.remove(s)
		s.shard.hub.handshaking.Add(-1)
	}
	if s.phase == polling {
		s.shard.hub.polls.Add(-1)
	}
	s.phase = p
	s.since = s.shard.Now()
}

// Receive handles bytes from the peer, which may be cut anywhere. It modifies
// the chunk and does not keep it.
func (s *Session) Receive(chunk []byte) {
	s.lastReceived = s.shard.Now()
	s.clear(flagPinged)
	switch s.phase {
	case opening:
		s.open(chunk)
	case polling:
		s.keepForLater(chunk)
	case open, closing:
		if s.isEvents() {
			s.ignore() // the request was all that such a client says
			return
		}
		if s.more != nil || !isPong(chunk) {
			s.decode(chunk)
		}
	}
}

// language returns the session's dialect. The handshake must be complete.
func (s *Session) language() Dialect { return s.shard.hub.dialects[s.dialect] }

// push queues a frame for this connection alone. A caller outside the methods
// of Session must flush the connection afterwards.
func (s *Session) push(p private) {
	if s.phase > closing {
		return
	}
	if a := s.answering(); a != nil {
		a.take(p)
		return
	}
	s.outbound().push(p)
}

// outbound returns the session's outbound, which it allocates if necessary.
func (s *Session) outbound() *outbound {
	if s.out == nil {
		s.out, s.shard.spare = s.shard.spare, nil
		if s.out == nil {
			s.out = &outbound{budget: &s.shard.hub.budget}
		}
	}
	return s.out
}

// dropOut frees the outbound if it is empty. The worker keeps one, because most
// frames are sent at once: a join needs an outbound twice.
func (s *Session) dropOut() {
	if s.out != nil && len(s.out.items) == 0 {
		s.out.reset()
		s.out, s.shard.spare = nil, s.out
	}
}

// tell queues an event behind everything that is published now.
func (s *Session) tell(e Event) { s.tellAt(e, s.place()) }

// tellAt queues an event at a position in the room's order.
func (s *Session) tellAt(e Event, place uint64) {
	if frame := s.language().AppendEvent(nil, e); len(frame) > 0 {
		s.push(private{frame: frame, place: place})
	}
}

// sendUrgent queues an event that may overtake broadcasts.
func (s *Session) sendUrgent(e Event) {
	if frame := s.language().AppendEvent(nil, e); len(frame) > 0 {
		s.SendUrgent(frame)
	}
}

// place returns the current end of the room's order for this session. It is 0,
// which waits for nothing, for a session without a cursor.
func (s *Session) place() uint64 {
	if s.cursor.IsZero() {
		return 0
	}
	end := s.log().End()
	return end.Position()
}

// log returns the room's Log in the session's encoding. The session must be a
// viewer.
func (s *Session) log() *broadcast.Log { return s.room.streams.in(s.encoding) }

// Next returns the bytes to send next: queued frames in their order and at a
// frame boundary, otherwise the Log from the cursor. The caller must not change
// them.
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

// Sent notes that the socket accepted n bytes of what Next returned. full says
// that the socket accepts no more for now.
func (s *Session) Sent(n int, full bool) {
	if n > 0 || !s.has(flagBlocked) {
		s.lastSent = s.shard.Now()
	}
	if n > 0 && s.has(flagBlocked) {
		// The socket was full and accepts bytes again, so the peer is reading.
		// That counts as a sign of life: a ping waits behind the bytes in the
		// socket, and input may not be read at the moment.
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
	if s.phase == polling && s.out == nil {
		s.pollAnswered()
	}
}

// block notes whether the socket is full.
func (s *Session) block(full bool) {
	s.flags ^= flagBlocked
	if full && s.isEvents() {
		s.lastReceived = s.lastSent // its peer sends nothing, and was not expected to
	}
	if s.room != nil && !s.has(flagHost) {
		s.room.audiences.of(s.shard).block(s, full)
	}
}

// Established reports whether the session is in a room. The transport serves
// sessions that are in no room after those that are.
func (s *Session) Established() bool { return s.room != nil || s.phase == polling }

// Wants reports whether the session wants its connection to be read from and
// written to.
func (s *Session) Wants() (reading, writing bool) {
	switch s.phase {
	case opening, polling, open, closing:
		return !s.inputWaits() && (s.more == nil || len(s.more.unread) == 0), true
	case finishing:
		return true, false
	default:
		return false, false
	}
}

// Tick checks the session's time limits, and returns for how long nothing more can
// be due.
func (s *Session) Tick() (next time.Duration) {
	config := s.shard.hub.Config()
	s.dropExtra()
	if s.has(flagHost) {
		s.room.streams.age()
	}
	switch s.phase {
	case opening:
		switch {
		case s.shard.hub.draining.Load():
			s.shutdownOpening()
		case s.isIdle() && s.past(s.since, config.HandshakeTimeout):
			s.enter(over)
		case s.past(s.since, config.HandshakeTimeout):
			s.shard.hub.Refused("handshake_timeout", s.conn.Peer())
			s.refuse(ReasonHandshakeSlow, 408, "the request's head took longer than "+config.HandshakeTimeout.String())
		case s.past(s.since, s.safeTime()) && s.shard.hub.overfull():
			s.displaced()
		}
	case polling:
		s.tickPoll(config)
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
		case s.has(flagBlocked) && s.lags(): // if the socket is not full, it is this relay that is behind
			s.tooSlow(CauseLag)
		case s.messageLate():
			s.endNow(ReasonMessageSlow)
		default:
			s.keepAlive(config)
		}
	case closing, finishing, over:
		linger := config.CloseTimeout
		if s.phase == finishing && s.out == nil && config.crowded() {
			linger = 0 // the answer has gone out, and others wait for the place
		}
		if s.past(s.since, linger) {
			s.abandon()
		}
	}
	return s.quietFor(config)
}
