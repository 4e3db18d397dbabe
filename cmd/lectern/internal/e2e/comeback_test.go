package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestViewersComeBackAfterCuts cuts viewers of all kinds off again and again
// while the host speaks: at random moments, after random bytes, in the middle of
// handshakes and frames, and so that the relay does not hear of it. They come
// back by themselves, and have got everything in the end, once and in order.
func TestViewersComeBackAfterCuts(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, flags []string) {
		t.Parallel()
		viewersComeBack(t, flags)
	})
}

func viewersComeBack(t *testing.T, flags []string) {
	b := startBinary(t, append([]string{"--retain", "33554432", "--retain-messages", "100000", "--close-timeout", "1s", "--ping-after", "1s", "--idle-timeout", "10s"}, flags...)...)
	host, code := openRoom(t, b)
	hostHears := listening(t, host)
	var calm atomic.Bool // nobody is cut off any more
	var class []*absentee
	for _, kind := range kinds {
		if why := kind.absent(); why != "" {
			t.Run(kind.name, func(t *testing.T) { Missing(t, why) })
			continue
		}
		for _, numbered := range []bool{false, true} {
			a := &absentee{name: fmt.Sprintf("the viewer on %s, numbered: %t,", kind.name, numbered), numbered: numbered, events: make(chan heard, 1024)}
			a.cable = newCable(t, b.addr, func(nth int) int { return fraysAfter(nth, &calm) })
			kind.watch(t, b.urlAt(a.cable.addr(), "/v1/websocket"), code, numbered, a.events)
			class = append(class, a)
		}
	}
	missAndHear(t, host, class, &calm)
	if t.Failed() {
		return
	}
	if n := b.metric("lectern_viewers"); int(n) != len(class) {
		t.Errorf("%v viewers in the room, want %d", n, len(class))
	}
	say(t, host, `{"type":"close"}`)
	for _, a := range class {
		a.hearsTheEnd(t)
	}
	for text := range hostHears {
		if text == `{"type":"closed","reason":"host_closed"}` {
			break
		}
	}
	_ = host.CloseNow()
	eventually(t, "nothing is left", func() bool { return b.metric(`lectern_connections{phase="open"}`) == 0 })
	for _, why := range []string{"lost", "replaced"} {
		if n := b.metric(`lectern_closes_total{reason="` + why + `"}`); n == 0 {
			t.Errorf("no connection ended as %s: nobody was cut off so", why)
		}
	}
}

// listening has a connection read all the time, as it must to answer pings, and passes on
// what it hears.
func listening(t *testing.T, c *websocket.Conn) <-chan string {
	texts, done := make(chan string, 10_000), make(chan struct{})
	go func() {
		defer close(done)
		defer close(texts)
		for {
			_, text, err := c.Read(context.Background())
			if err != nil {
				return
			}
			texts <- string(text)
		}
	}()
	t.Cleanup(func() { _ = c.CloseNow(); <-done })
	return texts
}

// cuts is how often each viewer is cut off, at least.
const cuts = 4

// missAndHear has the host speak while the class is cut off, until every viewer has
// heard all of it.
func missAndHear(t *testing.T, host *websocket.Conn, class []*absentee, calm *atomic.Bool) {
	t.Helper()
	for _, a := range class {
		if first := a.next(); !strings.HasPrefix(first.Text, `{"type":"joined",`) {
			t.Fatalf("%s heard %+v", a.name, first)
		}
	}
	says, nearlyOver := longLecture(), make(chan struct{})
	var cutting, hearing sync.WaitGroup
	for _, a := range class {
		cutting.Go(func() { a.isCutOff(nearlyOver) })
		hearing.Go(func() {
			if err := a.listen(says); err != nil {
				t.Errorf("%s: %v", a.name, err)
			}
		})
	}
	for i, text := range says {
		if i == len(says)-100 {
			calm.Store(true)
			close(nearlyOver)
			cutting.Wait()
		}
		say(t, host, text)
		if i%10 == 9 {
			time.Sleep(15 * time.Millisecond)
		}
	}
	hearing.Wait()
}

