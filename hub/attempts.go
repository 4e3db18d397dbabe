package hub

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what may be guessed, in wrong ones a minute. A bucket of each holds
// a minute's worth, and then leaks as many a minute.
const (
	// maxWrongCodes is for one address or /64 of IPv6. Within it a wrong code has no
	// consequence: 2,000 who join from one school and mistype now and then stay
	// below. Wider networks of IPv6 may have more, because many customers share them.
	maxWrongCodes   = 500
	maxWrongCodes48 = 1_000
	maxWrongCodes32 = 20_000

	// The same for codes of six hexadecimal digits (Config.HexCodes). Beyond it
	// nobody gets in by a code alone.
	maxWrongHex   = 20
	maxWrongHex48 = 40
	maxWrongHex32 = 800

	// maxWrongProofs is for wrong secrets and tokens of one room from one address,
	// and for wrong keys from one address.
	maxWrongProofs = 20

	// maxWrongSecrets is for the wrong secrets of one room, wherever they come from.
	// Beyond it the relay looks at no secret from an address that is beyond its own
	// limit. People choose secrets that can be guessed, so this is low: 18,000 an hour
	// find one of six random letters and digits once in 10^5 hours.
	maxWrongSecrets = 300

	guessDepth = time.Minute
)

// maxSearched is how many wrong codes a second the relay looks at from all
// addresses together that are beyond their limits. With 30,500 an hour from each
// of 1,000 addresses within theirs, that is 74 million codes an hour, and finds
// any of 100 rooms among 2^40 codes with a probability of 0.7 %.
const (
	maxSearched = 12_000
	searchDepth = time.Second
	searchDrop  = searchDepth / maxSearched
)

// Kinds of keys in the sketches.
const (
	kindCode   = iota + 1 // wrong codes from a network
	kindProof             // wrong secrets and tokens of a room from a network
	kindSecret            // wrong secrets of a room from everywhere
	kindKey               // wrong keys from a network
)

// attempts counts wrong guesses. Its zero value is ready, its memory has a
// constant bound, and its methods may be called from anywhere. Times are since
// the hub's start.
type attempts struct {
	searched atomic.Int64 // a bucket; wrong codes of those beyond their limits; written under mu

	mu     sync.Mutex
	codes  sketch // guarded by mu
	proofs sketch // guarded by mu
	latest latest // guarded by mu
}

// A network is one that wrong codes are counted for, and its limit.
type network struct {
	prefix netip.Prefix
	limit  int
}

// customer returns the network of one customer at an address: the address, or a
// /64 of IPv6.
func customer(from netip.Addr) netip.Prefix {
	from = from.Unmap()
	if from.Is6() {
		return within(from, 64)
	}
	return within(from, from.BitLen())
}

