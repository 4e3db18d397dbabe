package config

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// check refuses values that can be read but make no sense.
func (b *settler) check() {
	for _, set := range b.all {
		if !set.isWithin() {
			b.refuse("%s must be %s, not %v", set.source.place, set.allowed(), set.target.Interface())
		}
	}
	if b.PingAfter >= b.IdleTimeout {
		b.refuse("%s must be longer than --ping-after (%s), not %s: otherwise the relay closes viewers that only listen",
			b.setting("idle-timeout").source.place, b.PingAfter, b.IdleTimeout)
	}
	if b.PingAfter >= firstProbe(b.KeepAlive) && b.UserTimeout < b.KeepAlive+twoProbes {
		b.refuse("%s must be at least %s, %s longer than --keep-alive, not %s: otherwise the kernel gives up a silent viewer after one lost probe; or set --ping-after (%s) below %s, so that there are no probes",
			b.setting("user-timeout").source.place, b.KeepAlive+twoProbes, twoProbes, b.UserTimeout, b.PingAfter, firstProbe(b.KeepAlive))
	}
	if lag := b.setting("lag-limit").source; lag.kind != fromDefault && b.LagLimit < 2*b.MaxHostMessage {
		b.refuse("%s must be at least twice --max-host-message (%d), not %d", lag.place, b.MaxHostMessage, b.LagLimit)
	}
	b.checkAddress("addr", b.Addr)
	if b.AdminAddr != "" {
		b.checkAddress("admin-addr", b.AdminAddr)
	}
	if b.AdminAddr != "" && isSameAddress(b.Addr, b.AdminAddr) {
		b.refuse("%s must not be --addr (%s)", b.setting("admin-addr").source.place, b.Addr)
	}
	if b.ProxyProtocol && len(b.TrustedProxy) == 0 {
		b.refuse("%s needs --trusted-proxy: the relay believes nobody else's header", b.setting("proxy-protocol").source.place)
	}
	if b.Echo != "" && b.Echo[0] != '/' {
		b.refuse("%s must be a path that begins with a slash, not %q", b.setting("echo").source.place, b.Echo)
	}
	if b.Echo == "/" || b.Echo == "/v1/websocket" {
		b.refuse("%s must not be %s: the rooms are there", b.setting("echo").source.place, b.Echo)
	}
}

// twoProbes is the time that two of the kernel's probes and their answers need.
const twoProbes = 10 * time.Second

// firstProbe returns the silence after which the kernel may send its first probe:
// the relay spreads the probes of its sockets between three fifths of --keep-alive
// and all of it.
func firstProbe(keepAlive time.Duration) time.Duration { return keepAlive * 3 / 5 }

// checkAddress refuses malformed addresses. Whether the host's name resolves and
// the port is free shows at the start.
func (b *settler) checkAddress(name, address string) {
	if path, ok := SocketPath(address); ok {
		if !filepath.IsAbs(path) || len(path) > maxSocketPath {
			b.refuse("%s must have an absolute path of at most %d bytes after unix:, not %q", b.setting(name).source.place, maxSocketPath, path)
		}
		return
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	}
	if err != nil {
		b.refuse("%s: %w", b.setting(name).source.place, err)
	}
}

// maxSocketPath bounds the path of a Unix-domain socket, in bytes (unix(7)).
const maxSocketPath = 107

// SocketPath returns the path of the Unix-domain socket that an address names. It is not
// ok for any other address.
func SocketPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// isSameAddress reports whether two listeners would collide, as far as that shows
// without asking the system.
func isSameAddress(one, other string) bool {
	if _, ok := SocketPath(one); ok {
		return one == other
	}
	host, port, _ := net.SplitHostPort(one)
	its, itsPort, _ := net.SplitHostPort(other)
	if port != itsPort || port == "0" || port == "" {
		return false
	}
	return host == its || IsUnspecified(host) || IsUnspecified(its)
}

// IsUnspecified reports whether the host of an address stands for all addresses of
// the machine.
func IsUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// Warnings returns what you should know about a relay that listens on this
// address. They are sentences without a full stop.
func (s *Settings) Warnings(address string) (all []string) {
	_, atSocket := SocketPath(address)
	if host, _, err := net.SplitHostPort(address); !atSocket && (err != nil || isLoopback(host)) {
		return nil
	}
	if atSocket && !slices.ContainsFunc(s.TrustedProxy, Network.IsUnix) {
		all = append(all, "clients at a Unix-domain socket have no addresses, so limits for each address do not apply: set --trusted-proxy unix")
	}
	if !s.createKey.value.IsSet() {
		all = append(all, "anybody who reaches the relay may create rooms: set LECTERN_CREATE_KEY or --create-key-file")
	}
	if s.Dev {
		all = append(all, "--dev lets pages of every origin connect")
	}
	return all
}

// isLoopback reports whether a host is reached from this machine alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}
