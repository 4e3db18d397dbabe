package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lectern/hub/budget"
)

// TestCountersReturnToZero has clients do anything over HTTP, in any order, while the workers
// run only some of their tasks. When all are gone, nothing may be counted any more.
func TestCountersReturnToZero(t *testing.T) {
	sequences := uint64(120)
	if testing.Short() {
		sequences = 20
	}
	for seed := range sequences {
		synctest.Test(t, func(t *testing.T) {
			c := newChaos(t, seed)
			for range 120 {
				c.acts()
			}
			c.ends(seed)
		})
		if t.Failed() {
			return
		}
	}
}

// A chaos is a relay and its clients, which act at random.
type chaos struct {
	*testRelay
	rand   *rand.Rand
	known  []event   // what told hosts and viewers of a code and a token
	ticket [2]string // of the latest client that joined by POST: its code and ticket
	peers  []*peer
}

func newChaos(t *testing.T, seed uint64) *chaos {
	r := newTestRelay(t, 3, Config{
		MaxConnections: 24, MaxConnectionsPerAddress: 20, HostGrace: 10 * time.Second, PollGrace: 8 * time.Second,
		CompressMin: 100, Retain: 32 << 10, MaxHostMessage: 256 << 10, HistoryEvery: time.Second,
	})
	return &chaos{testRelay: r, rand: rand.New(rand.NewPCG(seed, 12))}
}

// one returns a client that the relay told of a token, or one that it never knew.
func (c *chaos) one() event {
	if len(c.known) == 0 || c.rand.IntN(12) == 0 {
		return event{Code: "ZZZZ-ZZZZ", Token: "00000001c5c4bbf5b0cfd5c87aa7b64b518993dc"}
	}
	return c.known[max(0, len(c.known)-1-c.rand.IntN(8))]
}

func (c *chaos) some() {
	for range c.rand.IntN(8) {
		c.workers[c.rand.IntN(3)].step()
	}
}

// opens has a client open a standing session.
func (c *chaos) opens(enter func(*Session)) {
	c.hub.openStanding(fromHome, enter, func(a Result) {
		if len(a.Answers) > 0 {
			if e, err := parseEvent(string(a.Answers[0])); err == nil && e.Token != "" {
				c.known, c.ticket = append(c.known, e), [2]string{e.Code, a.Ticket}
			}
		}
	})
}

// request sends bytes over a connection that may be there already, whose client reads all,
// some or nothing.
func (c *chaos) request(text string) {
	p := c.connect(c.rand.IntN(3))
	if n := len(c.peers); n > 0 && c.rand.IntN(3) == 0 && !c.peers[n-1].gone {
		p.reset()
		p = c.peers[n-1]
	} else {
		c.peers = append(c.peers, p)
	}
	p.room = []int{plenty, plenty, 0, 700}[c.rand.IntN(4)]
	p.bytes([]byte(text))
}

// events requests events, with a Last-Event-ID of the past, the present or the future.
func (c *chaos) events(query, head string) {
	e := c.one()
	if n := c.rand.IntN(4); n > 0 {
		head += fmt.Sprintf("Last-Event-ID: %s-%d\r\n", e.Epoch, []uint64{0, 1, 5, 1 << 63, 1<<64 - 1}[c.rand.IntN(5)])
	}
	c.request("GET /v1/rooms/" + e.Code + "/events" + query + " HTTP/1.1\r\nHost: test\r\n" + strings.ReplaceAll(head, "TOKEN", e.Token) + "\r\n")
}

