package hub

import (
	"slices"
	"sync/atomic"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// An outbound is the queue of the frames for one connection alone. Urgent
// frames, which may overtake broadcasts, come first. Frames with a place in the
// room's order follow, in that order. It belongs to the session's worker.
type outbound struct {
	items  []private
	bytes  int            // sum of the items' sizes, see size
	sent   int            // bytes of the first item that the socket has accepted
	budget *budget.Budget // counts the items

	since uint32 // when a history or page was queued, in the worker's coarse time

	first [1]private // where items begins, so that one item needs no further memory
}

// reset makes an empty outbound usable for another session.
func (o *outbound) reset() { *o = outbound{budget: o.budget} }

// A private is a frame for one connection, or several consecutive frames.
type private struct {
	frame    []byte  // immutable
	place    uint64  // position in the Log up to which everything must be sent before
	shared   *shared // owner of the frame; nil if the frame is this connection's own
	messages uint32  // number of broadcasts that end in it
	ofLog    bool    // the frame is the Log's memory, which the room counts
	direct   bool    // the frame is a direct message
	kind     privateKind
}

// itemOverhead is about what an item takes besides its frame, in bytes.
const itemOverhead = 64

// size returns the bytes for which the item counts.
func (p *private) size() int { return len(p.frame) + itemOverhead }

// A shared is a frame that several connections send, such as a history or a
// page of a list. The budget counts it once, until the last holder releases it.
// Methods may be called from any goroutine.
type shared struct {
	frame   []byte // immutable
	budget  *budget.Budget
	holders atomic.Int32
}

// newShared returns a shared frame, which the caller holds.
func (h *Hub) newShared(frame []byte) *shared {
	s := &shared{frame: frame, budget: &h.budget}
	s.budget.Add(budget.Histories, int64(cap(frame)))
	s.holders.Store(1)
	return s
}

func (s *shared) hold() *shared {
	s.holders.Add(1)
	return s
}

func (s *shared) release() {
	if s != nil && s.holders.Add(-1) == 0 {
		s.budget.Add(budget.Histories, -int64(cap(s.frame)))
	}
}

// insert inserts items and counts them.
func (o *outbound) insert(at int, all ...private) {
	if o.items == nil {
		o.items = o.first[:0]
	}
	o.items = slices.Insert(o.items, at, all...)
	o.unpin()
	for i := range all {
		o.count(&all[i], 1)
	}
}

// unpin drops what first refers to after items has moved to memory of its own.
func (o *outbound) unpin() {
	if cap(o.items) > len(o.first) {
		o.first = [1]private{}
	}
}

// count counts an item that was inserted, or with a sign of -1 an item that was
// removed.
func (o *outbound) count(p *private, sign int) {
	o.bytes += sign * p.size()
	if p.shared == nil && !p.ofLog {
		o.budget.Add(budget.Answers, int64(sign*p.size()))
	} else if sign < 0 {
		p.shared.release() // does nothing on nil
	}
}

type privateKind uint8

const (
	ordered    privateKind = iota // has a place in the room's order
	bulky                         // ordered, and must be received within HistoryTake
	closeFrame                    // the close frame: ordered, and nothing follows it
	urgent                        // may overtake broadcasts
	pong                          // urgent, and replaces an older pong (RFC 6455 5.5.3)
)

// due returns the rest of the first item if it may be sent now that the Log was
// sent up to position. Otherwise it returns the position up to which the Log
// has to be sent first.
func (o *outbound) due(position uint64) (frame []byte, until uint64) {
	first := &o.items[0]
	if o.sent > 0 || first.kind > closeFrame || first.place <= position {
		return first.frame[o.sent:], 0
	}
	return nil, first.place
}

// push queues p at its place among the items.
func (o *outbound) push(p private) {
	at := len(o.items)
	if p.kind > closeFrame {
		first := min(o.started(), at)
		for at > first && o.items[at-1].kind <= closeFrame {
			at--
		}
		if last := at - 1; p.kind == pong && last >= first && o.items[last].kind == pong {
			o.count(&o.items[last], -1)
			o.count(&p, 1)
			o.items[last] = p
			return
		}
	}
	o.insert(at, p)
}

// settle queues what the Log still owes, from a cursor up to the position end,
// between the items; the items then no longer wait for a position. They refer
// to the Log's buffers, but not to anything that follows. If from is in the
// middle of a frame, no item may be partly sent. ofLog says that the room
// counts the buffers, because it closes with all its viewers.
func (o *outbound) settle(from broadcast.Cursor, end uint64, ofLog bool) {
	ordered := o.started()
	for ordered < len(o.items) && o.items[ordered].kind > closeFrame {
		ordered++
	}
	later := slices.Clone(o.items[ordered:])
	o.items = o.items[:ordered]
	if partial := from.Rest(); partial != nil {
		o.insert(0, private{frame: partial, kind: urgent, messages: uint32(from.Advance(len(partial))), ofLog: ofLog})
	}
	owe := func(until uint64) {
		for from.Position() < until {
			p := from.Next()
			p = p[:min(uint64(len(p)), until-from.Position())]
			o.insert(len(o.items), private{frame: p, messages: uint32(from.Advance(len(p))), ofLog: ofLog})
		}
	}
	for _, p := range later {
		owe(min(p.place, end))
		p.place = 0
		o.items = append(o.items, p)
		o.unpin()
	}
	owe(end)
}

// giveBack queues a direct message before the direct messages that wait.
func (o *outbound) giveBack(p private) {
	at := o.started()
	for at < len(o.items) && !o.items[at].direct {
		at++
	}
	if at < len(o.items) {
		p.place = o.items[at].place
	}
	o.insert(at, p)
}

// splice queues p before the items that come later in the room's order.
func (o *outbound) splice(p private) {
	at := len(o.items)
	for at > o.started() && o.items[at-1].kind <= closeFrame && o.items[at-1].place > p.place {
		at--
	}
	o.insert(at, p)
}

// pushRest queues the rest of a partly sent frame of the Log before everything
// else. Frames that are pushed later come behind it, even urgent ones. No item
// may be partly sent.
func (o *outbound) pushRest(frame []byte) {
	o.insert(0, private{frame: frame, kind: urgent})
}

// holdsHistory reports whether a history or page is among the items.
func (o *outbound) holdsHistory() bool {
	return slices.ContainsFunc(o.items, func(p private) bool { return p.kind == bulky })
}

// started returns how many items are partly sent, 0 or 1. Such an item is never
// overtaken.
func (o *outbound) started() int {
	if o.sent > 0 {
		return 1
	}
	return 0
}

// take notes that n bytes of the first item were sent, and returns how many
// broadcasts that completes.
func (o *outbound) take(n int) (messages int) {
	o.sent += n
	first := &o.items[0]
	if o.sent < len(first.frame) {
		return 0
	}
	messages = int(first.messages)
	o.count(first, -1)
	*first = private{}
	o.items, o.sent = o.items[1:], 0
	return messages
}

// dropPlaced drops the frames with a place in the room's order and the close
// frame, except one that is partly sent.
func (o *outbound) dropPlaced() {
	n := o.started()
	remaining := o.items[:n]
	for _, p := range o.items[n:] {
		if p.kind == closeFrame || p.kind < closeFrame && p.place > 0 {
			o.count(&p, -1)
		} else {
			remaining = append(remaining, p)
		}
	}
	clear(o.items[len(remaining):])
	o.items = remaining
}

// dropAll drops everything.
func (o *outbound) dropAll() {
	for i := range o.items {
		o.count(&o.items[i], -1)
	}
	o.items, o.first = nil, [1]private{}
}

// parting reports whether the close frame is partly sent.
func (o *outbound) parting() bool {
	return o.sent > 0 && o.items[0].kind == closeFrame
}
