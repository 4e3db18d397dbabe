package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestViewersThatTrickle has viewers read one byte at a time, with pauses. If the host
// says much, the relay closes them as too slow; if it says little, they get everything
// when they read again. The bytes that they get are correct in both cases, and other
// viewers notice nothing.
//
// At full size a thousand viewers read a byte a second for a minute. If the host says
// little, they need a longer idle timeout than the default, because they do not come to
// the pings that they have to answer.
func TestViewersThatTrickle(t *testing.T) {
	if !*fullSize { // there are descriptors for one such test at a time
		t.Parallel()
	}
	for name, c := range map[string]*trickling{
		"where much is said":   {every: time.Millisecond, stallTimeout: sized("30s", "2s", "2s"), idleTimeout: "1m", closed: true},
		"where little is said": {every: sized[time.Duration](50, 10, 10) * time.Millisecond, stallTimeout: "5m", idleTimeout: "5m"},
	} {
		t.Run(name, func(t *testing.T) {
			if !*fullSize {
				t.Parallel()
			}
			c.run(t)
		})
	}
}

// A trickling is a room in which some viewers read byte by byte.
type trickling struct {
	every        time.Duration // a kilobyte is said
	stallTimeout string
	idleTimeout  string
	closed       bool // what becomes of those

	b       *binary
	code    string
	crowd   *crowd
	joined  chan struct{} // one for each who is in, or is not let in
	speech  longSpeech
	over    chan struct{} // closed when it is time to read on
	cutOff  atomic.Int64  // who heard that it was too slow
	dropped atomic.Int64  // who heard the end of the connection only
}

func (c *trickling) run(t *testing.T) {
	const others = 12
	viewers, lagLimit := sized(1000, 100, 50), sized(4<<20, 1<<20, 1<<20)
	c.b = startBinary(t, "--max-host-message", "65536", "--lag-limit", strconv.Itoa(lagLimit), "--stall-timeout", c.stallTimeout, "--idle-timeout", c.idleTimeout)
	host, code := openRoom(t, c.b)
	c.code, c.crowd, c.joined, c.over = code, newCrowd(), make(chan struct{}, viewers+others), make(chan struct{})
	takes := sized(time.Minute, 3*time.Second, 3*time.Second)
	c.speech = longSpeech{says: newScript(1000), every: c.every, reach: []mark{{int(takes/c.every) * 1000, c.over}}}
	for i := range viewers + others {
		life, name := c.trickle, "viewer that trickles"
		if i < others {
			life, name = c.readsOn, "viewer"
		} else {
			c.speech.away.Add(1)
		}
		c.crowd.run(fmt.Sprintf("%s %d", name, i), func() error { return life(i%2 == 1) })
	}
	for range viewers + others {
		<-c.joined
	}
	p := newPeaks(c.b)
	go func() { p.ended <- c.speech.speak(t, host) }()
	p.watch(t, c.crowd)
	if err := c.crowd.failed(); err != nil {
		t.Error(err)
	}
	t.Logf("%d messages said; %d viewers heard that they were too slow, and %d no reason; %s",
		c.speech.said.Load(), c.cutOff.Load(), c.dropped.Load(), p)
	want := 0
	if c.closed {
		want = viewers
	}
	if n := c.b.metric(`lectern_closes_total{reason="too_slow"}`); int(n) != want || int(c.cutOff.Load()+c.dropped.Load()) != want {
		t.Errorf("%v were closed as too slow, want %d", n, want)
	}
}

func (c *trickling) sitDown(numbered bool) (*spectator, error) {
	s, err := c.crowd.attend(func() (*spectator, error) { return attend(c.b.addr, c.code, numbered, "") })
	c.joined <- struct{}{}
	return s, err
}

// readsOn is the life of a viewer that must not notice anything.
func (c *trickling) readsOn(numbered bool) error {
	s, err := c.sitDown(numbered)
	if err != nil {
		return err
	}
	defer reset(s.conn)
	return s.follow(c.speech.says)
}

// trickle is the life of a viewer that reads byte by byte until c.over is closed, and
// then everything.
func (c *trickling) trickle(numbered bool) error {
	s, err := c.sitDown(numbered)
	if err != nil {
		c.speech.away.Add(-1)
		return err
	}
	defer reset(s.conn)
	s.readsBytes(c.over, sized(time.Second, 10*time.Millisecond, 10*time.Millisecond))
	err = s.followUpTo(c.speech.said.Load(), c.speech.says)
	c.speech.away.Add(-1)
	if err == nil {
		err = s.follow(c.speech.says)
	}
	switch {
	case err == nil:
		return nil
	case !isCut(err):
		return err
	case !s.isHalf(c.speech.says):
		return fmt.Errorf("the last that it heard was %.60q, after number %d", s.text, s.me.Seq)
	case isDismissal(err):
		c.cutOff.Add(1)
	default:
		c.dropped.Add(1)
	}
	return nil
}

// readsBytes takes one byte at a time out of the socket until it is over.
func (s *spectator) readsBytes(over <-chan struct{}, pause time.Duration) {
	got, _ := s.in.Peek(s.in.Buffered())
	got = bytes.Clone(got)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for one, ended := make([]byte, 1), false; !ended; {
		select {
		case <-over:
			ended = true
		case <-ticker.C:
			n, err := s.conn.Read(one)
			got = append(got, one[:n]...)
			ended = err != nil // which is read again
		}
	}
	s.in = bufio.NewReader(io.MultiReader(bytes.NewReader(got), s.conn))
}

// isHalf reports whether the last bytes are the begin of the next message, or of the
// message about the end.
func (s *spectator) isHalf(says script) bool {
	next := says.message(s.me.Seq + 1)
	if s.numbered {
		next = fmt.Sprintf(`{"seq":%d,%s`, s.me.Seq+1, next[1:])
	}
	return strings.HasPrefix(next, string(s.text)) || strings.HasPrefix(`{"type":"closed","reason":"too_slow"}`, string(s.text))
}
