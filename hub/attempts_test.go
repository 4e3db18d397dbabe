package hub

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/attempts"
	"lectern/hub/registry"
	"lectern/hub/roomcode"
)

// visitor returns a peer at an address that has shaken hands.
func (r *testRelay) visitor(from string) *peer { return r.dialFrom(0, netip.MustParseAddr(from)) }

// wrongCode returns code n of those that no room has.
func (r *testRelay) wrongCode(n int) string {
	text := fmt.Sprintf("%06X", n)
	if !r.hub.Config().HexCodes {
		text = "00" + text[:2] + "-" + text[2:]
	}
	if r.hub.room(text) != nil {
		r.t.Skip("a room has the code " + text)
	}
	return text
}

// guesses tries distinct codes from first on, on a connection each: a
// connection's rate is another limit.
func (r *testRelay) guesses(from, answer string, first, n int) {
	r.t.Helper()
	for i := first; i < first+n; i++ {
		p := r.visitor(from)
		p.fails(answer, `{"type":"join","code":"%s"}`, r.wrongCode(i))
		p.reset()
	}
}

// oneTooMany says something wrong, which ends the connection.
func (p *peer) oneTooMany(answer, format string, args ...any) {
	p.relay.t.Helper()
	p.say(fmt.Sprintf(format, args...))
	p.hears(`{"type":"error","error":"`+answer+`",*`, `{"type":"closed","reason":"too_many_attempts"}`, "close 4429")
}

// TestWrongCodesCloseBeyondTheLimit checks that 500 wrong codes a minute have
// no consequence, that each further one costs a connection, and that the right
// code always passes.
func TestWrongCodesCloseBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, "")
		const pupil = "198.51.100.7"
		ends := func(i int) *peer {
			t.Helper()
			p := r.visitor(pupil)
			p.oneTooMany("room_not_found", `{"type":"join","code":"%s"}`, r.wrongCode(i))
			return p
		}
		r.guesses(pupil, "room_not_found", 0, 499)
		r.guesses(pupil, "room_not_found", 459, 40) // the same ones do not count again
		r.guesses(pupil, "room_not_found", 499, 1)
		ends(500)
		r.guesses(pupil, "room_not_found", 499, 1)
		p := ends(501)
		p.say(`{"type":"join","code":"` + room.Code + `"}`) // nothing is said any more
		p.hears()
		r.visitor(pupil).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.guesses("198.51.100.8", "room_not_found", 600, 10)
		r.sleep(time.Minute / attempts.MaxWrongCodes)
		r.guesses(pupil, "room_not_found", 502, 1)
		ends(503)
		r.sleep(time.Minute)
		r.guesses(pupil, "room_not_found", 1000, 500)
		ends(1500)
	})
}

// flood has an address guess as many codes as the relay looks at.
func (r *testRelay) flood(from string) {
	now := r.hub.uptime()
	for full := false; !full; {
		r.flooded++
		r.hub.attempts.WrongCode(netip.MustParseAddr(from), numberedCode(r.flooded), false, now)
		full, _ = r.hub.attempts.Capped(now)
	}
}

// TestBeyondTheCapNothingIsLookedAt checks that when the addresses beyond their
// limits have guessed 12,000 codes within a second, the relay refuses them and
// no others.
func TestBeyondTheCapNothingIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, "")
		_, locked := r.opens(0, `,"secret":"right"`)
		const guesser, other = "198.51.100.7", "198.51.100.8"
		r.flood(guesser)
		join := func(code, proof string) *peer {
			p := r.visitor(guesser)
			p.say(`{"type":"join","code":"` + code + `"` + proof + `}`)
			p.hears()
			return p
		}
		refused := []*peer{join(r.wrongCode(99), ""), join(room.Code, "")}
		// Nor does a proof that is wrong tell whether there is such a room.
		for _, c := range []string{room.Code, locked.Code, r.wrongCode(98)} {
			refused = append(refused, join(c, `,"secret":"wrong"`), join(c, `,"token":"`+room.Token+`"`))
		}
		right := join(locked.Code, `,"secret":"right"`)
		twice := join(room.Code, "")
		twice.say(`{"type":"create"}`)
		long := r.visitor(guesser)
		long.fails("too_many_attempts", `{"type":"join","code":"%s","secret":"%s"}`, room.Code, strings.Repeat("x", maxWaiting))
		gone := join(room.Code, "")
		gone.reset()

		r.sleep(searchWait - time.Millisecond)
		for _, p := range append(refused, right, twice) {
			p.hears()
		}
		r.visitor(guesser).fails("room_not_found", `{"type":"join","code":"no code"}`)
		r.visitor(other).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.visitor(other).fails("room_not_found", `{"type":"join","code":"%s"}`, r.wrongCode(97))
		time.Sleep(time.Millisecond)
		synctest.Wait() // what waited is posted
		r.flood(guesser)
		for i, p := range refused {
			if e := p.event(); e.Error != "too_many_attempts" || e.Re != "join" || e.RetryMS < 1 || e.RetryMS > 1100 {
				t.Errorf("beyond the cap answer %d is %s", i, e.text)
			}
		}
		right.hears(`{"type":"joined",*`)
		twice.hears(`{"type":"error","error":"too_many_attempts",*`, `{"type":"created",*`)
		p := join(room.Code, "")
		r.sleep(searchWait)
		p.hears(`{"type":"joined",*`)
	})
}

