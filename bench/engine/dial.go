package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"lectern/bench/workload"

	"golang.org/x/sys/unix"
)

// A target is where connections go, and from which local addresses.
type target struct {
	addr    netip.AddrPort
	sources []netip.Addr // used in turns; none: the system chooses
}

// resolveLimit bounds the look-up of the server's name.
const resolveLimit = 10 * time.Second

// resolve looks up the server, once for all connections.
func resolve(u *url.URL, o workload.Options) (target, error) {
	port := 80
	if u.Scheme == "wss" {
		port = 443
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return target{}, workload.Refuse("the port %q", text)
		}
		port = int(n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveLimit)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return target{}, fmt.Errorf("look up the server: %w", err)
	}
	t := target{addr: netip.AddrPortFrom(addrs[0].Unmap(), uint16(port))}
	for _, a := range addrs {
		if a.Unmap().Is4() { // like most clients, the older protocol first: its addresses are the ones people give
			t.addr = netip.AddrPortFrom(a.Unmap(), uint16(port))
			break
		}
	}
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
