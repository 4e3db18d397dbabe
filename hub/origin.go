package hub

import (
	"net/netip"
	"slices"
	"strings"
)

// AllowsOrigin reports whether a request with the given Origin and Host headers
// may connect. An empty origin is allowed because such a request does not come
// from a page (RFC 6454 7.3). peer is the other end of the connection, and
// forwardedFor the request's X-Forwarded-For.
//
// A page that was served on the loopback interface may connect from this
// machine, for development. A request that a proxy forwards does not come from
// this machine.
func (c *Config) AllowsOrigin(origin, host string, peer netip.Addr, forwardedFor string) bool {
	if origin == "" || isSameOrigin(origin, host) {
		return true
	}
	if slices.ContainsFunc(c.AllowOrigins, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, origin)
	}) {
		return true
	}
	if forwardedFor != "" {
		peer = c.forwarded(peer, forwardedFor)
	}
	return peer.Unmap().IsLoopback() && isLoopbackOrigin(origin)
}

// isSameOrigin reports whether the origin has the host that the request is for.
// It ignores the scheme, because a proxy may have terminated TLS, and the
// scheme's default port (RFC 6454 4, RFC 9110 4.2.3).
func isSameOrigin(origin, host string) bool {
	scheme, its, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	standard := ""
	switch strings.ToLower(scheme) {
	case "http":
		standard = ":80"
	case "https":
		standard = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(its, standard), strings.TrimSuffix(host, standard))
}

// isLoopbackOrigin reports whether the origin is on a loopback interface.
func isLoopbackOrigin(origin string) bool {
	scheme, host, ok := strings.Cut(strings.ToLower(origin), "://")
	if !ok || scheme != "http" && scheme != "https" {
		return false
	}
	if port := strings.LastIndexByte(host, ':'); port > strings.LastIndexByte(host, ']') {
		host = host[:port]
	}
	if host == "localhost" {
		return true
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	ip, err := netip.ParseAddr(inner)
	return err == nil && ip.IsLoopback() && ip.Zone() == "" && bracketed == closed && bracketed == ip.Is6()
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

// forwarded returns the address of the client behind a trusted proxy: the last
// address in X-Forwarded-For that is not a trusted proxy. It is invalid if the
// peer is not a trusted proxy, or if the header has something else than an
// address in that place.
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

// Client returns the address of the client at the other end: the one in
// X-Forwarded-For if peer is a trusted proxy, else peer's own.
func (c *Config) Client(peer netip.Addr, forwardedFor string) netip.Addr {
	if from := c.forwarded(peer, forwardedFor); from.IsValid() {
		return from
	}
	return peer.Unmap()
}
