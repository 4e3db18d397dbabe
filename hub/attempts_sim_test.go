package hub

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Simulations of guessers, and of people who only mistype, in memory and on a
// simulated clock.

// A pupil joins a room, perhaps after mistyping its code twice.
type pupil struct {
	*peer
	asks  time.Duration // when it types the code next
	wrong int           // how often it mistypes yet
	since time.Duration // when it typed the right code
	took  time.Duration // until it was let in
	done  bool
}

// TestASchoolBesideAGuesser has 2,000 people join from one address while a
// guesser there sends codes faster than the relay looks at them, on all
// connections that the address has left. Each joins within a second, and none
// is refused.
func TestASchoolBesideAGuesser(t *testing.T) {
	const (
		pupils  = 2_000
		guesses = 14_000 // a second, more than maxSearched
		step    = 10 * time.Millisecond
		within  = 4 * time.Second // the rush of a minute
		rest    = 5 * time.Second // for people who mistype at its end
		school  = "198.51.100.7"
	)
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{MaxViewers: pupils})
		_, room := r.opens(0, "")
		random := rand.New(rand.NewPCG(1, 2))
		class := make([]*pupil, pupils)
		for i := range class {
			class[i] = &pupil{asks: time.Duration(random.Int64N(int64(within)))}
			if i%10 == 0 {
				class[i].wrong = 2
			}
		}
		var guessing []*peer
		looked, tried, waited := 0, 0, 0
		for now := time.Duration(0); now < within+rest; now += step {
			r.sleep(step)
			still := guessing[:0]
			for _, p := range guessing {
				if len(p.wire) == 0 {
					still = append(still, p) // the relay has not looked yet
					continue
				}
				looked++
				p.reset()
			}
			guessing = still
			for range int(guesses * step / time.Second) {
				if r.hub.addresses.connected(school) >= r.hub.Config().MaxConnectionsPerAddress-pupils {
					break
				}
				p := r.visitor(school)
				code := numberedCode(uint64(tried)).String()
				p.say([...]string{
					`{"type":"join","code":"` + code + `"}`, `{"type":"join","code":"` + code + `-x"}`,
					`{"type":"join","code":"` + code + `","token":"x"}`, `{"type":"resume","code":"` + code + `","token":"x"}`,
				}[tried%4])
				tried++
				guessing = append(guessing, p)
			}
			for _, p := range class {
				p.live(t, r, school, room.Code, now)
			}
			waited = max(waited, len(guessing))
		}
		worst := time.Duration(0)
		for i, p := range class {
			if !p.done {
				t.Fatalf("pupil %d was not let in", i)
			}
			worst = max(worst, p.took)
		}
		t.Logf("the last was let in %v after asking; %d codes tried, %d looked at, %d waited at once", worst, tried, looked, waited)
		if worst > time.Second {
			t.Errorf("one had to wait for %v", worst)
		}
		if most := maxSearched * int(within+rest+time.Second) / int(time.Second); looked > most+maxWrongCodes*2 {
			t.Errorf("%d wrong codes were looked at, at most %d may be", looked, most)
		}
		if waited < 1000 {
			t.Errorf("only %d guesses waited at once: the guesser was not too fast", waited)
		}
	})
}

// live has a pupil do what is due. One whose connection was closed because it
// mistyped connects again.
func (p *pupil) live(t *testing.T, r *testRelay, from, code string, now time.Duration) {
	if p.done || now < p.asks {
		return
	}
	if p.peer != nil {
		all := p.frames()
		if len(all) == 0 {
			return // it waits for its answer
		}
		switch {
		case strings.HasPrefix(all[0], `{"type":"joined"`):
			p.took, p.done = now-p.since, true
			return
		case p.wrong == 0 || !strings.HasPrefix(all[0], `{"type":"error","error":"room_not_found"`):
			t.Fatalf("a pupil heard %q", all)
		}
		p.wrong--
		p.reset()
		p.peer, p.asks = nil, now+time.Second
		return
	}
	p.peer = r.visitor(from)
	if p.wrong > 0 {
		code = "0000-0000"
	}
	p.since = now
	p.say(`{"type":"join","code":"` + code + `"}`)
}

// connected returns how many connections there are from an address.
func (a *addresses) connected(from string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.entries[a.index[customer(netip.MustParseAddr(from))]].connections)
}

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
			var a attempts
			n := 0
			// guess returns how many codes are looked at until a time.
			guess := func(now, until time.Duration) (looked int) {
				for ; now < until; now += 100 * time.Millisecond {
					for refused := 0; refused < 1000; n++ { // in turns from as many addresses
						if shut, _ := a.shut(from(n), false, now); shut {
							refused++
							continue
						}
						looked, refused = looked+1, 0
						a.wrongCode(from(n), numberedCode(uint64(n)), false, now)
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
			if second < maxSearched*11 {
				t.Errorf("only %d were looked at in 12 s: the attacker was not fast enough", second)
			}
		})
	}
}

