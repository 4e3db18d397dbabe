package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"
)

// An event is what the relay says, with the fields that tests look at.
type event struct {
	Type, Code, Token, Epoch, Reason, Error, Message, Re string

	ID, Seq, Sent, Total int
	RetryMS              int `json:"retry_ms"`
	Common               *int
	Host, Recovered      bool
	Truncated            bool
	Viewers              json.RawMessage // a count, or a list of persons
	Joined               []Person
	Left                 []uint32

	text string
}

func parseEvent(text string) (e event, err error) {
	err = json.Unmarshal([]byte(text), &e)
	e.text = text
	return e, err
}

// persons returns the viewers that a list tells.
func (e event) persons() (all []Person) {
	_ = json.Unmarshal(e.Viewers, &all)
	return all
}

// event takes the one message that has arrived.
func (p *peer) event() event {
	p.relay.t.Helper()
	p.relay.run()
	all := p.frames()
	if len(all) != 1 {
		p.relay.t.Fatalf("heard\n\t%s\nwant one message", strings.Join(all, "\n\t"))
	}
	e, err := parseEvent(all[0])
	if err != nil {
		p.relay.t.Fatalf("heard %q: %v", all[0], err)
	}
	return e
}

// ask sends a message and takes its answer.
func (p *peer) ask(format string, args ...any) event {
	p.relay.t.Helper()
	p.say(fmt.Sprintf(format, args...))
	return p.event()
}

// gets sends a message, whose answer must be of the type.
func (p *peer) gets(kind, format string, args ...any) event {
	p.relay.t.Helper()
	e := p.ask(format, args...)
	if e.Type != kind {
		p.relay.t.Fatalf("%s was answered with %s, want %s", fmt.Sprintf(format, args...), e.text, kind)
	}
	return e
}

// fails sends a message, whose answer must be the error.
func (p *peer) fails(code, format string, args ...any) event {
	p.relay.t.Helper()
	said := fmt.Sprintf(format, args...)
	e := p.ask("%s", said)
	var request struct{ Type string }
	_ = json.Unmarshal([]byte(said), &request)
	if e.Type != "error" || e.Error != code || e.Re != request.Type || !strings.HasSuffix(retries.ReplaceAllString(e.text, ""), `"}`) || e.Message == "" {
		p.relay.t.Fatalf("%.300s was answered with %s, want the error %s", said, e.text, code)
	}
	return e
}

// fresh forgets what has arrived.
func (r *testRelay) fresh(peers ...*peer) {
	r.run()
	for _, p := range peers {
		p.frames()
		p.presence = nil
	}
}

// opens returns a host, and what it was told when it created its room with the
// options, which begin with a comma.
func (r *testRelay) opens(worker int, options string) (*peer, event) {
	r.t.Helper()
	p := r.dial(worker)
	return p, p.gets("created", `{"type":"create"%s}`, options)
}

// enters returns a viewer that has joined with the options, and what it was
// told.
func (r *testRelay) enters(worker int, code, options string) (*peer, event) {
	r.t.Helper()
	p := r.dial(worker)
	return p, p.gets("joined", `{"type":"join","code":"%s"%s}`, code, options)
}

// sleep lets time go by in a synctest bubble: the timers' and the workers'.
func (r *testRelay) sleep(d time.Duration) {
	r.run()
	time.Sleep(d)
	for _, w := range r.workers {
		w.now += uint32(d.Milliseconds())
	}
	synctest.Wait()
	r.run()
}

// told returns the events of presence that have come since it was last called.
func (p *peer) told() (all []event) {
	p.relay.t.Helper()
	synctest.Wait()
	p.relay.run()
	if rest := p.frames(); len(rest) > 0 {
		p.relay.t.Fatalf("heard %q besides presence", rest)
	}
	for _, text := range p.presence {
		e, err := parseEvent(text)
		if err != nil {
			p.relay.t.Fatal(err)
		}
		all = append(all, e)
	}
	p.presence = nil
	return all
}

// listed returns the ids that a list tells.
func (p *peer) listed(options string) (ids []uint32) {
	p.relay.t.Helper()
	for _, v := range p.gets("list", `{"type":"list"%s}`, options).persons() {
		ids = append(ids, v.ID)
	}
	return ids
}

// lists checks which viewers are listed, in which order.
func (p *peer) lists(want ...uint32) {
	p.relay.t.Helper()
	if got := p.listed(""); !slices.Equal(got, want) {
		p.relay.t.Fatalf("the list tells %v, want %v", got, want)
	}
}

const (
	hostLeftText = `{"type":"host_left","grace_ms":60000}`
	hostBackText = `{"type":"host_back"}`
)
