package hub

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A pollingViewer is a viewer that polls, over connections that may break at any point,
// and what it must have been told.
type pollingViewer struct {
	relay *testRelay
	code  string
	token string
	epoch string
	id    uint32
	last  string // id of the last event, as it would send it
	seq   int    // of the last broadcast that it has, or was told that it misses
	conn  *peer  // nil for none
}

// takes reads what has come on the viewer's connection.
func (v *pollingViewer) takes(t *rapid.T) {
	if v.conn == nil || len(v.conn.wire) == 0 {
		return
	}
	status, body, ok := v.conn.response()
	if !ok {
		return
	}
	if status != 200 {
		t.Fatalf("a poll was answered %d %s", status, body)
	}
	defer func() {
		if v.conn.ended || v.conn.gone {
			v.conn = nil
		}
	}()
	for block := range strings.SplitSeq(body, "\n\n") {
		var id, data string
		for line := range strings.SplitSeq(block, "\n") {
			if text, ok := strings.CutPrefix(line, "id: "); ok {
				id = text
			}
			if text, ok := strings.CutPrefix(line, "data: "); ok {
				data = text
			}
		}
		if data == "" {
			continue
		}
		v.hears(t, id, data)
		if id != "" {
			v.last = id
		}
	}
}

// hears checks an event against what the viewer has.
func (v *pollingViewer) hears(t *rapid.T, id, data string) {
	e, err := parseEvent(data)
	if err != nil {
		t.Fatalf("heard %q: %v", data, err)
	}
	_, number, _ := strings.Cut(id, "-")
	seq, _ := strconv.Atoi(number)
	switch e.Type {
	case "command":
		if seq != v.seq+1 || !strings.HasPrefix(data, fmt.Sprintf(`{"type":"command","data":"%d `, seq)) {
			t.Fatalf("after %d came %s: %.60s", v.seq, id, data)
		}
		v.seq = seq
	case "joined":
		if e.Recovered && e.Seq != v.seq || e.Seq < v.seq {
			t.Fatalf("after %d came %s", v.seq, data)
		}
		v.seq = e.Seq
	case "skipped":
		if e.Seq < v.seq {
			t.Fatalf("after %d came %s", v.seq, data)
		}
		v.seq = e.Seq
	case "closed":
		// The connection goes on, and the next poll joins again.
	case "viewers", "host_left", "host_back":
	default:
		t.Fatalf("heard %s", data)
	}
}

// TestModelOfPolling checks that viewers that poll get every broadcast once and in order, or
// are told what they miss, whatever breaks and in whichever order the workers run.
func TestModelOfPolling(whole *testing.T) {
	rapid.Check(whole, func(t *rapid.T) {
		r := newTestRelay(whole, 3, Config{LagLimit: 64 << 10, MaxHostMessage: 16 << 10, Retain: 32 << 10, PollGrace: 20 * time.Second})
		slow := rapid.SampledFrom([]string{"close", "skip"}).Draw(t, "slow")
		host, opened := r.opens(0, `,"slow":"`+slow+`"`)
		said := 0
		var viewers []*pollingViewer
		var strays []*peer // connections that viewers have given up without closing them
		for range rapid.IntRange(1, 3).Draw(t, "viewers") {
			e := r.joins(JoinRequest{Code: opened.Code}).told(whole)
			viewers = append(viewers, &pollingViewer{relay: r, code: opened.Code, token: e.Token, epoch: e.Epoch, id: uint32(e.ID), last: e.Epoch + "-0"})
		}
		which := func(t *rapid.T) *pollingViewer { return rapid.SampledFrom(viewers).Draw(t, "viewer") }
		some := func(t *rapid.T) { // of the workers' tasks
			for range rapid.IntRange(0, 6).Draw(t, "tasks") {
				r.workers[rapid.IntRange(0, 2).Draw(t, "worker")].step()
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"broadcast": func(t *rapid.T) {
				for range rapid.IntRange(1, 3).Draw(t, "times") {
					said++
					host.say(fmt.Sprintf(`{"type":"command","data":"%d %s"}`, said, strings.Repeat("x", rapid.SampledFrom([]int{1, 500, 12_000}).Draw(t, "size"))))
				}
				some(t)
			},
			"poll": func(t *rapid.T) {
				v := which(t)
				if v.conn == nil {
					v.conn = r.connect(rapid.IntRange(0, 2).Draw(t, "on"))
				}
				if v.conn.session.phase == polling || len(v.conn.wire) > 0 {
					t.Skip()
				}
				v.conn.bytes([]byte("GET /v1/rooms/" + v.code + "/events?wait=10s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer " + v.token + "\r\nLast-Event-ID: " + v.last + "\r\n\r\n"))
				some(t)
			},
			"break": func(t *rapid.T) { // with what is on its way
				v := which(t)
				if v.conn == nil {
					t.Skip()
				}
				v.conn.reset()
				v.conn = nil
				some(t)
			},
			"give up": func(t *rapid.T) { // what comes there later, nobody reads
				v := which(t)
				if v.conn == nil {
					t.Skip()
				}
				strays = append(strays, v.conn)
				v.conn = nil
			},
			"take": func(t *rapid.T) {
				r.run()
				for _, v := range viewers {
					v.takes(t)
				}
			},
			"time": func(t *rapid.T) {
				r.lets(time.Duration(rapid.IntRange(1, 25).Draw(t, "seconds")) * time.Second)
			},
			"join again": func(t *rapid.T) {
				v := which(t)
				if v.conn != nil {
					v.conn.reset()
					v.conn = nil
				}
				a := r.joins(JoinRequest{Code: v.code, Token: v.token, Back: true, Last: Place{v.epoch, uint64(v.seq)}})
				v.hears(t, "", string(a.Answers[0]))
				v.last = fmt.Sprintf("%s-%d", v.epoch, v.seq)
			},
			"tasks": some,
		})
		r.run()
		for _, v := range viewers { // in the end each has everything
			v.takes(t)
			if v.conn != nil {
				v.conn.reset()
				v.conn = nil
			}
			r.run()
			for tries := 0; v.seq < said; tries++ { // also when it is told that it misses some
				if v.conn == nil {
					v.conn = r.connect(0)
				}
				v.conn.get(v.code, "?wait=10s", v.token, v.last)
				v.takes(t)
				if v.conn != nil && v.seq == said {
					v.conn.reset()
				}
				if tries > 200 {
					t.Fatalf("the viewer has %d of %d", v.seq, said)
				}
			}
		}
		for _, p := range strays {
			p.reset()
		}
		r.lets(25 * time.Second)
		if n := r.hub.standing.Load() + r.hub.polls.Load() + int64(len(r.hub.tokensOf.all)+len(r.hub.tickets.all)); n != 0 {
			t.Fatalf("%d standing sessions, polls, tokens and tickets are left", n)
		}
	})
}
