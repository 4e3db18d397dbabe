package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/attempts"
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
				if int(r.hub.Connections())-1 >= r.hub.Config().MaxConnectionsPerAddress-pupils {
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
		if most := attempts.MaxSearched * int(within+rest+time.Second) / int(time.Second); looked > most+attempts.MaxWrongCodes*2 {
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

// TestSecretsOfARoomHaveACap checks that beyond the cap the relay checks no
// secret from an address that is beyond its own limit, and every secret from
// the others.
func TestSecretsOfARoomHaveACap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		_, room := r.opens(0, `,"secret":"right"`)
		_, me := r.enters(0, room.Code, `,"secret":"right"`)
		const wrong, right = `{"type":"join","code":"%s","secret":"wrong"}`, `{"type":"join","code":"%s","secret":"right"}`
		for i := range attempts.MaxWrongSecrets {
			from := fmt.Sprintf("198.51.100.%d", i/attempts.MaxWrongProofs)
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
		r.sleep(time.Minute / attempts.MaxWrongSecrets)
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