// numberedCode returns a code that stands for a number.
func numberedCode(n uint64) (c roomcode.Code) {
	for i := range c {
		c[i] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[n%32]
		n /= 32
	}
	return c
}

// TestGuessing20ShortCodesAMinute checks that the relay looks at no codes of
// six digits, which can be guessed, from an address beyond the limit.
func TestGuessing20ShortCodesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{HexCodes: true})
		_, room := r.opens(0, "")
		const pupil, other = "198.51.100.7", "198.51.100.8"
		r.guesses(pupil, "room_not_found", 0, 19)
		r.guesses(pupil, "room_not_found", 0, 19) // the same ones do not count again
		r.guesses(pupil, "room_not_found", 19, 1)
		r.guesses(pupil, "too_many_attempts", 20, 3)
		// No oracle: a right code by itself is answered the same.
		p := r.visitor(pupil)
		wrong := p.ask(`{"type":"join","code":"%s"}`, r.wrongCode(99))
		right := p.ask(`{"type":"join","code":"%s"}`, room.Code)
		wrong.text, right.text = retries.ReplaceAllString(wrong.text, ""), retries.ReplaceAllString(right.text, "")
		if wrong.text != right.text || right.Error != "too_many_attempts" || right.RetryMS < 3000 || right.RetryMS > 4100 {
			t.Errorf("a wrong code was answered with %s, a right one with %s", wrong.text, right.text)
		}
		r.visitor(other).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.visitor(pupil).gets("created", `{"type":"create"}`)
		r.sleep(3*time.Second - time.Millisecond)
		r.visitor(pupil).fails("too_many_attempts", `{"type":"join","code":"%s"}`, room.Code)
		r.sleep(time.Millisecond)
		r.visitor(pupil).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.guesses(pupil, "room_not_found", 100, 1)
		r.guesses(pupil, "too_many_attempts", 101, 1)
		r.sleep(time.Minute)
		r.guesses(pupil, "room_not_found", 200, 20)
		r.guesses(pupil, "too_many_attempts", 220, 1)
	})
}

var retries = regexp.MustCompile(`,"retry_ms":[0-9]+`)

func TestGuessingIsCountedPerIPv6Customer(t *testing.T) {
	r := newTestRelay(t, 1, Config{HexCodes: true})
	_, room := r.opens(0, "")
	for i := range 20 {
		r.guesses(fmt.Sprintf("2001:db8:0:1::%x", i+1), "room_not_found", i, 1)
	}
	r.visitor("2001:db8:0:1:ffff::1").fails("too_many_attempts", `{"type":"join","code":"%s"}`, room.Code)
	r.visitor("2001:db8:0:2::1").gets("joined", `{"type":"join","code":"%s"}`, room.Code)
	// An IPv4 address is the same in either notation, and no /64.
	r.guesses("192.0.2.77", "room_not_found", 0, 10)
	r.guesses("::ffff:192.0.2.77", "room_not_found", 10, 10)
	r.guesses("::ffff:192.0.2.77", "too_many_attempts", 20, 1)
	r.visitor("::ffff:192.0.2.78").gets("joined", `{"type":"join","code":"%s"}`, room.Code)
}

// TestGuessingDoesNotLockOutWhoHasAProof has one pupil guess codes while others
// behind the same address join with a secret or a token.
func TestGuessingDoesNotLockOutWhoHasAProof(t *testing.T) {
	r := newTestRelay(t, 1, Config{HexCodes: true})
	host, room := r.opens(0, `,"secret":"right"`)
	_, open := r.opens(0, "")
	_, me := r.enters(0, room.Code, `,"secret":"right"`)
	const school = "198.51.100.7"
	r.guesses(school, "room_not_found", 0, 20)
	join := func(answer, code, proof string) {
		t.Helper()
		p := r.visitor(school)
		if e := p.ask(`{"type":"join","code":"%s"%s}`, code, proof); e.Type != answer && e.Error != answer {
			t.Errorf("join with %q was answered with %s, want %s", proof, e.text, answer)
		}
	}
	join("joined", room.Code, `,"secret":"right"`)
	join("joined", room.Code, `,"token":"`+me.Token+`"`)
	host.reset()
	r.visitor(school).gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
	// A wrong proof tells not even whether there is such a room.
	for _, code := range []string{room.Code, open.Code, r.wrongCode(500)} {
		join("too_many_attempts", code, "")
		join("too_many_attempts", code, `,"secret":"wrong"`)
		join("too_many_attempts", code, `,"token":"`+room.Token+`"`)
		r.visitor(school).fails("too_many_attempts", `{"type":"resume","code":"%s","token":"%s"}`, code, me.Token)
	}
	join("too_many_attempts", open.Code, `,"secret":"that nobody asked for"`)
}

