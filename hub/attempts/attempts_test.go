package attempts

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"lectern/hub/address"
	"lectern/hub/roomcode"
)

// TestNobodyGuessesARoom has attackers guess for an hour at the rate at which
// the relay looks at codes, and computes the probability that they find any of
// 100 rooms.
func TestNobodyGuessesARoom(t *testing.T) {
	const rooms, codes = 100, 1 << 40
	for name, from := range map[string]func(n int) netip.Addr{
		"1,000 addresses of IPv4": func(n int) netip.Addr {
			return netip.AddrFrom4([4]byte{203, 0, byte(n % 1000 >> 8), byte(n % 1000)})
		},
		"a /32 of IPv6": func(n int) netip.Addr { // each guess from another /64, and from another /48 most times
			return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n), byte(n >> 16), byte(n >> 24), 0, 0, 0, 0, 0, 0, 0, 1})
		},
		"one /48 of IPv6": func(n int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, byte(n >> 8), byte(n), 15: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a Table
			n := 0
			// guess returns how many codes are looked at until a time.
			guess := func(now, until time.Duration) (looked int) {
				for ; now < until; now += 100 * time.Millisecond {
					for refused := 0; refused < 1000; n++ { // in turns from as many addresses
						if shut, _ := a.Shut(from(n), false, now); shut {
							refused++
							continue
						}
						looked, refused = looked+1, 0
						a.WrongCode(from(n), numberedCode(uint64(n)), false, now)
					}
				}
				return looked
			}
			// In the first moments the buckets are filled; all others are like the second.
			const moments, moment = 300, 12 * time.Second
			first, second := guess(0, moment), guess(moment, 2*moment)
			all := first + (moments-1)*second
			likely := 1 - math.Pow(1-rooms/float64(codes), float64(all))
			t.Logf("%d codes are looked at in an hour: a room is found with a probability of %.2f %%", all, 100*likely)
			if likely > 0.01 {
				t.Error("that is more than 1 %")
			}
			if second < MaxSearched*11 {
				t.Errorf("only %d were looked at in 12 s: the attacker was not fast enough", second)
			}
		})
	}
}

// TestNothingFlushesTheCounts sends wrong tokens for rooms of the attacker's
// own. With an earlier table, that evicted the attacker's entry.
func TestNothingFlushesTheCounts(t *testing.T) {
	for _, hexadecimal := range []bool{false, true} {
		var a Table
		school := netip.MustParseAddr("198.51.100.7")
		limit := MaxWrongCodes
		if hexadecimal {
			limit = maxWrongHex
		}
		for i := range limit {
			if a.WrongCode(school, numberedCode(uint64(i)), hexadecimal, 0) {
				t.Fatalf("wrong code %d is beyond the limit", i)
			}
		}
		for i := range MaxWrongProofs {
			if a.WrongProof(ProofsOf(school, numberedCode(1)), 0) {
				t.Fatalf("wrong token %d is beyond the limit", i)
			}
		}
		for i := range 200_000 {
			a.WrongProof(ProofsOf(school, numberedCode(uint64(i))), 0)
			a.WrongProof(ProofsOf(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), numberedCode(2)), 0)
			a.WrongCode(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), numberedCode(uint64(i)), hexadecimal, 0)
		}
		if !a.WrongProof(ProofsOf(school, numberedCode(1)), 0) {
			t.Error("wrong tokens of the address are forgotten")
		}
		if !a.WrongCode(school, numberedCode(1<<30), hexadecimal, 0) {
			t.Error("wrong codes of the address are forgotten")
		}
	}
}

// TestWhoGuessesALotHardlyCountsForOthers checks that buckets are shared so
// rarely that honest addresses do not look like guessers while 1,000 others
// guess.
func TestWhoGuessesALotHardlyCountsForOthers(t *testing.T) {
	var a Table
	for guesser := range 1000 {
		for n := range MaxWrongCodes {
			a.WrongCode(netip.AddrFrom4([4]byte{10, 0, byte(guesser >> 8), byte(guesser)}), numberedCode(uint64(n)), false, 0)
		}
	}
	taken := 0
	for i := range 10_000 {
		if a.Over(netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), 0) {
			taken++
		}
	}
	if taken > 10 { // 1,000 of 32,768 buckets in each of four rows: one in a million
		t.Errorf("%d of 10,000 are taken for guessers", taken)
	}
}

func TestASketchCountsAtLeastWhatFalls(t *testing.T) {
	var k sketch
	random := rand.New(rand.NewPCG(3, 4))
	true_ := make(map[Key]leaky)
	now := time.Duration(0)
	for range 50_000 {
		now += time.Duration(random.Int64N(int64(time.Millisecond)))
		of := Key{kind: byte(random.IntN(3)), from: address.Customer(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(200))})), room: numberedCode(random.Uint64N(20))}
		drop := time.Duration(random.Int64N(int64(time.Second)))
		true_[of] = true_[of].add(drop, now)
		k.place(of).add(drop, now)
		if got := k.read(of); got < true_[of] {
			t.Fatalf("a bucket is empty at %v, it should be at %v", got, true_[of])
		}
	}
}

// numberedCode returns a code that stands for a number.
func numberedCode(n uint64) (c roomcode.Code) {
	for i := range c {
		c[i] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[n%32]
		n /= 32
	}
	return c
}
