// Package attempts bounds how fast rooms' codes, secrets, tokens and keys can be
// guessed: it counts wrong ones in constant memory, by a count-min sketch.
package attempts

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lectern/hub/address"
	"lectern/hub/roomcode"
)

// Limits on wrong guesses, per minute. A bucket holds a minute's worth of them
// and then leaks at the limit's rate.
const (
	// MaxWrongCodes is the limit for one address, or one /64 of IPv6. Below it
	// a wrong code has no consequence: 2,000 people who join from one school
	// and sometimes mistype stay below. Wider networks of IPv6 have higher
	// limits because many customers share them.
	MaxWrongCodes   = 500
	maxWrongCodes48 = 1_000
	maxWrongCodes32 = 20_000

	// The same limits for codes of six hexadecimal digits (Config.HexCodes).
	// Beyond them no client joins from the address by a code alone.
	maxWrongHex   = 20
	maxWrongHex48 = 40
	maxWrongHex32 = 800

	// MaxWrongProofs is the limit for wrong secrets and tokens of one room from
	// one address, and for wrong keys from one address.
	MaxWrongProofs = 20

	// MaxWrongSecrets is the limit for wrong secrets of one room from all
	// addresses. Beyond it the relay checks no secrets from addresses that are
	// beyond their own limit. It is low because people choose secrets that can
	// be guessed: with 18,000 guesses an hour, finding a secret of six random
	// letters and digits takes some 10^5 hours.
	MaxWrongSecrets = 300

	guessDepth = time.Minute
)

// MaxSearched is how many wrong codes a second the relay looks at, in total,
// from addresses that are beyond their limits. Together with 30,500 an hour
// from each of 1,000 addresses within their limits, that is 74 million codes an
// hour. They find one of 100 rooms among 2^40 codes with a probability of
// 0.7 %.
const (
	MaxSearched = 12_000
	searchDepth = time.Second
	searchDrop  = searchDepth / MaxSearched
)

// Kinds of keys in the sketches.
const (
	kindCode   = iota + 1 // wrong codes from a network
	kindProof             // wrong secrets and tokens of a room from one customer
	kindSecret            // wrong secrets of a room from all addresses
	kindKey               // wrong keys from one customer
)

// A Table counts wrong guesses. The zero value is ready to use. Methods may be
// called from any goroutine. Times are since some fixed moment.
type Table struct {
	searched atomic.Int64 // atomic, written under mu; a leaky bucket of wrong codes from addresses beyond their limits

	mu     sync.Mutex
	codes  sketch // guarded by mu
	proofs sketch // guarded by mu
	latest latest // guarded by mu
}

// A network is a network that wrong codes count for, with its limit.
type network struct {
	prefix netip.Prefix
	limit  int
}

// networks are the networks that wrong codes from an address count for, the
// narrowest first. An entry with a limit of 0 is unused.
type networks [3]network

func networksOf(from netip.Addr, hexadecimal bool) (all networks) {
	limits := [...]int{MaxWrongCodes, maxWrongCodes48, maxWrongCodes32}
	if hexadecimal {
		limits = [...]int{maxWrongHex, maxWrongHex48, maxWrongHex32}
	}
	all[0] = network{address.Customer(from), limits[0]}
	if from = from.Unmap(); from.Is6() {
		all[1], all[2] = network{address.Within(from, 48), limits[1]}, network{address.Within(from, 32), limits[2]}
	}
	return all
}

// drop returns what one wrong code adds to the network's bucket.
func (n network) drop() time.Duration { return guessDepth / time.Duration(n.limit) }

// placesLocked returns the buckets of the networks, whether one of them is
// full, and how long that lasts.
func (a *Table) placesLocked(all networks, now time.Duration) (at [3]sketchPlace, over bool, wait time.Duration) {
	for i, n := range all {
		if n.limit == 0 {
			break
		}
		at[i] = a.codes.place(Key{kind: kindCode, from: n.prefix})
		full, left := at[i].read().full(n.drop(), guessDepth, now)
		over, wait = over || full, max(wait, left)
	}
	return at, over, wait
}

// Over reports whether an address is beyond its limit of wrong codes of eight
// characters.
func (a *Table) Over(from netip.Addr, now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, over, _ := a.placesLocked(networksOf(from, false), now)
	return over
}

// Capped reports whether the relay has looked at MaxSearched codes from
// addresses beyond their limits, and how long that lasts.
func (a *Table) Capped(now time.Duration) (full bool, wait time.Duration) {
	return leaky(a.searched.Load()).full(searchDrop, searchDepth, now)
}

