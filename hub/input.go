package hub

import (
	"bytes"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/budget"
	"lectern/hub/turnstile"
)

// The relay looks at input as it arrives, but not always at all of it at once.
// While more than Config.MaxPrivate bytes of replies wait for the connection,
// or a goroutine checks one of its large messages, the rest of the chunk waits
// here and the connection is not read from. So a chunk of 64 KiB earns no more
// replies than the bound allows, however many messages are in it. A chunk with
// many errors, or one that takes long, is handled in parts, and other
// connections are served in between.

const (
	// visitErrors is how many errors one connection may make before others are
	// served.
	visitErrors = 8
	// visitTime is how long the messages of one connection may take before
	// others are served.
	visitTime = 50 * time.Microsecond
	// visitClock is how many messages are handled between two readings of the
	// clock.
	visitClock = 8
)

// assemblers are shared by all sessions. A session without an incomplete
// message has none.
var assemblers = sync.Pool{New: func() any { return new(frame.Assembler) }}

// decode handles bytes that arrive after the handshake.
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

// look handles as much of a chunk as may be handled now, and keeps the rest.
// own copies the rest if the chunk is not the session's memory.
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

// spareInput is how many bytes of input a session may hold even when the budget
// is used up.
const spareInput = 4 << 10

// comeBackLater has the worker handle the rest of a chunk after other
// connections had their turn.
func (s *Session) comeBackLater() {
	s.extra().suspended = true
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

// feed handles the messages in a chunk. It returns the rest of the chunk that
// has to wait, and whether it waits for other connections' turn. It may drop
// the session's input.
func (s *Session) feed(chunk []byte) (rest []byte, later bool) {
	m := s.extra()
	m.rate.reported = 0
	var began time.Time
	looked := 0
	if m.in == nil {
		m.in = assemblers.Get().(*frame.Assembler)
		m.began = s.shard.Now()
	}
	in, dialect := m.in, s.language()
	in.Limit, in.Deflate = dialect.Limit(s), s.deflate.Inflates()
	for message := range in.Feed(chunk) {
		if message.Compressed && began.IsZero() {
			began = time.Now()
		}
		s.handle(message)
		if !message.Op.IsControl() {
			m.began = s.shard.Now()
		}
		if !s.listens() || s.inputWaits() {
			break
		}
		if m.rate.reported >= visitErrors {
			later = true
			break
		}
		if looked++; message.Compressed || looked%visitClock == 0 {
			if now := time.Now(); began.IsZero() {
				began = now
			} else if later = now.Sub(began) > visitTime; later {
				break
			}
		}
		in.Limit = dialect.Limit(s)
	}
	if s.phase == open && m.rate.omitted > 0 {
		s.tooManyErrors()
		return nil, false // the assembler was given back
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

// listens reports whether the session still handles input.
func (s *Session) listens() bool { return s.phase == open || s.phase == closing }

// inputWaits reports whether input has to wait for now.
func (s *Session) inputWaits() bool {
	return s.out != nil && s.out.bytes > s.shard.hub.Config().MaxPrivate || s.more != nil && s.more.suspended
}

// resumeInput handles the input that had to wait, if it need not wait any
// longer.
func (s *Session) resumeInput() {
	if s.more == nil || len(s.more.unread) == 0 || s.inputWaits() || !s.listens() {
		return
	}
	chunk := s.more.unread
	s.more.unread = nil
	s.look(chunk, func(rest []byte) []byte { return rest })
}

// countInput updates what the budget counts for the session's input.
func (s *Session) countInput() {
	m := s.more
	if m == nil {
		return
	}
	held := cap(m.unread) + m.handled
	if m.in != nil {
		held += m.in.Held()
	}
	s.shard.hub.budget.Add(budget.Input, int64(held-m.held))
	m.held = held
}

// dropInput gives the assembler back and drops the input that had to wait.
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

// handle handles one message or control frame.
func (s *Session) handle(m frame.Message) {
	switch {
	case m.Op == ws.OpClose:
		s.closedByPeer(m.Payload)
	case s.phase != open:
		// RFC 6455 5.5.1: nothing is sent after our close frame.
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
			rate.omitted++ // feed closes the connection at the end of the chunk
			return
		}
		if m.Compressed && !m.TooLarge {
			s.inflate(m)
			return
		}
		if len(m.Payload) >= MinOffload && !m.Owned { // the chunk is larger than a transport's
			m.Payload, m.Owned = bytes.Clone(m.Payload), true
		}
		if m.Owned {
			s.handled(cap(m.Payload))
		}
		s.language().Message(s, m)
		s.doneHandling()
	}
}

// handled has the budget count what is handled, which the assembler no longer
// holds.
func (s *Session) handled(bytes int) {
	s.extra().handled = bytes
	s.countInput()
}

// doneHandling has the budget count it no longer, unless a goroutine works on it.
func (s *Session) doneHandling() {
	if m := s.more; m != nil && m.handled > 0 && !m.suspended {
		s.handled(0)
	}
}

// messageLate reports whether an incomplete message has taken too long.
func (s *Session) messageLate() bool {
	m := s.more
	if m == nil || m.in == nil {
		return false
	}
	if s.inputWaits() || len(m.unread) > 0 {
		m.began = s.shard.Now() // the relay is not reading, so this is not the peer's delay
		return false
	}
	limit := s.shard.hub.Config().MessageTimeout
	if s.shard.hub.budget.Level() >= budget.Full {
		limit = min(limit, hastyMessage)
	}
	return !m.in.Idle() && s.past(m.began, limit)
}

// hastyMessage replaces MessageTimeout, if it is shorter, while the budget is
// used up.
const hastyMessage = 2 * time.Second

// MinOffload is the size in bytes from which a message is checked in a
// goroutine, because it would hold the worker for too long. Such a message has
// a buffer of its own: it is larger than any chunk.
const MinOffload = 128 << 10

// offload runs work in a goroutine when the hub's limit allows, and then calls
// done as wait does.
func (s *Session) offload(work func(), done func(there bool)) {
	s.offloadTo(s.shard.hub.checks, work, done)
}

func (s *Session) offloadTo(t *turnstile.Turnstile, work func(), done func(there bool)) {
	s.wait(func(finished func()) {
		t.Do(func() {
			work()
			finished()
		})
	}, done)
}

// wait calls begin, which starts work elsewhere and arranges for finished to be
// called. The session's worker then calls done; there says whether the session
// is still open. The session handles no input in the meantime.
func (s *Session) wait(begin func(finished func()), done func(there bool)) {
	s.extra().suspended = true
	a := s.postpone()
	begin(func() {
		s.shard.Post(func() bool {
			there := s.phase == open
			if a != nil && !there {
				a.dropped = true
			}
			s.goOn(func() { s.answer(a, func() { done(there) }) }) // done may begin another wait
			return false
		})
	})
}

// goOn ends a wait, calls done, and handles the input that arrived in the
// meantime.
func (s *Session) goOn(done func()) {
	if s.more != nil {
		s.more.suspended = false
	}
	done()
	s.doneHandling()
	s.resumeInput()
	s.conn.Flush()
}
