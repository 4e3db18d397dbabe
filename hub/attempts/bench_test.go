package attempts

import (
	"net/netip"
	"testing"
	"time"
)

// BenchmarkGuess is what a wrong code costs besides its lookup, from addresses of
// IPv6, which count three times.
func BenchmarkGuess(b *testing.B) {
	var a Table
	for n := 0; b.Loop(); n++ {
		from := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n), 15: 1})
		a.WrongCode(from, numberedCode(uint64(n)), false, time.Duration(n)*time.Millisecond)
	}
}
