package engine

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"syscall"

	"lectern/bench/workload"
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
