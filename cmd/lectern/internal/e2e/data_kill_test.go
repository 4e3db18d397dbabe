package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// soakTime is how long TestKills goes on; see `make soak`.
var soakTime = flag.Duration("soak", 0, "how long relays are killed and restarted, at least")

const (
	killRounds  = 5
	killViewers = 3
	// killCatchesUp is how many bytes a viewer may be behind and must still be
	// recovered. A room keeps more.
	killCatchesUp = 100_000
	// killSettled is the time after which a broadcast must be on disk. It is much longer
	// than --data-every, because the machine may be busy.
	killSettled = time.Second
)

// A saying is a broadcast of the test: a round and a number in it. Its text
// follows from them, so that a long soak needs little memory.
type saying struct{ round, n uint32 }

func (s saying) text() string {
	return fmt.Sprintf(`{"type":"command","data":"%d/%d %s"}`, s.round, s.n, strings.Repeat("x", int(s.round*7+s.n*13)%300))
}

// A killedLecture is a lecture whose relay is killed again and again.
type killedLecture struct {
	t       *testing.T
	host    entrance
	epoch   string
	said    []saying // number by number, as the host knows it; what was lost is said no more
	viewers [killViewers]killedViewer
	settled int // so many must be on disk
	lost    int // broadcasts that somebody had heard
}

// A killedViewer comes back each time.
type killedViewer struct {
	me    entrance
	epoch string
	seq   int
	heard []string    // those up to seq, in this round
	times []time.Time // when they were heard
}

// TestKills kills a relay at random moments while a host speaks as fast as it can, and
// starts it again. It compares every broadcast that a viewer gets with what the host
// said.
func TestKills(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	l := &killedLecture{t: t}
	kills := 0
	for round, began := 0, time.Now(); round < killRounds || time.Since(began) < *soakTime; round++ {
		b := startBinary(t, "--data", dir, "--data-every", "20ms", "--drain-timeout", "2s")
		clean := round%5 == 4
		l.enter(b, round)
		l.speak(b, uint32(round), func() {
			if clean {
				b.signal(syscall.SIGTERM)
			} else {
				b.signal(syscall.SIGKILL)
				kills++
			}
		})
		if code := b.wait(20 * time.Second); clean && code != 0 {
			t.Fatalf("round %d: it ended with %d", round, code)
		}
		if t.Failed() {
			return
		}
	}
	if len(l.said) == 0 {
		t.Error("nothing was kept")
	}
	t.Logf("%d broadcasts survived %d kills, which took %d that somebody had heard", len(l.said), kills, l.lost)
}

// enter has host and viewers come in, or back.
func (l *killedLecture) enter(b *binary, round int) {
	t := l.t
	t.Helper()
	if round == 0 {
		host := dial(t, b.url("/"))
		l.host = asks(t, host, `{"type":"create","history":"relay"}`)
		l.epoch = l.host.Epoch
		_ = host.CloseNow()
		for i := range l.viewers {
			c := dial(t, b.url("/"))
			v := &l.viewers[i]
			v.me = asks(t, c, `{"type":"join","code":"%s"}`, l.host.Code)
			v.epoch = v.me.Epoch
			_ = c.CloseNow()
		}
		b.settles() // or the room itself could be lost
		return
	}
	host := dial(t, b.url("/"))
	back := asks(t, host, `{"type":"resume","code":"%s","token":"%s"}`, l.host.Code, l.host.Token)
	_ = host.CloseNow()
	wasClean := round%5 == 0
	switch {
	case back.Seq < l.settled:
		t.Fatalf("round %d: only %d broadcasts are left, of which %d were heard long before", round, back.Seq, l.settled)
	case back.Seq != back.Sent || back.Seq > len(l.said):
		t.Fatalf("round %d: the host was told %+v after %d broadcasts", round, back, len(l.said))
	case (back.Epoch == l.epoch) != wasClean:
		t.Fatalf("round %d: the epoch was %s, is %s", round, l.epoch, back.Epoch)
	}
	l.epoch, l.said = back.Epoch, l.said[:back.Seq]
	heard := 0
	for i := range l.viewers {
		heard = max(heard, l.viewers[i].seq)
	}
	l.lost += max(0, heard-back.Seq)
}

