package hub

import (
	"slices"
	"sync/atomic"

	"lectern/hub/broadcast"
	"lectern/hub/budget"
)

// An outbound holds the frames that are for one connection alone. Those with a
// place in the room's order come last, in that order; the urgent ones, which
// may overtake broadcasts, before them.
type outbound struct {
	items  []private
	bytes  int            // of all items, see size
	sent   int            // bytes of the first item that the socket has taken
	budget *budget.Budget // where the items count

	since uint32 // when a history was queued, in the worker's coarse time
}

// A private is a frame for one connection, or a run of frames.
type private struct {
	frame    []byte  // never changed
	place    uint64  // the Log's position that must have been sent before
	shared   *shared // whose frame it is, nil if it is this connection's own
	messages uint32  // how many broadcasts it has
	ofLog    bool    // it is the Log's memory, which the room counts
	kind     privateKind
}

// itemOverhead is about what an item takes besides its bytes.
const itemOverhead = 64

// size is how many bytes the item counts for in its outbound.
func (p *private) size() int { return len(p.frame) + itemOverhead }

// A shared is a frame that several connections send: a history, or a page of a
// list. It counts into the budget until nobody holds it any longer. Its methods
// may be called from anywhere.
type shared struct {
	frame   []byte // immutable
	budget  *budget.Budget
	holders atomic.Int32
}

// newShared returns a frame as one that is shared, and which the caller holds.
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

// insert puts items in and counts them.
func (o *outbound) insert(at int, all ...private) {
	o.items = slices.Insert(o.items, at, all...)
	for i := range all {
		o.count(&all[i], 1)
	}
}

// count counts an item that was put in, or with a sign of -1 one that is gone.
func (o *outbound) count(p *private, sign int) {
	o.bytes += sign * p.size()
	if p.shared == nil && !p.ofLog {
		o.budget.Add(budget.Answers, int64(sign*p.size()))
	} else if sign < 0 {
		p.shared.release() // of none it does nothing
	}
}

type privateKind uint8

const (
	ordered    privateKind = iota // has a place in the room's order
	bulky                         // a history: the same, and to be taken in time
	closeFrame                    // the close frame: ordered, and nothing comes after it
	urgent                        // may overtake
	pong                          // urgent, and only the latest counts (RFC 6455 5.5.3)
)

// due returns the rest of the first item if it may go out when the Log was
// sent up to position, and the position to send up to first otherwise.
func (o *outbound) due(position uint64) (frame []byte, until uint64) {
	first := &o.items[0]
	if o.sent > 0 || first.kind > closeFrame || first.place <= position {
		return first.frame[o.sent:], 0
	}
	return nil, first.place
}

// push queues p at its place.
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

// settle puts what the Log still owes, from a place up to its position end,
// among the items, which wait for no place any longer. The items then hold the
// Log's buffers that they are in, and nothing that follows. If the place is in the
// middle of a frame nothing of the outbound itself may be half-sent. With ofLog the
// room counts the buffers: it has closed, or is about to, with all its viewers.
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
	}
	owe(end)
}

// splice queues p before what comes later in the room's order.
func (o *outbound) splice(p private) {
	at := len(o.items)
	for at > o.started() && o.items[at-1].kind <= closeFrame && o.items[at-1].place > p.place {
		at--
	}
	o.insert(at, p)
}

// pushRest puts the rest of a half-sent frame of the Log before everything
// else, where nothing overtakes it: what is urgent comes after what was urgent
// before. Nothing of the outbound itself may be half-sent.
func (o *outbound) pushRest(frame []byte) {
	o.insert(0, private{frame: frame, kind: urgent})
}

// holdsHistory reports whether a history is among the items.
func (o *outbound) holdsHistory() bool {
	return slices.ContainsFunc(o.items, func(p private) bool { return p.kind == bulky })
}

// started returns how many items are half-sent, 0 or 1: they are never
// overtaken.
func (o *outbound) started() int {
	if o.sent > 0 {
		return 1
	}
	return 0
}

// take notes that n bytes of the first item were sent, and returns how many
// broadcasts that completed.
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

// dropPlaced drops what waits for its place in the room's order, and the close
// frame, unless it is half-sent.
func (o *outbound) dropPlaced() {
	n := o.started()
	kept := o.items[:n]
	for _, p := range o.items[n:] {
		if p.kind == closeFrame || p.kind < closeFrame && p.place > 0 {
			o.count(&p, -1)
		} else {
			kept = append(kept, p)
		}
	}
	clear(o.items[len(kept):])
	o.items = kept
}

// dropAll drops everything.
func (o *outbound) dropAll() {
	for i := range o.items {
		o.count(&o.items[i], -1)
	}
	o.items = nil
}

// parting reports whether the close frame is half-sent.
func (o *outbound) parting() bool {
	return o.sent > 0 && o.items[0].kind == closeFrame
}
