package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// An inquiry is a room whose viewers ask for the history.
type inquiry struct {
	b         *binary
	host      *websocket.Conn
	code      string
	crowd     *crowd
	speech    longSpeech
	questions chan int   // takes how often the host was asked, when it has gone
	tells     *chronicle // what the relay's history must be
	answer    []byte     // the host's, nil where the relay tells it
	covers    int        // up to which number the host's tells
	began     time.Time  // when they asked; set before they do

	mu          sync.Mutex
	told        map[int]int   // guarded by mu; how many were told each history
	lastAsked   time.Duration // guarded by mu; until all had asked
	first, last time.Duration // guarded by mu; until somebody, and everybody, was live
	gap         time.Duration // guarded by mu; longest between two messages of a bystander
}

// newInquiry opens a room whose history the host or the relay keeps. It can check a
// history of so many messages, and of those that come while it is sent.
func newInquiry(t *testing.T, b *binary, keeper string, messages int) *inquiry {
	q := &inquiry{b: b, crowd: newCrowd(), speech: longSpeech{says: newScript(80), every: 10 * time.Millisecond}}
	q.host, q.code = openRoomAs(t, b, `{"type":"create","history":"`+keeper+`"}`)
	q.tells, q.questions = newChronicle(q.speech.says, messages+20_000), make(chan int, 1)
	go func() { q.questions <- ignore(q.host) }()
	if keeper == "host" {
		q.covers = messages
		q.answer = fmt.Appendf(nil, `{ "type":"history", "commands":[%s] }`, q.tells.commands[1:q.tells.ends[messages].commands])
	}
	return q
}

// say has the host say the first messages, as fast as it can.
func (q *inquiry) say(t *testing.T, messages int) {
	t.Helper()
	for n := range uint64(messages) {
		say(t, q.host, q.speech.says.message(n+1))
		q.speech.said.Store(n + 1)
	}
}

// goOn has the host go on while viewers get the history, and returns at the end.
func (q *inquiry) goOn(t *testing.T) *peaks {
	t.Helper()
	p := newPeaks(q.b)
	go func() { p.ended <- q.speech.speak(t, q.host) }()
	p.watch(t, q.crowd)
	if err := q.crowd.failed(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (q *inquiry) sitDown(numbered bool, more string) (*spectator, error) {
	return q.crowd.attend(func() (*spectator, error) { return attend(q.b.addr, q.code, numbered, more) })
}

// standsBy is the life of a viewer that does not ask.
func (q *inquiry) standsBy(numbered bool, ready chan<- struct{}, ask <-chan struct{}) error {
	s, err := q.sitDown(numbered, "")
	ready <- struct{}{}
	if err != nil {
		return err
	}
	defer reset(s.conn)
	before := time.Now()
	for over := false; !over; {
		text, err := s.next()
		if err != nil {
			return err
		}
		if over, err = s.check(text, q.speech.says); err != nil {
			return err
		}
		now := time.Now()
		select {
		case <-ask:
			q.mu.Lock()
			q.gap = max(q.gap, min(now.Sub(before), now.Sub(q.began)))
			q.mu.Unlock()
		default:
		}
		before = now
	}
	return nil
}

// joinsAndAsks is the life of a viewer that asks at once. It gets nothing before the
// history, which may end a little before its place at the join.
func (q *inquiry) joinsAndAsks(numbered bool, joined chan<- struct{}) error {
	s, err := q.sitDown(numbered, `,"history":true`)
	joined <- struct{}{}
	if err != nil {
		q.speech.away.Add(-1)
		return err
	}
	s.me.Seq = 0
	return q.asked(s)
}

// asksLater is the life of a viewer that asks after a while.
func (q *inquiry) asksLater(numbered bool, ready chan<- struct{}, ask <-chan struct{}) error {
	s, err := q.sitDown(numbered, "")
	ready <- struct{}{}
	if err == nil {
		<-ask
		_, err = s.conn.Write(masked(`{"type":"history_request"}`))
	}
	if err != nil {
		q.speech.away.Add(-1)
		return err
	}
	return q.asked(s)
}

// asked is the rest of the life of a viewer that has asked: it gets the history and goes
// on from there.
func (q *inquiry) asked(s *spectator) error {
	defer reset(s.conn)
	err := q.isTold(s)
	q.speech.away.Add(-1)
	if err != nil {
		return err
	}
	return s.follow(q.speech.says)
}

// isTold reads the history for a viewer that has asked, and makes it live.
func (q *inquiry) isTold(s *spectator) error {
	asked := time.Since(q.began)
	length, err := q.untilHistory(s)
	if err != nil {
		return err
	}
	upTo, err := q.history(s, length)
	if err != nil {
		return err
	}
	if uint64(upTo) < s.me.Seq {
		return fmt.Errorf("told the history up to %d after number %d", upTo, s.me.Seq)
	}
	s.me.Seq = uint64(upTo)
	if err := s.followUpTo(q.speech.said.Load(), q.speech.says); err != nil {
		return fmt.Errorf("after the history up to %d: %w", upTo, err)
	}
	live := time.Since(q.began)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.told == nil {
		q.told, q.first = make(map[int]int), live
	}
	q.told[upTo]++
	q.lastAsked, q.first, q.last = max(q.lastAsked, asked), min(q.first, live), max(q.last, live)
	return nil
}

// untilHistory checks the broadcasts that come before the history, which is much
// longer than they are, and reads its header.
func (q *inquiry) untilHistory(s *spectator) (length int, err error) {
	for {
		length, err := s.header()
		if err != nil || length > 10*q.speech.says.size {
			return length, err
		}
		text, err := s.rest(length)
		if err == nil {
			_, err = s.check(text, q.speech.says)
		}
		if err != nil {
			return 0, err
		}
	}
}

// history checks a history, and returns the number of its last message.
func (q *inquiry) history(s *spectator, length int) (upTo int, err error) {
	if q.answer == nil {
		return q.tells.check(s.in, length)
	}
	got, err := s.rest(length)
	if err != nil {
		return 0, err
	}
	want := q.answer
	if s.numbered {
		want = fmt.Appendf(nil, `{"seq":%d,%s`, q.covers, want[1:])
	}
	if !bytes.Equal(got, want) {
		return 0, fmt.Errorf("told %.60q of %d bytes", got, len(got))
	}
	return q.covers, nil
}

// ignore reads a host's messages until its connection ends, and returns how often it was
// asked for the history.
func ignore(host *websocket.Conn) (questions int) {
	for {
		_, text, err := host.Read(context.Background())
		if err != nil {
			return questions
		}
		if string(text) == `{"type":"history_request"}` {
			questions++
		}
	}
}

// collected returns the relay's heap after a collection, which --pprof allows.
func (b *binary) collected() float64 {
	b.t.Helper()
	response, err := http.Get("http://" + b.admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		b.t.Fatal(response.Status, err)
	}
	return b.metric("go_memstats_heap_inuse_bytes")
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
