package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// A webOrigin is what browsers send as Origin, or "*" for any.
type webOrigin string

// UnmarshalText refuses what no browser sends: the hub compares it as a whole.
func (o *webOrigin) UnmarshalText(text []byte) error {
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
	*o = webOrigin(origin)
	return nil
}

// A trustedPeer is a network whose X-Forwarded-For is believed.
type trustedPeer netip.Prefix

// UnmarshalText takes a network, or an address alone.
func (p *trustedPeer) UnmarshalText(text []byte) error {
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		address, noAddress := netip.ParseAddr(string(text))
		if noAddress != nil || address.Zone() != "" {
			return fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", text)
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return fmt.Errorf("%q is more than the IPv4 addresses: write it as IPv4", text)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	*p = trustedPeer(prefix.Masked())
	return nil
}

// MarshalText returns what UnmarshalText takes.
func (p trustedPeer) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p trustedPeer) String() string {
	prefix := netip.Prefix(p)
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}

// A memorySize is a number of bytes, 0 for what the relay finds out by itself.
type memorySize int64

// minMemory is the least that a relay can work with.
const minMemory = 64 << 20

const autoMemory = "auto"

// UnmarshalText takes a size like 512MB or 1GiB, or auto.
func (m *memorySize) UnmarshalText(text []byte) error {
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
	*m = memorySize(bytes)
	return nil
}

func (m memorySize) String() string {
	if m == 0 {
		return autoMemory
	}
	return strconv.FormatInt(int64(m), 10) + "B"
}

// A logLevel is one of the four levels.
type logLevel slog.Level

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// UnmarshalText takes a level's name, in upper or lower case.
func (l *logLevel) UnmarshalText(text []byte) error {
	level, ok := logLevels[strings.ToLower(string(text))]
	if !ok {
		return errors.New("must be debug, info, warn or error")
	}
	*l = logLevel(level)
	return nil
}

func (l logLevel) String() string { return strings.ToLower(slog.Level(l).String()) }
