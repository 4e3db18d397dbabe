package bench

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"syscall"
)

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
// fit. connections is how many are made in the run. On loopback it adds source addresses when one has too few ports.
func checkLimits(o *Options, connections int) error {
	if err := checkDescriptors(*o, maxDescriptors()); err != nil {
		return err
	}
	return checkPorts(o, connections, readPorts())
}

// connections returns how many connections a scenario makes, one after the
// other: a closed one's port rests for a while.
func connections(s Scenario, o Options) int {
	switch s := s.(type) {
	case Storm:
		return o.Viewers * (1 + s.Again)
	case Saturate:
		return o.Viewers * (1 + lowerings)
	default:
		return o.Viewers
	}
}

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
func checkDescriptors(o Options, limit int) error {
	need := o.Viewers + o.Rooms + spareFDs
	if need <= limit {
		return nil
	}
	fit := max(limit-o.Rooms-spareFDs, 0)
	return refuse("%d viewers need %d descriptors, the limit of this process is %d: %d viewers would fit; raise it (ulimit -n), or start several benches and merge their results",
		o.Viewers, need, limit, fit)
}

// readPorts returns how many local ports there are for each pair of addresses.
func readPorts() int {
	from, to := 32768, 60999 // the kernel's default
	if data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(data), &from, &to) // unreadable: the default stands
	}
	return to - from + 1
}

// checkPorts needs a port for each connection on every source address.
func checkPorts(o *Options, connections, ports int) error {
	need := connections + o.Rooms
	if len(o.Sources) == 0 && onLoopback(o.URL) {
		easy := int(float64(ports) * easyPorts)
		for i := 0; need > easy && i*easy < need; i++ {
			o.Sources = append(o.Sources, netip.AddrFrom4([4]byte{127, 0, byte(1 + i/250), byte(1 + i%250)}).String())
		}
		return nil
	}
	usable := int(float64(ports) * usablePorts)
	sources := max(len(o.Sources), 1)
	if need <= usable*sources {
		return nil
	}
	return refuse("%d connections need more local ports than the %d of %d source address(es): %d would fit; give more addresses with --source, or widen net.ipv4.ip_local_port_range",
		connections, ports, sources, max(usable*sources-o.Rooms, 0))
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
