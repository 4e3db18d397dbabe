package hub

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestDeleteDuringABroadcast closes a room from outside while its host speaks:
// all viewers get the same broadcasts, and then the reason.
func TestDeleteDuringABroadcast(t *testing.T) {
	const workers, perWorker, broadcasts = 4, 20, 2000
	r, busy, host, code := startBusyRoom(t, workers, Config{}, `{"type":"create"}`)
	var viewers []*peer
	for i, w := range busy {
		for range perWorker {
			w.do(func() {
				p := r.dial(i)
				p.say(`{"type":"join","code":"` + code + `"}`)
				p.frames()
				viewers = append(viewers, p)
			})
		}
	}
	half := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		<-half
		r.hub.DeleteRoom(code)
	})
	for n := range broadcasts {
		busy[0].do(func() { host.say(fmt.Sprintf(`{"type":"command","data":%d}`, n)) })
		if n == broadcasts/2 {
			close(half)
		}
	}
	both.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
	var first []string
	for _, p := range viewers {
		got := p.frames()
		n := len(got) - 2
		if n < broadcasts/2 || got[n] != `{"type":"closed","reason":"deleted"}` || got[n+1] != "close 4000" {
			t.Fatalf("a viewer heard %d messages, and last %q", len(got), got[max(0, n):])
		}
		for i, text := range got[:n] {
			if text != fmt.Sprintf(`{"type":"command","data":%d}`, i) {
				t.Fatalf("broadcast %d is %s", i, text)
			}
		}
		if first == nil {
			first = got
		} else if len(got) != len(first) {
			t.Errorf("one viewer heard %d broadcasts, another %d", n, len(first)-2)
		}
	}
	if got := strings.Join(host.frames(), " "); !strings.HasSuffix(got, `{"type":"closed","reason":"deleted"} close 4000`) {
		t.Errorf("the host heard %s", got)
	}
}

// TestGuessingOnManyConnectionsAtOnce has joins in flight on all workers: at
// most one more on each gets an answer that tells something.
func TestGuessingOnManyConnectionsAtOnce(t *testing.T) {
	const workers, perWorker = 4, 60
	busy, all := startBusyWorkers(workers)
	r := &testRelay{t: t, hub: newHub(Config{ViewerRate: 1 << 30, HexCodes: true}, all)}
	var peers [workers]*peer
	var guessing sync.WaitGroup
	for i, w := range busy {
		guessing.Go(func() {
			w.do(func() { peers[i] = r.dial(i) })
			for n := range perWorker {
				w.do(func() { peers[i].say(fmt.Sprintf(`{"type":"join","code":"%06X"}`, i*perWorker+n)) })
			}
		})
	}
	guessing.Wait()
	told := 0
	for i, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
		for _, text := range peers[i].frames() {
			if strings.HasPrefix(text, `{"type":"error","error":"room_not_found",`) {
				told++
			} else if !strings.HasPrefix(text, `{"type":"error","error":"too_many_attempts",`) {
				t.Fatalf("heard %s", text)
			}
		}
	}
	const shortCodes = 20 // wrong ones a minute
	if told < shortCodes || told >= shortCodes+workers {
		t.Errorf("%d guesses were answered, the limit is %d", told, shortCodes)
	}
}
