package hub

import (
	"bytes"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/budget"
)

// What a peer sends is looked at as it comes, but not always all of it at once.
// While more than Config.MaxPrivate bytes of answers wait for the connection, or
// a large message of its own is being checked aside from the worker, the rest of
// the chunk waits here, and nothing more is read. So a chunk of 64 KiB earns no
// more answers than the bound allows, however many messages are in it. And a chunk
// of many mistakes, or one that takes long, is looked at in parts: others come in
// between.

const (
	// visitErrors is how many errors a connection is told before others come.
	visitErrors = 8
	// visitTime is how long its messages may take before others come.
	visitTime = 50 * time.Microsecond
	// visitClock is how many messages are looked at between two looks at the clock.
	visitClock = 8
)

// assemblers are shared by all sessions; an idle one has none.
var assemblers = sync.Pool{New: func() any { return new(frame.Assembler) }}

// decode takes bytes of frames.
func (s *Session) decode(chunk []byte) {
	if len(chunk) == 0 {
		return
	}
	m := s.extra()
	if s.inputWaits() || len(m.unread) > 0 {
		m.unread = append(m.unread, chunk...)
		s.countInput()
		return
	}
	s.look(chunk, bytes.Clone)
}

// look looks at a chunk as far as it may be looked at now, and keeps the rest,
// which is the chunk's own memory unless it is made the session's by own.
func (s *Session) look(chunk []byte, own func([]byte) []byte) {
	m := s.extra()
	rest, later := s.feed(chunk)
	if len(rest) > 0 {
		m.unread = own(rest)
	}
	s.countInput()
	if later && len(rest) > 0 {
		s.comeBackLater()
	}
	if s.phase == open && m.held > spareInput && s.shard.hub.budget.Counted() >= budget.Over {
		s.endNow(ReasonMemory)
	}
}

// spareInput is how many bytes of input a session may hold although the budget is
// used up.
const spareInput = 4 << 10

// comeBackLater has the rest of a chunk looked at when others had their turn.
func (s *Session) comeBackLater() {
	s.extra().offloaded = true
	later := func() bool {
		s.goOn(func() {})
		return false
	}
	if s.Established() {
		s.shard.PostAgain(later)
	} else {
		s.shard.PostBehind(later)
	}
}

// feed has messages made of a chunk, and returns what of it has to wait, and
// whether that is for others to have their turn. It may end with the session's input
// dropped.
func (s *Session) feed(chunk []byte) (rest []byte, later bool) {
	m := s.extra()
	m.rate.told = 0
	var began time.Time
	looked := 0
	if m.in == nil {
		m.in = assemblers.Get().(*frame.Assembler)
		m.began = s.shard.Now()
	}
	in, dialect := m.in, s.language()
	in.Limit = dialect.Limit(s)
	for message := range in.Feed(chunk) {
		s.handle(message)
		if !message.Op.IsControl() {
			m.began = s.shard.Now()
		}
		if !s.listens() || s.inputWaits() {
			break
		}
		if m.rate.told >= visitErrors {
			later = true
			break
		}
		if looked++; looked%visitClock == 0 {
			if now := time.Now(); looked == visitClock {
				began = now
			} else if later = now.Sub(began) > visitTime; later {
				break
			}
		}
		in.Limit = dialect.Limit(s)
	}
	if s.phase == open && m.rate.omitted > 0 {
		s.tooManyErrors()
		return nil, false // the assembler has been given back
	}
	if err := in.Err(); err != nil && s.listens() {
		s.Fail(err)
	}
	if s.listens() {
		rest = in.Rest()
	}
	if in.Idle() && len(rest) == 0 {
		s.dropInput()
	}
	return rest, later
}

// listens reports whether what the peer sends is still looked at.
func (s *Session) listens() bool { return s.phase == open || s.phase == closing }

// inputWaits reports whether nothing more is to be looked at for now.
func (s *Session) inputWaits() bool {
	return s.out != nil && s.out.bytes > s.shard.hub.Config().MaxPrivate || s.more != nil && s.more.offloaded
}

// resumeInput looks at what had to wait, if it need not wait any longer.
func (s *Session) resumeInput() {
	if s.more == nil || len(s.more.unread) == 0 || s.inputWaits() || !s.listens() {
		return
	}
	chunk := s.more.unread
	s.more.unread = nil
	s.look(chunk, func(rest []byte) []byte { return rest })
}

// countInput counts what the session holds of its input into the budget.
func (s *Session) countInput() {
	m := s.more
	if m == nil {
		return
	}
	held := cap(m.unread)
	if m.in != nil {
		held += m.in.Held()
	}
	s.shard.hub.budget.Add(budget.Input, int64(held-m.held))
	m.held = held
}

// dropInput gives the assembler back, and what had to wait.
func (s *Session) dropInput() {
	m := s.more
	if m == nil {
		return
	}
	if m.in != nil {
		m.in.Reset()
		assemblers.Put(m.in)
		m.in = nil
	}
	m.unread = nil
	s.countInput()
	s.dropExtra()
}

// handle acts on one message or control frame.
func (s *Session) handle(m frame.Message) {
	switch {
	case m.Op == ws.OpClose:
		s.closedByPeer(m.Payload)
	case s.phase != open:
		// RFC 6455 5.5.1: after our close frame nothing is said any more.
	case m.Op == ws.OpPing:
		kind := urgent
		if s.has(flagBlocked) || s.out != nil && len(s.out.items) >= maxPongs {
			kind = pong
		}
		s.push(private{frame: frame.AppendFrame(nil, ws.OpPong, m.Payload), kind: kind})
	case m.Op == ws.OpPong:
	default:
		s.shard.counters.received.Add(1)
		if rate := &s.extra().rate; rate.omitted > 0 {
			rate.omitted++ // the connection is closed at the end of the chunk
			return
		}
		s.language().Message(s, m)
	}
}

// messageLate reports whether a message has not come whole in time.
func (s *Session) messageLate() bool {
	m := s.more
	if m == nil || m.in == nil {
		return false
	}
	if s.inputWaits() || len(m.unread) > 0 {
		m.began = s.shard.Now() // it is this side that does not read
		return false
	}
	limit := s.shard.hub.Config().MessageTimeout
	if s.shard.hub.budget.Level() >= budget.Full {
		limit = min(limit, hastyMessage)
	}
	return !m.in.Idle() && s.past(m.began, limit)
}

// hastyMessage is how long a message may take while the budget is used up.
const hastyMessage = 2 * time.Second

// MinOffload is from how many bytes on a message is checked aside from the
// worker, which it would hold for too long. Such a message has a buffer of its
// own: it did not come in one chunk.
const MinOffload = 128 << 10

// offload has work done aside from the workers, at most so much at a time as the
// hub allows, and then done as wait does.
func (s *Session) offload(work func(), done func(there bool)) {
	s.wait(func(finished func()) {
		s.shard.hub.checks.do(func() {
			work()
			finished()
		})
	}, done)
}

// wait begins something that another goroutine does, which then calls finished.
// After that the session's worker calls done, and tells it whether the session is
// still open. Nothing of the connection's input is looked at meanwhile.
func (s *Session) wait(begin func(finished func()), done func(there bool)) {
	s.extra().offloaded = true
	begin(func() {
		s.shard.Post(func() bool {
			s.goOn(func() { done(s.phase == open) }) // which may begin another wait
			return false
		})
	})
}

// goOn ends a wait, does what was waited for, and looks at what came meanwhile.
func (s *Session) goOn(done func()) {
	if s.more != nil {
		s.more.offloaded = false
	}
	done()
	s.resumeInput()
	s.conn.Flush()
}
