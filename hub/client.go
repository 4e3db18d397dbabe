package hub

import (
	"net/netip"
	"slices"
	"strings"

	"lectern/hub/origin"
)

// This file is about who a client is: its page and its address.

// AllowsOrigin reports whether a request with the given Origin (page) and Host headers
// may connect. An empty origin is allowed because such a request does not come
// from a page (RFC 6454 7.3). peer is the other end of the connection, and
// forwardedFor the request's X-Forwarded-For.
//
// A page that was served on the loopback interface may connect from this
// machine, for development. A request that a proxy forwards does not come from
// this machine.
func (c *Config) AllowsOrigin(page, host string, peer netip.Addr, forwardedFor string) bool {
	if page == "" || origin.IsSame(page, host) {
		return true
	}
	if slices.ContainsFunc(c.AllowOrigins, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, page)
	}) {
		return true
	}
	if forwardedFor != "" {
		peer = origin.Forwarded(peer, forwardedFor, c.TrustedProxies)
	}
	return peer.Unmap().IsLoopback() && origin.IsLoopback(page)
}

// maxOrigin is how many bytes of an origin an error message repeats.
const maxOrigin = 200

// turnAwayPage tells a page that its origin is not allowed, and closes the
// connection. The relay has accepted the handshake to be able to say so: for a
// refused one, a script sees only close code 1006.
func (s *Session) turnAwayPage(origin string) {
	s.shard.hub.Refused("origin", s.address())
	if len(origin) > maxOrigin {
		origin = origin[:maxOrigin] + "..."
	}
	s.sendUrgent(Refused{&Refusal{Kind: OriginNotAllowed, Text: origin}})
	s.end(ReasonOrigin)
}

// Client returns the address of the client at the other end: the one in
// X-Forwarded-For if peer is a trusted proxy, else peer's own.
func (c *Config) Client(peer netip.Addr, forwardedFor string) netip.Addr {
	if from := origin.Forwarded(peer, forwardedFor, c.TrustedProxies); from.IsValid() {
		return from
	}
	return peer.Unmap()
}

// Trusts reports whether the relay believes what a peer says about its client.
func (c *Config) Trusts(peer netip.Addr) bool { return origin.Trusts(c.TrustedProxies, peer) }

// address returns the client's address: as a trusted proxy reports it, else the
// peer's. It may be another address of the same IPv6 /64.
func (s *Session) address() netip.Addr {
	if s.from == 0 {
		return s.conn.Peer().Unmap() // the handshake is not complete
	}
	return s.shard.hub.addresses.Of(s.from)
}

// enterAddress counts the session for its address. It returns a Refusal if the
// address has too many connections.
func (s *Session) enterAddress(forwardedFor string) *Refusal {
	h := s.shard.hub
	c := h.Config()
	at, n := h.addresses.Connect(c.Client(s.conn.Peer(), forwardedFor))
	s.from = at
	if n <= c.MaxConnectionsPerAddress {
		return nil
	}
	h.Refused("connections_per_address", s.address())
	return &Refusal{Kind: AddressFull, Limit: c.MaxConnectionsPerAddress}
}