// within returns the network of so many bits that an address is in, the zero one
// for an address that is not known.
func within(from netip.Addr, bits int) netip.Prefix {
	prefix, err := from.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// networks are those that wrong codes from an address are counted for, the
// narrowest first. Those with a limit of 0 are none.
type networks [3]network

func networksOf(from netip.Addr, hexadecimal bool) (all networks) {
	limits := [...]int{maxWrongCodes, maxWrongCodes48, maxWrongCodes32}
	if hexadecimal {
		limits = [...]int{maxWrongHex, maxWrongHex48, maxWrongHex32}
	}
	all[0] = network{customer(from), limits[0]}
	if from = from.Unmap(); from.Is6() {
		all[1], all[2] = network{within(from, 48), limits[1]}, network{within(from, 32), limits[2]}
	}
	return all
}

// drop is what a wrong code adds to the network's bucket.
func (n network) drop() time.Duration { return guessDepth / time.Duration(n.limit) }

// placesLocked returns where wrong codes of the networks fall, whether one of them
// has used up what it may, and for how long that lasts.
func (a *attempts) placesLocked(all networks, now time.Duration) (at [3]sketchPlace, over bool, wait time.Duration) {
	for i, n := range all {
		if n.limit == 0 {
			break
		}
		at[i] = a.codes.place(key{kind: kindCode, from: n.prefix})
		full, left := at[i].read().full(n.drop(), guessDepth, now)
		over, wait = over || full, max(wait, left)
	}
	return at, over, wait
}

// over reports whether wrong codes from an address, not of six digits, are beyond
// its limit.
func (a *attempts) over(from netip.Addr, now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, over, _ := a.placesLocked(networksOf(from, false), now)
	return over
}

// search reports whether the relay has looked at as many codes as it may of those
// beyond their limits, and for how long that lasts.
func (a *attempts) search(now time.Duration) (full bool, wait time.Duration) {
	return leaky(a.searched.Load()).full(searchDrop, searchDepth, now)
}

// shut reports whether the relay looks at no code from an address for now, and
// for how long that lasts.
func (a *attempts) shut(from netip.Addr, hexadecimal bool, now time.Duration) (yes bool, wait time.Duration) {
	full, pause := a.search(now)
	if !hexadecimal && !full {
		return false, 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.codes.rows == nil {
		return false, 0 // nobody has guessed yet
	}
	_, over, wait := a.placesLocked(networksOf(from, hexadecimal), now)
	if !hexadecimal {
		wait = pause
	}
	return over, wait
}

// wrongCode counts a code that no room has, once a minute for each address. It
// reports whether the address is beyond its limit.
func (a *attempts) wrongCode(from netip.Addr, c code, hexadecimal bool, now time.Duration) (over bool) {
	all := networksOf(from, hexadecimal)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest.again(all[0].prefix, c, now) {
		return false
	}
	at, over, _ := a.placesLocked(all, now)
	if over {
		// It does not count for the networks: a flood from one customer is not to use
		// up what its neighbours may.
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

const proofDrop = guessDepth / maxWrongProofs

// wrongProof counts a wrong secret, token or key. It reports whether there were
// too many before.
func (a *attempts) wrongProof(of key, now time.Duration) (over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.proofs.place(of)
	if over, _ = at.read().full(proofDrop, guessDepth, now); !over {
		at.add(proofDrop, now)
	}
	return over
}

// tooManyProofs reports whether there were as many wrong secrets, tokens or keys
// as there may be.
func (a *attempts) tooManyProofs(of key, now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	full, _ := a.proofs.read(of).full(proofDrop, guessDepth, now)
	return full
}

const secretDrop = guessDepth / maxWrongSecrets

// wrongSecret counts a wrong secret for its room.
func (a *attempts) wrongSecret(room code, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.proofs.place(key{kind: kindSecret, room: room})
	if full, _ := at.read().full(secretDrop, guessDepth, now); !full {
		at.add(secretDrop, now)
	}
}

// secretsShut reports whether the relay looks at no secret of a room from an
// address for now, and for how long that lasts.
func (a *attempts) secretsShut(from netip.Addr, room code, now time.Duration) (yes bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if over, _ := a.proofs.read(proofsOf(from, room)).full(proofDrop, guessDepth, now); !over {
		return false, 0
	}
	return a.proofs.read(key{kind: kindSecret, room: room}).full(secretDrop, guessDepth, now)
}

// proofsOf is the key of a room's wrong secrets and tokens from an address.
func proofsOf(from netip.Addr, room code) key {
	return key{kind: kindProof, from: customer(from), room: room}
}

// keysOf is the key of the wrong keys from an address.
func keysOf(from netip.Addr) key { return key{kind: kindKey, from: customer(from)} }

// latestSets and latestWays bound how many of the latest wrong codes are
// remembered: 4,096 in 64 KiB.
const (
	latestSets = 1024
	latestWays = 4
)

// latest remembers wrong codes for a minute, so that the same one from the same
// address counts once: it is typed by a whole class, or tried again by a client.
// What others push out counts again.
type latest struct {
	seed maphash.Seed
	sets *[latestSets][latestWays]wrongOnce // nil until there is one; the latest first
}

type wrongOnce struct {
	print uint64 // hash of network and code
	until time.Duration
}

// again notes a wrong code, and reports whether it was noted within a minute.
func (l *latest) again(from netip.Prefix, c code, now time.Duration) bool {
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
