// Package origin judges the origins of pages (RFC 6454), and finds the client
// behind trusted proxies.
package origin

import (
	"net/netip"
	"slices"
	"strings"
)

// IsSame reports whether the origin has the host that the request is for.
// It ignores the scheme, because a proxy may have terminated TLS, and the
// scheme's default port (RFC 6454 4, RFC 9110 4.2.3).
func IsSame(origin, host string) bool {
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

// IsLoopback reports whether the origin is on a loopback interface.
func IsLoopback(origin string) bool {
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

// Forwarded returns the address of the client behind a trusted proxy: the last
// address in X-Forwarded-For that is not a trusted proxy. It is invalid if the
// peer is not a trusted proxy, or if the header has something else than an
// address in that place.
func Forwarded(peer netip.Addr, header string, trusted []netip.Prefix) netip.Addr {
	if header == "" || !Trusts(trusted, peer) {
		return netip.Addr{}
	}
	hops := strings.Split(header, ",")
	for _, hop := range slices.Backward(hops) {
		from, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return netip.Addr{}
		}
		if !Trusts(trusted, from) {
			return from.Unmap()
		}
	}
	return netip.Addr{}
}

// Trusts reports whether a peer is a trusted proxy. The zero Prefix is for peers without
// an address.
func Trusts(trusted []netip.Prefix, peer netip.Addr) bool {
	if !peer.IsValid() {
		return slices.Contains(trusted, netip.Prefix{})
	}
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(peer.Unmap()) })
}