// speak has the host speak, viewers listen, and the relay end, and then
// compares.
func (l *killedLecture) speak(b *binary, round uint32, end func()) {
	t := l.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var listening [killViewers]chan error
	for i := range l.viewers {
		c := l.back(b, &l.viewers[i])
		listening[i] = make(chan error, 1)
		go func() { listening[i] <- l.viewers[i].listen(ctx, c) }()
	}
	host := dial(t, b.url("/"))
	asks(t, host, `{"type":"resume","code":"%s","token":"%s"}`, l.host.Code, l.host.Token)
	stop := time.Now().Add(20*time.Millisecond + rand.N(300*time.Millisecond))
	if round%3 == 2 {
		stop = stop.Add(killSettled)
	}
	var killed time.Time
	for n, ended := uint32(0), false; ; n++ {
		if n%50 == 0 {
			time.Sleep(5 * time.Millisecond) // or the sockets between them would hold most of it
			if !ended && time.Now().After(stop) {
				ended, killed = true, time.Now()
				end()
			}
		}
		one := saying{round, n}
		l.said = append(l.said, one) // before it can be heard
		if host.Write(ctx, websocket.MessageText, []byte(one.text())) != nil {
			break
		}
	}
	for i := range l.viewers {
		v := &l.viewers[i]
		if err := <-listening[i]; err != nil {
			t.Errorf("round %d, viewer %d: %v", round, i, err)
		}
		for k, got := range v.heard {
			n := v.seq - len(v.heard) + k // of it in said
			if n >= len(l.said) || l.said[n].text() != got {
				t.Fatalf("round %d, viewer %d: broadcast %d is %s", round, i, n+1, got)
			}
			if killed.Sub(v.times[k]) > killSettled {
				l.settled = max(l.settled, n+1)
			}
		}
		v.heard, v.times = nil, nil
	}
}

// back has a viewer come back. It must be recovered unless it has seen broadcasts that
// were lost, or is far behind.
func (l *killedLecture) back(b *binary, v *killedViewer) *websocket.Conn {
	t := l.t
	t.Helper()
	c := dial(t, b.url("/"))
	back := asks(t, c, `{"type":"join","code":"%s","token":"%s","epoch":"%s","seq":%d}`, l.host.Code, v.me.Token, v.epoch, v.seq)
	behind := 0
	for _, one := range l.said[min(v.seq, len(l.said)):] {
		if behind += len(one.text()); behind > killCatchesUp {
			break
		}
	}
	must := v.seq <= len(l.said) && behind <= killCatchesUp
	switch {
	case back.ID != v.me.ID || back.Epoch != l.epoch:
		t.Fatalf("viewer %d was told %+v", v.me.ID, back)
	case back.Recovered && (v.seq > len(l.said) || back.Seq != v.seq), !back.Recovered && (must || back.Seq != len(l.said)):
		t.Fatalf("viewer %d was told %+v at %d of %d", v.me.ID, back, v.seq, len(l.said))
	}
	if parted := !back.Recovered && v.epoch != back.Epoch; parted != (back.Common != nil) || parted && *back.Common != min(v.seq, len(l.said)) {
		t.Fatalf("viewer %d was told %+v of what it has up to %d of %d", v.me.ID, back, v.seq, len(l.said))
	}
	v.epoch, v.seq = back.Epoch, back.Seq
	return c
}

// listen hears broadcasts until the relay ends.
func (v *killedViewer) listen(ctx context.Context, c *websocket.Conn) error {
	defer c.CloseNow()
	for {
		_, text, err := c.Read(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the relay did not end: %w", err)
		case err != nil:
			return nil
		case strings.HasPrefix(string(text), `{"type":"command"`):
			v.seq++
			v.heard, v.times = append(v.heard, string(text)), append(v.times, time.Now())
		case strings.HasPrefix(string(text), `{"type":"host_`), strings.HasPrefix(string(text), `{"type":"closed"`):
		default:
			return fmt.Errorf("heard %s", text)
		}
	}
}
