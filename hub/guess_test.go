package hub

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// visitor returns a peer at an address that has shaken hands.
func (r *testRelay) visitor(from string) *peer {
	p := r.dial(0)
	p.from = netip.MustParseAddr(from)
	return p
}

// wrongCode returns code n of those that no room has.
func (r *testRelay) wrongCode(n int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	text := strings.ToUpper(hex.EncodeToString(b[1:]))
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

func TestGuessing20DistinctCodesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, "")
		const pupil, other = "198.51.100.7", "198.51.100.8"
		r.guesses(pupil, "room_not_found", 0, 19)
		r.sleep(30 * time.Second)
		r.guesses(pupil, "room_not_found", 0, 19) // the same ones do not count again
		r.guesses(pupil, "room_not_found", 19, 1)
		r.guesses(pupil, "too_many_attempts", 20, 3)
		// No oracle: a right code by itself is answered the same.
		wrong := r.visitor(pupil).ask(`{"type":"join","code":"%s"}`, r.wrongCode(99))
		right := r.visitor(pupil).ask(`{"type":"join","code":"%s"}`, room.Code)
		if wrong.text != right.text || right.Error != "too_many_attempts" {
			t.Errorf("a wrong code was answered with %s, a right one with %s", wrong.text, right.text)
		}
		r.visitor(other).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.visitor(pupil).gets("created", `{"type":"create"}`)
		r.sleep(30*time.Second - time.Millisecond) // the minute began with the first
		r.visitor(pupil).fails("too_many_attempts", `{"type":"join","code":"%s"}`, room.Code)
		r.sleep(time.Millisecond)
		r.visitor(pupil).gets("joined", `{"type":"join","code":"%s"}`, room.Code)
		r.guesses(pupil, "room_not_found", 200, 20)
		r.guesses(pupil, "too_many_attempts", 220, 1)
	})
}

func TestGuessingIsCountedPerIPv6Customer(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
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

// TestGuessingDoesNotLockOutWhoHasAProof: one pupil has guessed codes, and
// those behind the same address who have a secret or a token come in.
func TestGuessingDoesNotLockOutWhoHasAProof(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
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
	r.visitor(pupil).fails("too_many_attempts", `{"type":"join","code":"%s","secret":"wrong"}`, room.Code)
	r.visitor(pupil).fails("too_many_attempts", `{"type":"join","code":"%s","token":"wrong"}`, room.Code)
	r.visitor(pupil).fails("too_many_attempts", `{"type":"resume","code":"%s","token":"wrong"}`, room.Code)
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
	r.visitor(school).fails("too_many_attempts", `{"type":"create","key":"20"}`)
	r.visitor(school).gets("created", `{"type":"create","key":"sesame"}`)
}

func TestASchoolBehindOneAddressJoinsAtOnce(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, "")
	const school = "198.51.100.7"
	r.guesses(school, "room_not_found", 0, 19) // some cannot read
	for range 3000 {
		p := r.visitor(school)
		p.say(`{"type":"join","code":"` + room.Code + `"}`)
		if !strings.HasPrefix(string(p.frames()[0]), `{"type":"joined",`) {
			t.Fatal("one of the school was not let in")
		}
	}
}

// TestCodesThatClosedInTheLastHourDoNotCount: a class whose room closed rejoins
// by itself, again and again.
func TestCodesThatClosedInTheLastHourDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
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

// TestTheLimiterHasABound: an attacker with very many addresses costs no more
// memory, and those that were counted for longest are forgotten.
func TestTheLimiterHasABound(t *testing.T) {
	var l limiter
	for i := range 3 * maxGuessers {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], uint64(i)) // networks of their own
		l.wrong(codesOf(netip.AddrFrom16(b)), code{})
	}
	if len(l.guessers) != maxGuessers || len(l.oldest) != maxGuessers || cap(l.oldest) > 4*maxGuessers {
		t.Errorf("%d guessers, %d in order (of %d), the limit is %d", len(l.guessers), len(l.oldest), cap(l.oldest), maxGuessers)
	}
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		for i := range 1000 {
			l.wrong(codesOf(netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)})), code{})
		}
		time.Sleep(guessTime)
		l.wrong(codesOf(netip.MustParseAddr("192.0.2.1")), code{})
		if len(l.guessers) != 1 {
			t.Errorf("%d guessers are kept after their minute", len(l.guessers))
		}
	})
}

func TestClosedRoomsCodeRestsForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		host, room := r.opens(0, "")
		c, _ := parseCode(room.Code)
		if r.hub.rested(c) {
			t.Error("the code of an open room rests")
		}
		host.gets("closed", `{"type":"close"}`)
		r.sleep(restTime)
		r.opens(0, "")
		if !r.hub.rested(c) {
			t.Error("the code may be drawn before the hour has passed")
		}
		r.sleep(time.Nanosecond)
		r.opens(0, "")
		if r.hub.rested(c) || len(r.hub.rest) > 0 {
			t.Error("the code still rests after an hour")
		}
	})
}
