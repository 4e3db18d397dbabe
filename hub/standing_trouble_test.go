package hub

import (
	"strings"
	"testing"

	"lectern/hub/roomcode"
)

// code returns a room's code as the hub looks it up.
func (r *testRelay) code(text string) roomcode.Code {
	c, _ := roomcode.Parse(text)
	return c
}

// postsLater begins a POST, whose result is nil until the workers have handled it.
func (r *testRelay) postsLater(code, token, message string) (result **Result) {
	r.t.Helper()
	to, f, err := r.hub.FindAddressee(r.t.Context(), fromHome, code, token)
	if f != nil || err != nil {
		r.t.Fatal(f, err)
	}
	result = new(*Result)
	to.post([]byte(message), func(got Result) { *result = &got })
	return result
}

// TestAPostWhoseSessionEndsMeanwhile has the host's session end while a goroutine checks its
// message. The message had no effect, and its sender must not take it for broadcast.
func TestAPostWhoseSessionEndsMeanwhile(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	result := r.postsLater(e.Code, e.Token, `{"type":"command","data":"`+strings.Repeat("x", MinOffload)+`"}`)
	r.workers[0].step() // the message waits for its check
	r.hub.lookup(r.code(e.Code)).host().end(ReasonReplaced)
	r.run()
	if *result == nil || (*result).Refusal == nil || (*result).Refusal.Kind != NotInRoom {
		t.Errorf("answered %+v", *result)
	}
}

// TestAFormerHostHasNoNumbers has a host send a numbered message when it has just become a
// viewer. It must not use up the new host's number.
func TestAFormerHostHasNoNumbers(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	e := r.hosts(`{"type":"create"}`).told(t)
	v := r.joins(JoinRequest{Code: e.Code}).told(t)
	to, f, err := r.hub.FindAddressee(t.Context(), fromHome, e.Code, e.Token) // its body comes slowly
	if f != nil || err != nil {
		t.Fatal(f, err)
	}
	r.posts(e.Code, e.Token, `{"type":"grant_host","id":1}`)
	numbered := func(to *Addressee, text string) Result {
		came := make(chan Result, 1)
		go func() {
			a, _ := to.Post(t.Context(), []byte(text), 1)
			came <- a
		}()
		for {
			select {
			case a := <-came:
				return a
			default:
				r.run()
			}
		}
	}
	numbered(to, `{"type":"ping","data":7}`).refused(t, NotHost)
	if to, f, err = r.hub.FindAddressee(t.Context(), fromHome, e.Code, v.Token); f != nil || err != nil {
		t.Fatal(f, err)
	}
	if a := numbered(to, `{"type":"command","data":1}`); a.Seq != 1 {
		t.Errorf("the new host's first message was answered %+v", a)
	}
}
