package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"syscall"

	"lectern/bench/workload"

	"golang.org/x/sys/unix"
)

// A target is where connections go, and from which local addresses.
type target struct {
	addr    netip.AddrPort
	sources []netip.Addr // used in turns; none: the system chooses
}

// resolve looks up the server, once for all connections. Like most clients it takes
// the older protocol first: its addresses are the ones people give.
func resolve(u *url.URL, o workload.Options) (t target, err error) {
	port := cmp.Or(u.Port(), map[string]string{"ws": "80", "wss": "443"}[u.Scheme])
	server, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return t, fmt.Errorf("look up the server: %w", err)
	}
	t.addr = netip.AddrPortFrom(server.AddrPort().Addr().Unmap(), uint16(server.Port))
	for _, s := range o.Sources {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return target{}, workload.Refuse("the source address %q: %v", s, err)
		}
		if a.Is4() != t.addr.Addr().Is4() {
			return target{}, workload.Refuse("the source address %s cannot reach %s", a, t.addr.Addr())
		}
		t.sources = append(t.sources, a)
	}
	return t, nil
}

// source returns the local address of connection number i, invalid if the
// system chooses.
func (t target) source(i int) netip.Addr {
	if len(t.sources) == 0 {
		return netip.Addr{}
	}
	return t.sources[i%len(t.sources)]
}

// dial begins connection number i and returns its non-blocking socket, which
// need not be connected yet.
func (t target) dial(i int) (fd int, err error) {
	family := unix.AF_INET
	if t.addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if src := t.source(i); src.IsValid() {
		// With this option the port is chosen at connect, when the whole pair of
		// addresses is known: one port then serves many destinations.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(src, 0)))
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("bind", err)
		}
	}
	err = unix.Connect(fd, sockaddr(t.addr))
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// dialNet connects like dial, but as a net.Conn, for hosts.
func (c *crowd) dialNet(ctx context.Context, i int) (net.Conn, error) {
	d := net.Dialer{Timeout: c.options.Timeout, KeepAlive: -1}
	if src := c.target.source(i); src.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", c.target.addr.String())
	if err != nil || c.secure == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	t := tls.Client(conn, c.secure)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return t, nil
}

// secureConfig returns the configuration of connections over TLS.
func secureConfig(u *url.URL, o workload.Options) (*tls.Config, error) {
	config := &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: o.Insecure, NextProtos: []string{"http/1.1"}}
	if o.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, workload.Refuse("the CA's file holds no certificate in PEM")
		}
	}
	return config, nil
}

const (
	spareFDs = 64 // descriptors that a run needs beside its connections

	// usablePorts is the share of the system's ports that is counted on: others
	// use some, and closed connections rest for a while.
	usablePorts = 0.85

	// easyPorts is the share up to which the kernel finds a free port at once.
	// It tries every second port first, so beyond half of them each connection
	// costs a search of thousands, for client and server.
	easyPorts = 0.4
)

// checkLimits refuses a run that the machine cannot carry, and says what would
// fit. On loopback it adds source addresses when one has too few ports: a closed
// connection's port rests for a while.
func checkLimits(o *workload.Options, viewers, connections int) error {
	if err := checkDescriptors(viewers, o.Rooms, maxDescriptors()); err != nil {
		return err
	}
	return checkPorts(o, viewers, connections, readPorts())
}

// MaxViewers returns how many viewers of one room this process has descriptors for.
func MaxViewers() int { return maxDescriptors() - 1 - spareFDs }

// maxDescriptors returns the limit of this process, which the Go runtime has
// raised as far as it may.
func maxDescriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what systems have allowed for decades
	}
	return int(min(limit.Cur, 1<<30))
}

// checkDescriptors needs a descriptor for each viewer and host.
func checkDescriptors(viewers, rooms, limit int) error {
	need := viewers + rooms + spareFDs
	if need <= limit {
		return nil
	}
	return workload.Refuse("%d viewers need %d descriptors, the limit of this process is %d: %d viewers would fit; raise it (ulimit -n), or start several benches and merge their results",
		viewers, need, limit, max(limit-rooms-spareFDs, 0))
}

// readPorts returns how many local ports there are for each pair of addresses.
func readPorts() int {
	from, to := 32768, 60999 // the kernel's default
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(data), &from, &to) // unreadable: the default stands
	}
	return to - from + 1
}

// checkPorts needs a port for each viewer and host on some source address. On
// loopback there are addresses enough for all connections to find one easily.
func checkPorts(o *workload.Options, viewers, connections, ports int) error {
	if len(o.Sources) == 0 && onLoopback(o.URL) {
		easy := int(float64(ports) * easyPorts)
		for i := 0; connections > easy && i*easy < connections; i++ {
			o.Sources = append(o.Sources, netip.AddrFrom4([4]byte{127, 0, byte(1 + i/250), byte(1 + i%250)}).String())
		}
		return nil
	}
	usable := int(float64(ports)*usablePorts) * max(len(o.Sources), 1)
	if viewers+o.Rooms <= usable {
		return nil
	}
	return workload.Refuse("%d viewers need more local ports than the %d of %d source address(es): %d viewers would fit; give more addresses with --source, or widen net.ipv4.ip_local_port_range",
		viewers, ports, max(len(o.Sources), 1), max(usable-o.Rooms, 0))
}

// onLoopback reports whether a URL leads to an IPv4 address that can be reached
// from all of 127.0.0.0/8.
func onLoopback(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.Is4() && addr.IsLoopback()
}
