package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// An Origin is the Origin header of a page that may connect, or "*" for any.
type Origin string

// UnmarshalText refuses what no browser sends: origins are compared as a whole.
func (o *Origin) UnmarshalText(text []byte) error {
	origin := string(text)
	if origin != "*" {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Hostname() == "" || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) || strings.HasSuffix(u.Host, ":") {
			return fmt.Errorf("%q is no origin: it must be like https://example.org or http://localhost:3000, without a path, or *", origin)
		}
		if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
			return fmt.Errorf("%q has the port that %s has anyway: browsers leave it out", origin, u.Scheme)
		}
	}
	*o = Origin(origin)
	return nil
}

// A Network holds the addresses of proxies whose X-Forwarded-For is believed. The zero
// Network is those that connect through a Unix-domain socket.
type Network netip.Prefix

// unixNetwork is how the zero Network is written.
const unixNetwork = "unix"

// IsUnix reports whether the network is the proxies at a Unix-domain socket.
func (p Network) IsUnix() bool { return !netip.Prefix(p).IsValid() }

// UnmarshalText takes a CIDR, a single address, or unix.
func (p *Network) UnmarshalText(text []byte) error {
	if string(text) == unixNetwork {
		*p = Network{}
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		address, noAddress := netip.ParseAddr(string(text))
		if noAddress != nil || address.Zone() != "" {
			return fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8, nor unix", text)
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return fmt.Errorf("%q is more than the IPv4 addresses: write it as IPv4", text)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	*p = Network(prefix.Masked())
	return nil
}

// MarshalText returns what UnmarshalText takes.
func (p Network) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Network) String() string {
	prefix := netip.Prefix(p)
	if p.IsUnix() {
		return unixNetwork
	}
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}

// A MemorySize is a number of bytes; 0 means that the relay finds out by itself.
type MemorySize int64

// minMemory is the least memory that a relay can work with.
const minMemory = 64 << 20

const autoMemory = "auto"

// UnmarshalText takes a size like 512MB or 1GiB, or auto.
func (m *MemorySize) UnmarshalText(text []byte) error {
	if string(text) == autoMemory {
		*m = 0
		return nil
	}
	bytes, err := humanize.ParseBytes(string(text))
	if err != nil || bytes > math.MaxInt64 {
		return fmt.Errorf("%q is no size: it must be like 512MB or 1GiB, or auto", text)
	}
	if bytes < minMemory {
		return fmt.Errorf("%q is too little: the relay needs 64MiB", text)
	}
	*m = MemorySize(bytes)
	return nil
}

func (m MemorySize) String() string {
	if m == 0 {
		return autoMemory
	}
	return strconv.FormatInt(int64(m), 10) + "B"
}

// A LogLevel is the least important level that is logged.
type LogLevel slog.Level

// UnmarshalText takes the name of a level, in upper or lower case.
func (l *LogLevel) UnmarshalText(text []byte) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(string(text), level.String()) {
			*l = LogLevel(level)
			return nil
		}
	}
	return errors.New("must be debug, info, warn or error")
}

func (l LogLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// A Hostname is a name that the admin address answers to, in lower case.
type Hostname string

// maxHostname bounds a host's name, in bytes (RFC 1035 2.3.4).
const maxHostname = 253

// UnmarshalText refuses what cannot be the name in a Host header. A port is not
// part of the name.
func (h *Hostname) UnmarshalText(text []byte) error {
	name := strings.ToLower(string(text))
	isNoLetter := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-._", c)
	}
	switch {
	case len(name) > maxHostname:
		return fmt.Errorf("a host's name has at most %d bytes", maxHostname)
	case name == "" || strings.Trim(name, ".") != name || strings.ContainsFunc(name, isNoLetter):
		return fmt.Errorf("%q is no host's name: it must be like lectern.example.org, without a port", text)
	}
	*h = Hostname(name)
	return nil
}

// A FileMode is the mode of a file, without its type.
type FileMode os.FileMode

// UnmarshalText takes an octal number of three digits, which may follow a zero.
func (m *FileMode) UnmarshalText(text []byte) error {
	bits, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || bits > 0o777 {
		return fmt.Errorf("%q is no mode: it must be like 0660", text)
	}
	*m = FileMode(bits)
	return nil
}

func (m FileMode) String() string { return fmt.Sprintf("%#04o", uint32(m)) }
