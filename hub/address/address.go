package hub

import (
	"net/netip"
	"sync"
)

// addresses is the table of the client addresses, or /64 networks of IPv6, that
// a WebSocket connection or a room refers to. It never has more entries than
// there are connections and rooms. Sessions and rooms refer to an entry by its
// index, from 1; index 0 stands for no address. The zero value is ready to use.
// Methods may be called from any goroutine.
type addresses struct {
	mu      sync.Mutex
	index   map[netip.Prefix]uint32 // guarded by mu
	entries []address               // guarded by mu; entries[0] is unused
	free    []uint32                // guarded by mu; indexes of unused entries
}

// An address counts what the clients behind one address use of the relay.
type address struct {
	from        netip.Addr // the first address seen in the network
	customer    netip.Prefix
	connections int32
	rooms       int32
}

// connect counts a connection from an address, and returns the address's index
// and number of connections. An invalid address is not counted and has index 0.
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

// newLocked allocates an entry for a network that has none, and returns its
// index.
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

// disconnect counts the end of a connection.
func (a *addresses) disconnect(at uint32) { a.change(at, func(e *address) { e.connections-- }) }

// openRoom counts a room for an address. It returns false, and counts nothing,
// if the address has as many rooms as limit.
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

// closeRoom counts the end of a room.
func (a *addresses) closeRoom(at uint32) { a.change(at, func(e *address) { e.rooms-- }) }

// change applies f to an entry, and frees the entry when nothing refers to it
// any more. The table's memory is freed with its last entry.
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

// of returns the address with an index, the zero Addr for 0.
func (a *addresses) of(at uint32) netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at == 0 {
		return netip.Addr{}
	}
	return a.entries[at].from
}

// address returns the client's address: as a trusted proxy reports it, else the
// peer's. It may be another address of the same IPv6 /64.
func (s *Session) address() netip.Addr {
	if s.from == 0 {
		return s.conn.Peer().Unmap() // the handshake is not complete
	}
	return s.shard.hub.addresses.of(s.from)
}

// enterAddress counts the session for its address. It returns a Refusal if the
// address has too many connections.
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