// TestNothingFlushesTheCounts sends wrong tokens for rooms of the attacker's
// own. With an earlier table, that evicted the attacker's entry.
func TestNothingFlushesTheCounts(t *testing.T) {
	for _, hexadecimal := range []bool{false, true} {
		var a attempts
		school := netip.MustParseAddr("198.51.100.7")
		limit := maxWrongCodes
		if hexadecimal {
			limit = maxWrongHex
		}
		for i := range limit {
			if a.wrongCode(school, numberedCode(uint64(i)), hexadecimal, 0) {
				t.Fatalf("wrong code %d is beyond the limit", i)
			}
		}
		for i := range maxWrongProofs {
			if a.wrongProof(proofsOf(school, numberedCode(1)), 0) {
				t.Fatalf("wrong token %d is beyond the limit", i)
			}
		}
		for i := range 200_000 {
			a.wrongProof(proofsOf(school, numberedCode(uint64(i))), 0)
			a.wrongProof(proofsOf(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), numberedCode(2)), 0)
			a.wrongCode(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), numberedCode(uint64(i)), hexadecimal, 0)
		}
		if !a.wrongProof(proofsOf(school, numberedCode(1)), 0) {
			t.Error("wrong tokens of the address are forgotten")
		}
		if !a.wrongCode(school, numberedCode(1<<30), hexadecimal, 0) {
			t.Error("wrong codes of the address are forgotten")
		}
	}
}

// TestWhoGuessesALotHardlyCountsForOthers checks that buckets are shared so
// rarely that honest addresses do not look like guessers while 1,000 others
// guess.
func TestWhoGuessesALotHardlyCountsForOthers(t *testing.T) {
	var a attempts
	for guesser := range 1000 {
		for n := range maxWrongCodes {
			a.wrongCode(netip.AddrFrom4([4]byte{10, 0, byte(guesser >> 8), byte(guesser)}), numberedCode(uint64(n)), false, 0)
		}
	}
	taken := 0
	for i := range 10_000 {
		if a.over(netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), 0) {
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
	true_ := make(map[key]leaky)
	now := time.Duration(0)
	for range 50_000 {
		now += time.Duration(random.Int64N(int64(time.Millisecond)))
		of := key{kind: byte(random.IntN(3)), from: customer(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(200))})), room: numberedCode(random.Uint64N(20))}
		drop := time.Duration(random.Int64N(int64(time.Second)))
		true_[of] = true_[of].add(drop, now)
		k.place(of).add(drop, now)
		if got := k.read(of); got < true_[of] {
			t.Fatalf("a bucket is empty at %v, it should be at %v", got, true_[of])
		}
	}
}

// TestSecretsOfARoomHaveACap checks that beyond the cap the relay checks no
// secret from an address that is beyond its own limit, and every secret from
// the others.
func TestSecretsOfARoomHaveACap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, `,"secret":"right"`)
		_, me := r.enters(0, room.Code, `,"secret":"right"`)
		const wrong, right = `{"type":"join","code":"%s","secret":"wrong"}`, `{"type":"join","code":"%s","secret":"right"}`
		for i := range maxWrongSecrets {
			from := fmt.Sprintf("198.51.100.%d", i/maxWrongProofs)
			r.visitor(from).fails("wrong_secret", wrong, room.Code)
		}
		for _, text := range []string{wrong, right} {
			if e := r.visitor("198.51.100.3").fails("too_many_attempts", text, room.Code); e.RetryMS < 200 || e.RetryMS > 1300 {
				t.Errorf("heard %s", e.text)
			}
		}
		r.visitor("198.51.100.3").gets("joined", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
		r.visitor("192.0.2.9").fails("wrong_secret", wrong, room.Code)
		r.visitor("192.0.2.9").gets("joined", right, room.Code)
		r.sleep(time.Minute / maxWrongSecrets)
		r.visitor("198.51.100.3").gets("joined", right, room.Code)
	})
}

// TestACodeMayCarryTheSecret joins with code and secret in one field.
func TestACodeMayCarryTheSecret(t *testing.T) {
	for _, hexadecimal := range []bool{false, true} {
		r := newTestRelay(t, 1, Config{HexCodes: hexadecimal})
		_, room := r.opens(0, `,"secret":"ge-heim"`)
		_, open := r.opens(0, "")
		r.dial(0).gets("joined", `{"type":"join","code":"%s-ge-heim"}`, room.Code)
		r.dial(0).gets("joined", `{"type":"join","code":"%s-ge-heim"}`, strings.ToLower(strings.ReplaceAll(room.Code, "-", "")))
		r.dial(0).fails("wrong_secret", `{"type":"join","code":"%s-ge-heimnis"}`, room.Code)
		r.dial(0).fails("secret_required", `{"type":"join","code":"%s-"}`, room.Code)
		r.dial(0).gets("joined", `{"type":"join","code":"%s-wrong","secret":"ge-heim"}`, room.Code)
		r.dial(0).fails("wrong_secret", `{"type":"join","code":"%s-ge-heim","secret":"wrong"}`, room.Code)
		r.dial(0).gets("joined", `{"type":"join","code":"%s-whatever"}`, open.Code)
	}
}
