package hub

import (
	"net/netip"
	"sync"
)

// addresses is the table of the clients' addresses, or networks of IPv6
// customers (/64), that something refers to: WebSocket connections and the rooms
// that they created. So it has as many entries as there are connections and rooms
// at most. Sessions and rooms refer to an entry by its index, from 1; 0 is nobody's.
// Its zero value is ready. Its methods may be called from anywhere.
type addresses struct {
	mu      sync.Mutex
	index   map[netip.Prefix]uint32 // guarded by mu
	entries []address               // guarded by mu; the first is for nobody
	free    []uint32                // guarded by mu; indexes that may be given again
}

// An address is what one client, or those behind one address, take of the relay.
type address struct {
	from        netip.Addr // as it first came
	customer    netip.Prefix
	connections int32
	rooms       int32
}

// connect counts a connection from an address, and returns its index and how many
// connections there are now. An address that is not known is nobody's.
func (a *addresses) connect(from netip.Addr) (at uint32, connections int) {
	if !from.IsValid() {
		return 0, 0
	}
	network := customer(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	at, known := a.index[network]
	if !known {
		at = a.newLocked(network)
		a.entries[at] = address{from: from, customer: network}
	}
	a.entries[at].connections++
	return at, int(a.entries[at].connections)
}

// newLocked returns an index for a network that has none.
func (a *addresses) newLocked(network netip.Prefix) (at uint32) {
	if a.index == nil {
		a.index, a.entries = make(map[netip.Prefix]uint32), make([]address, 1)
	}
	if last := len(a.free) - 1; last >= 0 {
		at, a.free = a.free[last], a.free[:last]
	} else {
		at = uint32(len(a.entries))
		a.entries = append(a.entries, address{})
	}
	a.index[network] = at
	return at
}

// disconnect counts one connection less.
func (a *addresses) disconnect(at uint32) { a.change(at, func(e *address) { e.connections-- }) }

// openRoom counts a room, unless there are as many from this address as there may
// be, and reports whether it did.
func (a *addresses) openRoom(at uint32, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at == 0 {
		return true
	}
	if int(a.entries[at].rooms) >= limit {
		return false
	}
	a.entries[at].rooms++
	return true
}

// closeRoom counts one room less.
func (a *addresses) closeRoom(at uint32) { a.change(at, func(e *address) { e.rooms-- }) }

// change makes a change to an entry, and forgets it when nothing refers to it any
// more. The memory of a crowd is given back when everybody has gone.
func (a *addresses) change(at uint32, f func(e *address)) {
	if at == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := &a.entries[at]
	f(e)
	if e.connections > 0 || e.rooms > 0 {
		return
	}
	delete(a.index, e.customer)
	*e = address{}
	a.free = append(a.free, at)
	if len(a.index) == 0 {
		a.index, a.entries, a.free = nil, nil, nil
	}
}

// of returns the address with an index, the zero one for 0.
func (a *addresses) of(at uint32) netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at == 0 {
		return netip.Addr{}
	}
	return a.entries[at].from
}

// address returns the client's address: the one that a trusted proxy told, else
// the peer's. Of several of one IPv6 customer (/64) it may be another one's.
func (s *Session) address() netip.Addr {
	if s.from == 0 {
		return s.conn.Peer().Unmap() // it is not counted yet
	}
	return s.shard.hub.addresses.of(s.from)
}

// enterAddress counts the session for its address, and reports what is wrong if there
// are too many of them.
func (s *Session) enterAddress(forwardedFor string) *Refusal {
	h := s.shard.hub
	c := h.Config()
	at, n := h.addresses.connect(c.Client(s.conn.Peer(), forwardedFor))
	s.from = at
	if n <= c.MaxConnectionsPerAddress {
		return nil
	}
	h.Refused("connections_per_address", s.address())
	return &Refusal{Kind: AddressFull, Limit: c.MaxConnectionsPerAddress}
}
