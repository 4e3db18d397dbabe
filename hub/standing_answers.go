package hub

import "lectern/frame"

// A message that came by POST is handled like any other message of its session. The frames
// that answer it are collected, because they go into the response to the POST, and not
// where the session's events go.

// A Result is what the relay answers to a message or a request that came by POST.
type Result struct {
	// Refusal is why it was refused, nil if it was not. Unless it is in Answers as
	// well, the client is told nothing else.
	Refusal *Refusal
	Answers [][]byte // the messages that answer it, without framing; must not be changed
	Seq     uint64   // number of the broadcast that the message was; 0 if it was none
	Ticket  string   // stands for the client's token, once and for a short time; empty for none
	Number  uint64   // the number that the host's message had, see [Message]
	Again   bool     // the message was handled before, and had no effect this time
}

// An answering collects the answers to one message. It belongs to the session's
// worker.
type answering struct {
	result Result
	token  string // the host's token that the client is told
	keeps  bool   // whether to keep the answers' frames as well
	frames [][]byte
	waits  bool // the message goes on being handled later
	done   func(a *answering)

	dropped bool // the session ended while the message waited, so it had no effect
}

// take takes a frame that answers the message.
func (a *answering) take(p private) {
	p.shared.release()
	if a.keeps {
		a.frames = append(a.frames, p.frame)
	}
	text := p.frame
	if len(text) > 0 && text[0] >= firstOfFrame {
		text = frame.Payload(text)
	} else {
		text = frame.EventData(text)
	}
	a.result.Answers = append(a.result.Answers, text)
}

// firstOfFrame is the lowest first byte of a WebSocket's frame: it has FIN. Event
// streams are UTF-8, and an event begins with a letter or a colon.
const firstOfFrame = 0x80

// keepAnswers queues answers for the client's next poll.
func (c *standing) keepAnswers(frames [][]byte) {
	for _, whole := range frames {
		c.session.outbound().push(private{frame: whole, kind: urgent})
	}
}

// refuse notes that the message was refused, unless something else answers it already.
func (a *answering) refuse(f *Refusal) {
	if a.result.Refusal == nil && len(a.result.Answers) == 0 {
		a.result.Refusal = f
	}
}

// answering returns what collects the answers to the message that is being handled, nil
// if they go to the client as they are.
func (s *Session) answering() *answering {
	if s.more == nil {
		return nil
	}
	return s.more.answering
}

// answer calls f and collects the answers of the session in a, unless a is nil. When the
// message has been handled, now or after a wait, answer calls a.done.
func (s *Session) answer(a *answering, f func()) {
	if a == nil {
		f()
		return
	}
	s.extra().answering, a.waits = a, false
	f()
	if s.answering() == a {
		s.more.answering = nil
	}
	if !a.waits {
		a.done(a)
	}
}

// postpone stops collecting answers for now, and returns what collects them, to be passed
// to answer when the handling goes on.
func (s *Session) postpone() *answering {
	a := s.answering()
	if a != nil {
		a.waits = true
		s.more.answering = nil
	}
	return a
}

// answersNoMore stops collecting answers: what follows is for the client's stream.
func (s *Session) answersNoMore() {
	if s.answering() != nil {
		s.more.answering = nil
	}
}

// noteToken notes the host's token that the client is about to be told.
func (s *Session) noteToken(token string) {
	if a := s.answering(); a != nil {
		a.token = token
	}
}

// noteSeq notes the number of the broadcast that the message was.
func (s *Session) noteSeq(seq uint64) {
	if a := s.answering(); a != nil {
		a.result.Seq = seq
	}
}
