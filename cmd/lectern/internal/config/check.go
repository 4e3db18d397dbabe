package main

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// check refuses what makes no sense although it could be read.
func (b *settler) check() {
	for _, set := range b.all {
		if !set.isWithin() {
			b.refuse("%s must be %s, not %v", set.source.place, set.allowed(), set.target.Interface())
		}
	}
	if b.PingAfter >= b.IdleTimeout {
		b.refuse("%s must be longer than --ping-after (%s), not %s: else who only listens is taken for dead",
			b.setting("idle-timeout").source.place, b.PingAfter, b.IdleTimeout)
	}
	if b.PingAfter >= firstProbe(b.KeepAlive) && b.UserTimeout < b.KeepAlive+twoProbes {
		b.refuse("%s must be at least %s, %s longer than --keep-alive, not %s: else the kernel gives up a silent viewer for one lost probe; or --ping-after (%s) shorter than %s, so that there are no probes",
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
	if b.Echo != "" && b.Echo[0] != '/' {
		b.refuse("%s must be a path that begins with a slash, not %q", b.setting("echo").source.place, b.Echo)
	}
	if b.Echo == "/" || b.Echo == "/v1/websocket" {
		b.refuse("%s must not be %s: the rooms are there", b.setting("echo").source.place, b.Echo)
	}
}

// twoProbes is the time for two of the kernel's probes, and their answers.
const twoProbes = 10 * time.Second

// firstProbe returns the silence after which the kernel's first probe may come,
// see [netpoll.SocketOptions].
func firstProbe(keepAlive time.Duration) time.Duration { return keepAlive * 3 / 5 }

// checkAddress refuses what cannot be listened on. Whether a host's name can be
// resolved, and whether the port is free, is left to the start.
func (b *settler) checkAddress(name, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	}
	if err != nil {
		b.refuse("%s: %w", b.setting(name).source.place, err)
	}
}

// isSameAddress reports whether only one of two listeners could have its
// address, as far as that is seen without asking the system.
func isSameAddress(one, other string) bool {
	host, port, _ := net.SplitHostPort(one)
	its, itsPort, _ := net.SplitHostPort(other)
	if port != itsPort || port == "0" || port == "" {
		return false
	}
	return host == its || isUnspecified(host) || isUnspecified(its)
}

// isUnspecified reports whether the host stands for all of the machine's
// addresses.
func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// openToAll is what is wrong with a relay that listens to other machines and
// has no create key.
const openToAll = "anybody who reaches the relay may create rooms: set LECTERN_CREATE_KEY or --create-key-file"

// isLoopback reports whether only this machine reaches the host.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}
