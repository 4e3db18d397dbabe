package hub

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxGuesses is how many wrong ones an address may make in guessTime.
	maxGuesses = 20
	guessTime  = time.Minute

	// maxGuessers bounds the limiter's memory, some 2 MiB. When there are more,
	// the one that has been counted for longest is forgotten.
	maxGuessers = 16_384
)

// A limiter counts wrong guesses for each address, or network of an IPv6
// customer: distinct codes that no room has, and for each room wrong secrets
// and tokens; and wrong keys. Its methods may be called from anywhere.
type limiter struct {
	mu       sync.Mutex
	guessers map[guesser]*guesses // guarded by mu
	oldest   []guesser            // guarded by mu; in the order in which their minutes began
}

// A guesser is who guesses what.
type guesser struct {
	from netip.Addr
	room code // whose secret or token it is
	code bool // it is codes, and room is zero
	key  bool // it is the API's key, and room is zero
}

type guesses struct {
	began time.Time
	count int
	codes [maxGuesses]code // the distinct codes among them
}

// guesserOf returns the guesser at an address. A customer of IPv6 has a /64.
func guesserOf(from netip.Addr) guesser {
	if from.Is6() {
		if network, err := from.Prefix(64); err == nil {
			from = network.Addr()
		}
	}
	return guesser{from: from}
}

// codesOf returns the one who guesses codes from an address.
func codesOf(from netip.Addr) guesser {
	g := guesserOf(from)
	g.code = true
	return g
}

// secretsOf returns the one who guesses a room's secret or tokens.
func secretsOf(from netip.Addr, room code) guesser {
	g := guesserOf(from)
	g.room = room
	return g
}

// any reports whether there is anybody to look at.
func (l *limiter) any() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.guessers) > 0
}

// over reports whether who has guessed wrong too often.
func (l *limiter) over(who guesser) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guessers[who]
	return g != nil && g.count >= maxGuesses && time.Since(g.began) < guessTime
}

// wrong counts a wrong guess. Of codes, each counts once.
func (l *limiter) wrong(who guesser, c code) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guessers[who]
	if g == nil || time.Since(g.began) >= guessTime {
		g = l.beginLocked(who)
	}
	if g.count >= maxGuesses || who.code && slices.Contains(g.codes[:g.count], c) {
		return
	}
	g.codes[g.count] = c
	g.count++
}

// beginLocked begins a minute for who, and forgets those whose minute has
// passed, or for whom there is no room any more.
func (l *limiter) beginLocked(who guesser) *guesses {
	if l.guessers == nil {
		l.guessers = make(map[guesser]*guesses)
	}
	if _, again := l.guessers[who]; again {
		delete(l.guessers, who)
		l.oldest = slices.DeleteFunc(l.oldest, func(o guesser) bool { return o == who })
	}
	for len(l.oldest) > 0 {
		first := l.guessers[l.oldest[0]]
		if len(l.oldest) < maxGuessers && time.Since(first.began) < guessTime {
			break
		}
		delete(l.guessers, l.oldest[0])
		l.oldest = l.oldest[1:]
	}
	g := &guesses{began: time.Now()}
	l.guessers[who] = g
	l.oldest = append(l.oldest, who)
	return g
}
