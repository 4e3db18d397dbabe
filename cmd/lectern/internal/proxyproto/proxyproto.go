// Package proxyproto reads the header of the PROXY protocol, version 2, with which a
// proxy says for whom it connects. It does no I/O, and does not read version 1.
//
//	12 bytes  signature
//	 4 bits   version, 2
//	 4 bits   command: 0 LOCAL, the proxy itself; 1 PROXY, for a client
//	 4 bits   family: 0 unspecified, 1 IPv4, 2 IPv6, 3 Unix
//	 4 bits   transport: 0 unspecified, 1 stream, 2 datagram
//	 2 bytes  length of what follows: addresses and ports, and extensions
package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// MaxHeader bounds a header, in bytes. It is the least that the specification has every
// receiver take.
const MaxHeader = 536

// The errors of a header.
var (
	ErrSignature = errors.New("proxyproto: the connection does not begin with a header of version 2")
	ErrVersion   = errors.New("proxyproto: unknown version or command")
	ErrFamily    = errors.New("proxyproto: unknown address family, or no stream")
	ErrLength    = errors.New("proxyproto: wrong length")
)

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	fixed     = len(signature) + 4 // bytes before the addresses

	version = 2
	local   = 0
	proxy   = 1

	stream = 1
)

// families are the address families by their number, with the bytes that the addresses
// and ports of both ends take.
var families = []struct{ address, both int }{
	0: {0, 0}, // unspecified
	1: {4, 12},
	2: {16, 36},
	3: {0, 216}, // Unix
}

// Parse reads a header at the beginning of b. It returns the client's address, and how
// many bytes the header has. The address is invalid if the proxy connects for itself, or
// for a client that has none. With fewer bytes than the header has, size is 0 and the
// error nil, unless no header can begin so.
func Parse(b []byte) (client netip.Addr, size int, err error) {
	n := min(len(b), len(signature))
	if string(b[:n]) != signature[:n] {
		return netip.Addr{}, 0, ErrSignature
	}
	if len(b) > 12 && (b[12]>>4 != version || b[12]&15 > proxy) {
		return netip.Addr{}, 0, fmt.Errorf("%w: %#02x", ErrVersion, b[12])
	}
	if len(b) < fixed {
		return netip.Addr{}, 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[14:]))
	if fixed+length > MaxHeader {
		return netip.Addr{}, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrLength, fixed+length, MaxHeader)
	}
	family, transport := int(b[13]>>4), b[13]&15
	from := 0
	if b[12]&15 == proxy && b[13] != 0 {
		if family == 0 || family >= len(families) || transport != stream {
			return netip.Addr{}, 0, fmt.Errorf("%w: %#02x", ErrFamily, b[13])
		}
		if length < families[family].both {
			return netip.Addr{}, 0, fmt.Errorf("%w: %d bytes for addresses of %d", ErrLength, length, families[family].both)
		}
		from = families[family].address
	}
	if len(b) < fixed+length {
		return netip.Addr{}, 0, nil
	}
	client, _ = netip.AddrFromSlice(b[fixed : fixed+from]) // invalid for no bytes
	return client.Unmap(), fixed + length, nil
}