// HalfCapped reports whether more than half of MaxSearched is used up.
func (a *Table) HalfCapped(now time.Duration) bool {
	return leaky(a.searched.Load()).level(now) >= searchDepth/2
}

// Shut reports whether the relay looks at no codes from an address for now, and
// how long that lasts.
func (a *Table) Shut(from netip.Addr, hexadecimal bool, now time.Duration) (yes bool, wait time.Duration) {
	full, pause := a.Capped(now)
	if !hexadecimal && !full {
		return false, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.codes.rows == nil {
		return false, 0 // nobody has sent a wrong code yet
	}
	_, over, wait := a.placesLocked(networksOf(from, hexadecimal), now)
	if !hexadecimal {
		wait = pause
	}
	return over, wait
}

// WrongCode counts a code that no room has. The same code from the same address
// counts once a minute. It reports whether the address is beyond its limit.
func (a *Table) WrongCode(from netip.Addr, c roomcode.Code, hexadecimal bool, now time.Duration) (over bool) {
	all := networksOf(from, hexadecimal)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest.again(all[0].prefix, c, now) {
		return false
	}
	at, over, _ := a.placesLocked(all, now)
	if over {
		// Do not count it for the networks, or a flood from one customer would
		// use up its neighbours' share.
		a.searched.Store(int64(leaky(a.searched.Load()).add(searchDrop, now)))
		return true
	}
	for i, n := range all {
		if n.limit > 0 {
			at[i].add(n.drop(), now)
		}
	}
	return false
}

const proofDrop = guessDepth / MaxWrongProofs

// WrongProof counts a wrong secret, token or key. It reports whether the limit
// was reached before.
func (a *Table) WrongProof(of Key, now time.Duration) (over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.proofs.place(of)
	if over, _ = at.read().full(proofDrop, guessDepth, now); !over {
		at.add(proofDrop, now)
	}
	return over
}

// TooManyProofs reports whether the limit of wrong secrets, tokens or keys is
// reached.
func (a *Table) TooManyProofs(of Key, now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	full, _ := a.proofs.read(of).full(proofDrop, guessDepth, now)
	return full
}

const secretDrop = guessDepth / MaxWrongSecrets

// WrongSecret counts a wrong secret for its room.
func (a *Table) WrongSecret(room roomcode.Code, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.proofs.place(Key{kind: kindSecret, room: room})
	if full, _ := at.read().full(secretDrop, guessDepth, now); !full {
		at.add(secretDrop, now)
	}
}

// SecretsShut reports whether the relay checks no secrets of a room from an
// address for now, and how long that lasts.
func (a *Table) SecretsShut(from netip.Addr, room roomcode.Code, now time.Duration) (yes bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if over, _ := a.proofs.read(ProofsOf(from, room)).full(proofDrop, guessDepth, now); !over {
		return false, 0
	}
	return a.proofs.read(Key{kind: kindSecret, room: room}).full(secretDrop, guessDepth, now)
}

// ProofsOf returns the key of a room's wrong secrets and tokens from an
// address.
func ProofsOf(from netip.Addr, room roomcode.Code) Key {
	return Key{kind: kindProof, from: address.Customer(from), room: room}
}

// KeysOf returns the key of the wrong keys from an address.
func KeysOf(from netip.Addr) Key { return Key{kind: kindKey, from: address.Customer(from)} }

// latestSets and latestWays bound how many wrong codes are remembered: 4,096 in
// 64 KiB.
const (
	latestSets = 1024
	latestWays = 4
)

// latest remembers wrong codes for a minute. A code that a whole class types,
// or that a client retries, counts once for its address. A code that others
// have pushed out of the table counts again.
type latest struct {
	seed maphash.Seed
	sets *[latestSets][latestWays]wrongOnce // nil until the first wrong code; each set has its latest first
}

type wrongOnce struct {
	print uint64 // hash of the network and the code
	until time.Duration
}

// again remembers a wrong code, and reports whether it was remembered within
// the last minute.
func (l *latest) again(from netip.Prefix, c roomcode.Code, now time.Duration) bool {
	if l.sets == nil {
		l.seed, l.sets = maphash.MakeSeed(), new([latestSets][latestWays]wrongOnce)
	}
	addr := from.Addr().As16()
	print := maphash.Bytes(l.seed, append(append(make([]byte, 0, 32), addr[:]...), c[:]...))
	set := &l.sets[print%latestSets]
	for _, w := range set {
		if w.print == print && now < w.until {
			return true
		}
	}
	copy(set[1:], set[:])
	set[0] = wrongOnce{print, now + guessDepth}
	return false
}