func (c *chaos) acts() {
	switch c.rand.IntN(18) {
	case 0:
		history := []string{"host", "relay"}[c.rand.IntN(2)]
		c.opens(func(s *Session) { s.handlePosted([]byte(`{"type":"create","history":"` + history + `"}`)) })
	case 1, 2, 3:
		e := c.one()
		c.opens(func(s *Session) {
			s.enterBy(JoinRequest{Code: e.Code, History: c.rand.IntN(2) == 0, Token: e.Token, Back: c.rand.IntN(3) == 0})
		})
	case 4:
		e := c.one()
		c.opens(func(s *Session) {
			s.handlePosted(fmt.Appendf(nil, `{"type":"resume","code":"%s","token":"%s"}`, e.Code, e.Token))
		})
	case 5, 6, 7, 8:
		c.posts()
	case 9, 10, 11:
		c.events("?wait=3s", "Authorization: Bearer TOKEN\r\n")
	case 12:
		c.events([]string{"?wait=2s", "?history=true", ""}[c.rand.IntN(3)], []string{"", "Authorization: Bearer TOKEN\r\n", "Connection: close\r\n"}[c.rand.IntN(3)])
	case 13:
		c.request("GET /v1/rooms/" + c.ticket[0] + "/events?ticket=" + c.ticket[1] + []string{"", "&wait=4s"}[c.rand.IntN(2)] + " HTTP/1.1\r\nHost: test\r\n\r\n")
	case 14:
		e := c.one()
		p := c.connect(c.rand.IntN(3))
		p.deflate = c.rand.IntN(2) == 0
		c.peers = append(c.peers, p)
		if p.gone || p.session.phase != opening {
			return
		}
		p.bytes([]byte(testHead))
		p.deflate = false
		p.say(fmt.Sprintf(`{"type":"join","code":"%s","token":"%s"}`, e.Code, e.Token))
	case 15:
		if len(c.peers) > 0 {
			c.peers[c.rand.IntN(len(c.peers))].reset()
		}
	case 16:
		if len(c.peers) > 0 {
			c.peers[c.rand.IntN(len(c.peers))].drain(c.rand.IntN(100_000))
		}
	case 17:
		c.run()
		c.sleep(time.Duration(c.rand.IntN(4000)) * time.Millisecond)
		c.lets(time.Duration(1+c.rand.IntN(3))*time.Second, c.peers...)
	}
	c.some()
	c.peers = slices.DeleteFunc(c.peers, func(p *peer) bool { return p.gone })
}

// posts sends a message by POST, with a number or without.
func (c *chaos) posts() {
	e, n := c.one(), c.rand.IntN(6)
	text := []string{
		`{"type":"command","data":1}`, `{"type":"command","data":"` + strings.Repeat("x", 70_000) + `"}`,
		`{"type":"command","data":"` + strings.Repeat("x", MinOffload) + `"}`, `{"type":"leave"}`, `{"type":"close"}`,
		fmt.Sprintf(`{"type":"kick","id":%d}`, n), fmt.Sprintf(`{"type":"grant_host","id":%d}`, n), `{"type":"history_request"}`,
		`{"type":"history","commands":["` + strings.Repeat("x", 90_000) + `"]}`, `{"type":"list"}`, `{"type":"ping","data":1}`,
		`{"type":"message","data":1}`, fmt.Sprintf(`{"type":"message","to":%d,"data":"%s"}`, n, strings.Repeat("x", 20_000)), `nonsense`,
	}[c.rand.IntN(14)]
	to, f, err := c.hub.FindAddressee(c.t.Context(), fromHome, e.Code, e.Token)
	if f != nil || err != nil {
		return
	}
	answered := 0
	to.post([]byte(text), func(Result) {
		if answered++; answered > 1 {
			c.t.Error("a POST was answered twice")
		}
	})
}

// ends has all clients go, and checks what is left.
func (c *chaos) ends(seed uint64) {
	if c.rand.IntN(3) == 0 {
		c.hub.Drain()
		for _, p := range c.peers {
			p.session.Shutdown()
			p.Flush()
		}
		c.some()
	}
	for _, p := range c.peers {
		p.reset()
		c.some()
	}
	c.run()
	for range 6 {
		c.sleep(10 * time.Second)
		c.lets(10 * time.Second)
	}
	h := c.hub
	s := h.Stats()
	for name, n := range map[string]int64{
		"connections": s.Connections, "handshakes": s.Handshaking, "open": s.Open, "streams": s.Streams, "standing": s.Standing, "polls": s.Polls,
		"rooms": int64(s.Rooms), "viewers": s.Viewers, "stalled": s.Stalled, "bytes of Logs": s.LogBytes,
		"tokens": int64(len(h.tokensOf.all)), "tickets": int64(len(h.tickets.all)),
	} {
		if n != 0 {
			c.t.Errorf("after sequence %d: %d %s", seed, n, name)
		}
	}
	for kind := range budget.Kinds {
		if n := h.budget.Used(kind); n != 0 {
			c.t.Errorf("after sequence %d: %d bytes of %s", seed, n, kind)
		}
	}
	for i, shard := range h.shards {
		if n := len(shard.standing.all); n != 0 {
			c.t.Errorf("after sequence %d: %d standing sessions of worker %d", seed, n, i)
		}
	}
}