// longLecture is some 4 MB, most of it in a few long messages.
func longLecture() []string {
	says := oddBroadcasts()
	for i := range 1500 {
		says = append(says, fmt.Sprintf(` { "type":"broadcast", "data":[%d, "%s"] } `, i, strings.Repeat("é", i*i%400)))
		if i%25 == 0 {
			says = append(says, fmt.Sprintf(`{"type":"activate","data":"%d %s"}`, i, strings.Repeat("long ", 10<<10)))
		}
	}
	return says
}

// fraysAfter draws the number of bytes after which a connection is cut.
func fraysAfter(nth int, calm *atomic.Bool) int {
	switch {
	case nth == 0 || calm.Load():
		return -1
	case nth%3 == 0:
		return rand.N(500) // in the handshake, or in joined
	default:
		return rand.N(1 << 20)
	}
}

// An absentee is a viewer that is cut off now and then.
type absentee struct {
	name     string
	numbered bool
	streams  bool // reads an event stream
	cable    *cable
	events   chan heard
}

// isCutOff cuts the viewer off again and again until nearly everything is said, and
// then a last time.
func (a *absentee) isCutOff(nearlyOver <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-nearlyOver:
			a.cable.cut()
			return
		case <-time.After(50*time.Millisecond + rand.N(500*time.Millisecond)):
		}
		if n%2 == 0 {
			a.cable.tear()
		} else {
			a.cable.cut()
		}
	}
}

// hearsTheEnd checks how the viewer ends, and that it was cut off.
func (a *absentee) hearsTheEnd(t *testing.T) {
	t.Helper()
	for _, want := range []heard{{Text: `{"type":"closed","reason":"host_closed"}`}, {Closed: 4000, Reason: "host_closed"}} {
		if got := a.next(); got != want {
			t.Errorf("%s heard %+v at last, want %+v", a.name, got, want)
		}
	}
	least := cuts
	if a.streams {
		least = 2 // the relay tells it to wait for up to a second
	}
	if n := a.cable.count(); n <= least {
		t.Errorf("%s needed %d connections only", a.name, n)
	}
}

// next returns the next message that is not an event about others, or the end.
func (a *absentee) next() heard {
	for {
		select {
		case h := <-a.events:
			if !strings.HasPrefix(h.Text, `{"type":"viewers",`) {
				return h
			}
		case <-time.After(20 * time.Second):
			return heard{Text: "nothing for 20 seconds"}
		}
	}
}

// listen checks that the viewer gets everything, and the answers when it comes
// back.
func (a *absentee) listen(says []string) error {
	for i := 0; i < len(says); {
		want := says[i]
		switch {
		case a.streams:
			want = streamed(want)
		case a.numbered:
			want = fmt.Sprintf(`{"seq":%d,%s`, i+1, want[strings.IndexByte(want, '{')+1:])
		}
		h := a.next()
		if h.Text == want {
			i++
			continue
		}
		var m struct {
			Type      string
			Seq       int
			Recovered bool
		}
		if json.Unmarshal([]byte(h.Text), &m) != nil || m.Type != "joined" {
			return fmt.Errorf("heard %.100q %d instead of message %d, %.100q", h.Text, h.Closed, i+1, want)
		}
		if m.Seq != i || !m.Recovered {
			return fmt.Errorf("after message %d it was welcomed with %s", i, h.Text)
		}
	}
	return nil
}

// watchGo has a viewer in this process tell what it hears.
func watchGo(t *testing.T, url, code string, numbered bool, to chan heard) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := follow(ctx, url, code, numbered, func(h heard) {
			select {
			case to <- h:
			case <-ctx.Done():
			}
		})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

func watchPython(t *testing.T, url, code string, numbered bool, to chan heard) {
	python, _ := FindPython()
	startProcess(t, to, python, append([]string{"viewer.py", url, code}, asked(numbered)...)...)
}

func watchNode(t *testing.T, url, code string, numbered bool, to chan heard) {
	startProcess(t, to, "node", append([]string{"viewer.mjs", url, code}, asked(numbered)...)...)
}

// asked returns the argument that has a viewer ask for numbers.
func asked(numbered bool) []string {
	if numbered {
		return []string{"numbered"}
	}
	return nil
}