func TestGuessingSecretsAndTokensIsCountedPerAddressAndRoom(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, `,"secret":"right"`)
	_, other := r.opens(0, `,"secret":"right"`)
	_, me := r.enters(0, room.Code, `,"secret":"right"`)
	const pupil = "198.51.100.7"
	for i := range 50 { // a missing one does not count
		r.visitor(pupil).fails("secret_required", `{"type":"join","code":"%s"}`, []string{room.Code, other.Code}[i%2])
	}
	for i := range 20 {
		switch p := r.visitor(pupil); i % 3 {
		case 0:
			p.fails("wrong_secret", `{"type":"join","code":"%s","secret":"wrong"}`, room.Code)
		case 1:
			p.fails("bad_token", `{"type":"join","code":"%s","token":"wrong"}`, room.Code)
		default:
			p.fails("bad_token", `{"type":"resume","code":"%s","token":"wrong"}`, room.Code)
		}
	}
	for answer, text := range map[string]string{
		"wrong_secret": `{"type":"join","code":"%s","secret":"wrong"}`, "bad_token": `{"type":"join","code":"%s","token":"wrong"}`,
	} {
		r.visitor(pupil).oneTooMany(answer, text, room.Code)
	}
	r.visitor(pupil).oneTooMany("bad_token", `{"type":"resume","code":"%s","token":"wrong"}`, room.Code)
	r.visitor(pupil).fails("wrong_secret", `{"type":"join","code":"%s","secret":"wrong"}`, other.Code)
	r.visitor("198.51.100.8").fails("wrong_secret", `{"type":"join","code":"%s","secret":"wrong"}`, room.Code)
	r.visitor(pupil).gets("joined", `{"type":"join","code":"%s","secret":"right"}`, room.Code)
	r.visitor(pupil).gets("joined", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
	r.visitor(pupil).gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
}

func TestGuessingTheCreateKeyDoesNotLockOutTheTeacher(t *testing.T) {
	r := newTestRelay(t, 1, Config{CreateKey: "sesame"})
	const school = "198.51.100.7"
	for i := range 20 {
		r.visitor(school).fails("create_forbidden", `{"type":"create","key":"%d"}`, i)
	}
	r.visitor(school).fails("create_forbidden", `{"type":"create"}`) // none is no guess
	r.visitor(school).oneTooMany("create_forbidden", `{"type":"create","key":"20"}`)
	r.visitor(school).gets("created", `{"type":"create","key":"sesame"}`)
}

func TestASchoolBehindOneAddressJoinsAtOnce(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, "")
	const school = "198.51.100.7"
	r.guesses(school, "room_not_found", 0, 500) // some cannot read
	for range 3000 {
		p := r.visitor(school)
		p.say(`{"type":"join","code":"` + room.Code + `"}`)
		if !strings.HasPrefix(string(p.frames()[0]), `{"type":"joined",`) {
			t.Fatal("one of the school was not let in")
		}
	}
}

// TestCodesThatClosedInTheLastHourDoNotCount has a class whose room has closed
// rejoin automatically, again and again.
func TestCodesThatClosedInTheLastHourDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{HexCodes: true})
		const school = "198.51.100.7"
		var codes []string
		for range 25 {
			host, room := r.opens(0, "")
			host.gets("closed", `{"type":"close"}`)
			host.reset()
			codes = append(codes, room.Code)
		}
		_, room := r.opens(0, "")
		try := func(answer string, codes []string) {
			t.Helper()
			for _, code := range codes {
				r.visitor(school).fails(answer, `{"type":"join","code":"%s"}`, code)
			}
		}
		r.sleep(time.Hour)
		try("room_not_found", codes)
		r.visitor(school).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.sleep(time.Second)
		r.opens(0, "") // codes wake up when others are drawn
		try("room_not_found", codes[:20])
		try("too_many_attempts", codes[20:])
	})
}

func TestClosedRoomsCodeRestsForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, room := r.opens(0, "")
		c, _ := roomcode.Parse(room.Code)
		if r.hub.rooms.Rested(c) {
			t.Error("the code of an open room rests")
		}
		host.gets("closed", `{"type":"close"}`)
		r.sleep(registry.RestTime)
		r.opens(0, "")
		if !r.hub.rooms.Rested(c) {
			t.Error("the code may be drawn before the hour has passed")
		}
		r.sleep(time.Nanosecond)
		r.opens(0, "")
		if r.hub.rooms.Rested(c) {
			t.Error("the code still rests after an hour")
		}
	})
}
