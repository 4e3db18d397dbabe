package hub

import (
	"context"
	"crypto/sha256"
)

// A host numbers the messages that it sends by POST. When a response does not arrive, it
// sends the message again with the same number, and nothing is broadcast twice.

// maxKeptAnswer is the longest answer, in bytes, that the room keeps to repeat it. Each
// room keeps one, which the budget does not count. Only lists and pongs are longer. Their
// messages have no effect, so they may be handled again.
const maxKeptAnswer = 512

// posts are a host's numbered messages. The room's lock guards them, and its holder calls
// the methods.
type posts struct {
	last    uint64   // number of the latest message that was handled; 0 for none
	hash    [32]byte // of that message
	result  Result   // of that message
	kept    bool     // result is there
	pending *pendingPost
}

// A pendingPost is a numbered message that is being handled.
type pendingPost struct {
	number uint64
	hash   [32]byte
	done   chan struct{} // closed when it has been handled
}

// forgetPosts begins the numbers anew, for a host that has created or resumed the room by
// POST.
func (r *Room) forgetPosts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts = posts{}
}

// begin returns the result of a message with this number if that is known. Otherwise the
// message is pending: if mine is true, the caller has to handle it; if not, another request
// is doing so.
func (p *posts) begin(number uint64, hash [32]byte) (known *Result, pending *pendingPost, mine bool) {
	other := func(n uint64, had [32]byte) *Result {
		if n == number && had != hash {
			return &Result{Refusal: &Refusal{Kind: NumberUsed}}
		}
		return nil
	}
	if q := p.pending; q != nil {
		if known = other(q.number, q.hash); known == nil && number != q.number {
			known = unexpected(q.number)
		}
		return known, q, false
	}
	switch {
	case number == p.last:
		if known = other(p.last, p.hash); known != nil {
			return known, nil, false
		}
		if p.kept {
			again := p.result
			again.Again = true
			return &again, nil, false
		}
	case number != p.last+1:
		return unexpected(p.last + 1), nil, false
	}
	p.pending = &pendingPost{number, hash, make(chan struct{})}
	return nil, p.pending, true
}

func unexpected(next uint64) *Result {
	return &Result{Refusal: &Refusal{Kind: UnexpectedNumber, Number: next}}
}

// endPost notes the result of a message. A message that was refused had no effect, and its
// number may be used again.
func (r *Room) endPost(q *pendingPost, result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(q.done)
	p := &r.posts
	if p.pending != q {
		return // the numbers have begun anew
	}
	p.pending = nil
	if result.Refusal != nil {
		return
	}
	size := 0
	for _, text := range result.Answers {
		size += len(text)
	}
	p.last, p.hash, p.kept = q.number, q.hash, size <= maxKeptAnswer
	p.result = Result{}
	if p.kept {
		p.result = result
	}
}

// postNumbered is Post for a message with a number.
func (to *Addressee) postNumbered(ctx context.Context, message []byte, number uint64) (Result, error) {
	if !to.IsHost() {
		return Result{Refusal: to.room.hub.noted(to.from, refused(NotHost))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, postWait)
	defer cancel()
	r, hash := to.room, sha256.Sum256(message)
	for {
		r.mu.Lock()
		if host := r.hostSlot.current(); host != nil && host != to.session {
			r.mu.Unlock()
			return Result{Refusal: r.hub.noted(to.from, refused(NotHost))}, nil // the numbers are another host's by now
		}
		known, pending, mine := r.posts.begin(number, hash)
		r.mu.Unlock()
		if known != nil {
			if known.Refusal != nil {
				r.hub.noted(to.from, known.Refusal)
			}
			return *known, nil
		}
		if mine {
			return await(ctx, func(done func(Result)) {
				to.post(message, func(result Result) {
					result.Number = number
					r.endPost(pending, result)
					done(result)
				})
			})
		}
		select {
		case <-pending.done:
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
}
