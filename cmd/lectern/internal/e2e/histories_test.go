package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAThousandAskForAHundredThousandMessages has viewers ask for a long history: half of
// them are in the room and ask at once, half join and ask within two seconds. The host
// goes on, so that no two encoded histories are equal. Each viewer gets a correct
// history and everything after it, the relay encodes few histories, viewers that do not
// ask get the broadcasts meanwhile, and the memory returns.
//
// At full size there are as many as the name says, and a history has 13 MB.
func TestAThousandAskForAHundredThousandMessages(t *testing.T) {
	const others = 2
	askers, messages := sized(1000, 200, 100), sized(100_000, 20_000, 10_000)
	b := startBinary(t, "--retain", "67108864", "--retain-messages", "1000000", "--pprof")
	q := newInquiry(t, b, "relay", messages)
	ask, ready := make(chan struct{}), make(chan struct{}, others+2*askers)
	for i := range others {
		q.crowd.run(fmt.Sprintf("bystander %d", i), func() error { return q.standsBy(i == 1, ready, ask) })
	}
	for range others {
		<-ready
	}
	q.say(t, messages)
	q.speech.away.Add(int64(askers))
	for i := range askers / 2 {
		q.crowd.run(fmt.Sprintf("viewer %d", i), func() error { return q.asksLater(i%2 == 1, ready, ask) })
	}
	for range askers / 2 {
		<-ready
	}
	heap := b.collected()
	q.began = time.Now()
	close(ask)
	for i := range askers / 2 {
		q.crowd.run(fmt.Sprintf("newcomer %d", i), func() error {
			time.Sleep(rand.N(2 * time.Second))
			return q.joinsAndAsks(i%2 == 1, ready)
		})
	}
	p := q.goOn(t)
	t.Logf("%d histories of %.1f MB; all had asked after %s; live after %s to %s; at most %s between two messages of a bystander; %s",
		len(q.told), float64(q.tells.size(messages))/1e6, rounded(q.lastAsked), rounded(q.first), rounded(q.last), rounded(q.gap), p)
	if most := int(q.lastAsked/time.Second) + 3; len(q.told) > most {
		t.Errorf("%d histories were encoded, more than %d", len(q.told), most)
	}
	if q.gap > 10*time.Second {
		t.Errorf("a bystander heard nothing for %s", q.gap)
	}
	eventually(t, "the memory returns", func() bool { return b.collected() < heap+(4<<20) })
}

// TestAClassAsksAtOnce has all viewers of a room join and ask for the history at once. A
// host that keeps the history is asked once; if the relay keeps it, the host is not
// asked. All viewers are live within seconds. There are 5,000 at full size.
func TestAClassAsksAtOnce(t *testing.T) {
	const before = 1000 // messages
	viewers := sized(5000, 2000, 1000)
	for keeper, questions := range map[string]int{"host": 1, "relay": 0} {
		t.Run(keeper, func(t *testing.T) {
			retain := "10000"
			if keeper == "host" {
				retain = "100" // or the record would answer in the host's place
			}
			q := newInquiry(t, startBinary(t, "--retain", "1048576", "--retain-messages", retain, "--history-timeout", "1m"), keeper, before)
			q.say(t, before)
			q.speech.away.Add(int64(viewers))
			joined := make(chan struct{}, viewers)
			q.began = time.Now()
			for i := range viewers {
				q.crowd.run(fmt.Sprintf("viewer %d", i), func() error { return q.joinsAndAsks(i%2 == 1, joined) })
			}
			for range viewers {
				<-joined
			}
			all := time.Since(q.began)
			if q.answer != nil {
				say(t, q.host, string(q.answer))
			}
			p := q.goOn(t)
			t.Logf("all had joined and asked after %s; live after %s to %s; %d histories; %s",
				rounded(all), rounded(q.first), rounded(q.last), len(q.told), p)
			if q.last > 20*time.Second {
				t.Errorf("the last was live after %s", q.last)
			}
			_ = q.host.CloseNow()
			if n := <-q.questions; n != questions {
				t.Errorf("the host was asked %d times, want %d", n, questions)
			}
		})
	}
}
