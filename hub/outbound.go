package hub

import "slices"

// An outbound holds the frames that are for one connection alone. Those with a
// place in the room's order come last, in that order; the urgent ones, which
// may overtake broadcasts, before them.
type outbound struct {
	items []private
	bytes int // of all items, less what was sent of the first
	sent  int // bytes of the first item that the socket has taken

	since uint32 // when a history was queued, in the worker's coarse time
}

// A private is a frame for one connection.
type private struct {
	frame []byte // shared with other connections, never changed
	place uint64 // the Log's position that must have been sent before
	kind  privateKind
}

type privateKind uint8

const (
	ordered  privateKind = iota // has a place in the room's order
	bulky                       // a history: the same, and to be taken in time
	farewell                    // the close frame: ordered, and nothing comes after it
	urgent                      // may overtake
	pong                        // urgent, and only the latest counts (RFC 6455 5.5.3)
)

// due returns the rest of the first item if it may go out when the Log was
// sent up to position, and the position to send up to first otherwise.
func (o *outbound) due(position uint64) (frame []byte, until uint64) {
	first := &o.items[0]
	if o.sent > 0 || first.kind > farewell || first.place <= position {
		return first.frame[o.sent:], 0
	}
	return nil, first.place
}

// push queues p at its place.
func (o *outbound) push(p private) {
	at := len(o.items)
	if p.kind > farewell {
		first := min(o.started(), at)
		for at > first && o.items[at-1].kind <= farewell {
			at--
		}
		if last := at - 1; p.kind == pong && last >= first && o.items[last].kind == pong {
			o.bytes += len(p.frame) - len(o.items[last].frame)
			o.items[last] = p
			return
		}
	}
	o.items = slices.Insert(o.items, at, p)
	o.bytes += len(p.frame)
}

// dueBy makes everything due at a position at the latest.
func (o *outbound) dueBy(position uint64) {
	for i := range o.items {
		o.items[i].place = min(o.items[i].place, position)
	}
}

// splice queues p before what comes later in the room's order.
func (o *outbound) splice(p private) {
	at := len(o.items)
	for at > o.started() && o.items[at-1].kind <= farewell && o.items[at-1].place > p.place {
		at--
	}
	o.items = slices.Insert(o.items, at, p)
	o.bytes += len(p.frame)
}

// pushRest puts the rest of a half-sent frame of the Log before everything
// else, where nothing overtakes it: what is urgent comes after what was urgent
// before. Nothing of the outbound itself may be half-sent.
func (o *outbound) pushRest(frame []byte) {
	o.items = slices.Insert(o.items, 0, private{frame: frame, kind: urgent})
	o.bytes += len(frame)
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

// take notes that n bytes of the first item were sent.
func (o *outbound) take(n int) {
	o.sent += n
	o.bytes -= n
	if o.sent == len(o.items[0].frame) {
		o.items[0] = private{}
		o.items, o.sent = o.items[1:], 0
	}
}

// dropPlaced drops what waits for its place in the room's order, and the close
// frame, unless it is half-sent.
func (o *outbound) dropPlaced() {
	n := o.started()
	kept := o.items[:n]
	for _, p := range o.items[n:] {
		if p.kind == farewell || p.kind < farewell && p.place > 0 {
			o.bytes -= len(p.frame)
		} else {
			kept = append(kept, p)
		}
	}
	clear(o.items[len(kept):])
	o.items = kept
}

// parting reports whether the close frame is half-sent.
func (o *outbound) parting() bool {
	return o.sent > 0 && o.items[0].kind == farewell
}
