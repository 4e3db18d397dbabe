package hub

import (
	"net/netip"
	"slices"
	"strings"

	"lectern/frame"
)

// allows reports whether the page that a request comes from may connect. A
// request without an origin does not come from a page (RFC 6454 7.3).
func (c *Config) allows(request frame.Request) bool {
	return c.AllowsOrigin(request.Origin, request.Host)
}

// AllowsOrigin reports whether a request with the given Origin header, empty
// for none, may be served by the host that it asked for.
func (c *Config) AllowsOrigin(origin, host string) bool {
	if origin == "" {
		return true
	}
	if _, its, ok := strings.Cut(origin, "://"); ok && strings.EqualFold(its, host) {
		return true
	}
	return slices.ContainsFunc(c.AllowOrigins, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, origin)
	})
}

// forwarded returns the address of the client behind a trusted proxy: the last
// one in X-Forwarded-For that is no trusted proxy itself. It is invalid when
// the peer is no trusted proxy, or when what it says is no address.
func (c *Config) forwarded(peer netip.Addr, header string) netip.Addr {
	if header == "" || !c.trusts(peer) {
		return netip.Addr{}
	}
	hops := strings.Split(header, ",")
	for _, hop := range slices.Backward(hops) {
		from, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return netip.Addr{}
		}
		if !c.trusts(from) {
			return from.Unmap()
		}
	}
	return netip.Addr{}
}

func (c *Config) trusts(peer netip.Addr) bool {
	return peer.IsValid() && slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(peer.Unmap()) })
}

// Client returns the address of whoever speaks through peer: the one that a
// trusted proxy tells in X-Forwarded-For, else peer's own.
func (c *Config) Client(peer netip.Addr, forwardedFor string) netip.Addr {
	if from := c.forwarded(peer, forwardedFor); from.IsValid() {
		return from
	}
	return peer.Unmap()
}
