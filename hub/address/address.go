// Package address counts what the clients behind each address use of the relay.
package address

import (
	"net/netip"
	"sync"
)

// A Table has an entry for each client address, or /64 network of IPv6, that a
// connection or a room refers to. It never has more entries than there are
// connections and rooms. They refer to an entry by its index, from 1; index 0
// stands for no address. The zero value is ready to use. Methods may be called
// from any goroutine.
type Table struct {
	mu      sync.Mutex
	index   map[netip.Prefix]uint32 // guarded by mu
	entries []usage                 // guarded by mu; entries[0] is unused
	free    []uint32                // guarded by mu; indexes of unused entries
}

// A usage is what the clients behind one address use of the relay.
type usage struct {
	from        netip.Addr // the first address seen in the network
	customer    netip.Prefix
	connections int32
	rooms       int32
}

// Connect counts a connection from an address, and returns the address's index
// and number of connections. An invalid address is not counted and has index 0.
func (a *Table) Connect(from netip.Addr) (at uint32, connections int) {
	if !from.IsValid() {
		return 0, 0
	}
	network := Customer(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	at, known := a.index[network]
	if !known {
		at = a.newLocked(network)
		a.entries[at] = usage{from: from, customer: network}
	}
	a.entries[at].connections++
	return at, int(a.entries[at].connections)
}

// newLocked allocates an entry for a network that has none, and returns its
// index.
func (a *Table) newLocked(network netip.Prefix) (at uint32) {
	if a.index == nil {
		a.index, a.entries = make(map[netip.Prefix]uint32), make([]usage, 1)
	}
	if last := len(a.free) - 1; last >= 0 {
		at, a.free = a.free[last], a.free[:last]
	} else {
		at = uint32(len(a.entries))
		a.entries = append(a.entries, usage{})
	}
	a.index[network] = at
	return at
}

// Disconnect counts the end of a connection.
func (a *Table) Disconnect(at uint32) { a.change(at, func(e *usage) { e.connections-- }) }

// OpenRoom counts a room for an address. It returns false, and counts nothing,
// if the address has as many rooms as limit.
func (a *Table) OpenRoom(at uint32, limit int) bool {
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

// CloseRoom counts the end of a room.
func (a *Table) CloseRoom(at uint32) { a.change(at, func(e *usage) { e.rooms-- }) }

// change applies f to an entry, and frees the entry when nothing refers to it
// any more. The table's memory is freed with its last entry.
func (a *Table) change(at uint32, f func(e *usage)) {
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
	*e = usage{}
	a.free = append(a.free, at)
	if len(a.index) == 0 {
		a.index, a.entries, a.free = nil, nil, nil
	}
}

// Of returns the address with an index, the zero Addr for 0.
func (a *Table) Of(at uint32) netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at == 0 {
		return netip.Addr{}
	}
	return a.entries[at].from
}

// Len returns the number of addresses in the table.
func (a *Table) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.index)
}

// Customer returns the network of one customer: the address itself, or its /64
// if it is IPv6.
func Customer(from netip.Addr) netip.Prefix {
	from = from.Unmap()
	if from.Is6() {
		return Within(from, 64)
	}
	return Within(from, from.BitLen())
}

// Within returns the network of the given prefix length that contains the
// address, the zero Prefix for an invalid address.
func Within(from netip.Addr, bits int) netip.Prefix {
	prefix, err := from.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
