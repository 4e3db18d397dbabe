package hub

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A school is a room with a host and three viewers, each on a worker of its
// own.
type school struct {
	*testRelay
	host    *peer
	room    event
	viewers [3]*peer
	joined  [3]event
}

func newSchool(t *testing.T, config Config) *school {
	c := &school{testRelay: newTestRelay(t, 4, config)}
	c.host, c.room = c.opens(0, "")
	for i := range c.viewers {
		c.viewers[i], c.joined[i] = c.enters(i+1, c.room.Code, "")
	}
	c.fresh(c.host)
	return c
}

func TestGrantHostMakesAViewerTheHost(t *testing.T) {
	c := newSchool(t, Config{})
	v := c.viewers
	c.host.say(`{"type":"command","data":1}`)
	c.host.say(`{"type":"grant_host","id":2}`)
	c.run()
	v[0].hears(`{"type":"command","data":1}`, `{"type":"host_changed","id":2}`)
	v[2].hears(`{"type":"command","data":1}`, `{"type":"host_changed","id":2}`)
	heard := v[1].frames()
	if len(heard) != 2 || heard[0] != `{"type":"command","data":1}` {
		t.Fatalf("the new host heard %q", heard)
	}
	crown, err := parseEvent(heard[1])
	if err != nil || crown.Type != "host" || crown.Code != c.room.Code || crown.Epoch != c.room.Epoch || len(crown.Token) != 32 || crown.Token == c.room.Token {
		t.Fatalf("the new host heard %s", crown.text)
	}
	// The old host is a viewer with a new id, and hears of the change by that.
	if me := c.host.event(); me.Type != "joined" || me.ID != 4 || me.Seq != 1 || !me.Host || string(me.Viewers) != "3" {
		t.Errorf("the old host heard %s", me.text)
	}
	c.host.fails("not_host", `{"type":"command","data":"mine"}`)
	v[1].lists(1, 3, 4)
	v[1].say(`{"type":"command","data":2}`)
	for _, p := range []*peer{v[0], v[2], c.host} {
		p.hears(`{"type":"command","data":2}`)
	}
	v[1].hears()
	c.host.say(`{"type":"message","data":"hello"}`)
	v[1].hears(`{"type":"message","from":4,"data":"hello"}`)
	v[1].gets("closed", `{"type":"close"}`)
	c.host.hears(`{"type":"closed","reason":"host_closed"}`, "close 4000")
}

func TestGrantHostKeepsTheOldTokenUntilTheNewHostSpeaks(t *testing.T) {
	for name, c := range map[string]struct {
		say      string
		old, new bool // whether the token is good afterwards
	}{
		"silent":     {"", true, true},
		"broadcast":  {`{"type":"command","data":1}`, false, true},
		"ping":       {`{"type":"ping"}`, false, true},
		"leave":      {`{"type":"leave"}`, false, true},
		"not for it": {`{"type":"create"}`, true, true},
	} {
		for _, which := range []string{"old", "new"} {
			t.Run(name+", "+which, func(t *testing.T) {
				s := newSchool(t, Config{})
				s.host.say(`{"type":"grant_host","id":1}`)
				crown := s.viewers[0].event()
				if c.say != "" {
					s.viewers[0].say(c.say)
				}
				token, good := s.room.Token, c.old
				if which == "new" {
					token, good = crown.Token, c.new
				}
				p := s.dial(0)
				if !good {
					p.fails("bad_token", `{"type":"resume","code":"%s","token":"%s"}`, s.room.Code, token)
					return
				}
				// Whoever resumes decides which token goes on.
				p.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, s.room.Code, token)
				other := s.room.Token
				if which == "old" {
					other = crown.Token
				}
				q := s.dial(1)
				q.fails("bad_token", `{"type":"resume","code":"%s","token":"%s"}`, s.room.Code, other)
				q.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, s.room.Code, token)
				p.hears(`{"type":"closed","reason":"replaced"}`, "close 4003")
			})
		}
	}
}

func TestGrantHostToOneThatDiesAtOnceLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSchool(t, Config{})
		c.host.say(`{"type":"grant_host","id":1}`)
		c.run()
		c.viewers[0].reset()
		c.viewers[1].hears(`{"type":"host_changed","id":1}`, hostLeftText)
		if me := c.host.frames(); len(me) != 2 || !strings.HasPrefix(me[0], `{"type":"joined",`) || me[1] != hostLeftText {
			t.Fatalf("the old host heard %q", me)
		}
		c.sleep(59 * time.Second)
		c.host.gets("left", `{"type":"leave"}`)
		c.host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, c.room.Code, c.room.Token)
		c.viewers[1].hears(hostBackText)
		c.host.lists(2, 3)
	})
}

func TestGrantHostToOneThatIsNotThere(t *testing.T) {
	c := newSchool(t, Config{})
	c.viewers[0].reset()
	for _, id := range []string{"1", "4", "4294967295"} {
		c.host.fails("no_such_viewer", `{"type":"grant_host","id":%s}`, id)
	}
	c.viewers[1].fails("not_host", `{"type":"grant_host","id":3}`)
	c.host.lists(2, 3)
}

// TestGrantHostWhileThatViewerGoes has the viewer go after the host's worker
// has found it.
func TestGrantHostWhileThatViewerGoes(t *testing.T) {
	for name, vanish := range map[string]func(*school){
		"reset": func(c *school) { c.viewers[0].reset() },
		"leave": func(c *school) { c.viewers[0].say(`{"type":"leave"}`) },
		"leave and join": func(c *school) {
			c.viewers[0].say(`{"type":"leave"}`)
			c.viewers[0].say(`{"type":"join","code":"` + c.room.Code + `"}`)
		},
		"replaced": func(c *school) {
			p := c.dial(3)
			p.say(`{"type":"join","code":"` + c.room.Code + `","token":"` + c.joined[0].Token + `"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSchool(t, Config{})
			c.host.say(`{"type":"grant_host","id":1}`)
			vanish(c)
			c.host.hears(`{"type":"error","error":"no_such_viewer",*`)
			c.host.say(`{"type":"command","data":1}`)
			c.viewers[1].hears(`{"type":"command","data":1}`)
			checkWhole(t, c.testRelay)
		})
	}
}

func TestGrantHostTwiceAtOnce(t *testing.T) {
	c := newSchool(t, Config{})
	c.host.say(`{"type":"grant_host","id":1}`)
	c.host.say(`{"type":"grant_host","id":2}`)
	c.run()
	if got := c.host.frames(); len(got) != 2 || !strings.Contains(strings.Join(got, ""), `"error":"not_host"`) || !strings.Contains(strings.Join(got, ""), `{"type":"joined",`) {
		t.Errorf("the old host heard %q", got)
	}
	c.viewers[0].hears(`{"type":"host",*`)
	c.viewers[1].hears(`{"type":"host_changed","id":1}`)
	checkWhole(t, c.testRelay)
}

// TestGrantHostWhileTheOldHostMoves has the old host do something before it
// could be told that it is a viewer now.
func TestGrantHostWhileTheOldHostMoves(t *testing.T) {
	resume := func(c *school) string {
		return `{"type":"resume","code":"` + c.room.Code + `","token":"` + c.room.Token + `"}`
	}
	for name, move := range map[string]struct {
		do    func(*school)
		hears []string
	}{
		"reset": {func(c *school) { c.host.reset() }, nil},
		"leave": {func(c *school) { c.host.say(`{"type":"leave"}`) }, []string{`{"type":"left"}`}},
		"resume": {func(c *school) {
			c.host.say(`{"type":"leave"}`)
			c.host.say(resume(c))
		}, []string{`{"type":"left"}`, `{"type":"created",*`}},
		"join": {func(c *school) {
			c.host.say(`{"type":"leave"}`)
			c.host.say(`{"type":"join","code":"` + c.room.Code + `"}`)
		}, []string{`{"type":"left"}`, `{"type":"joined",*`}},
		"broadcast": {func(c *school) { c.host.say(`{"type":"command","data":"late"}`) }, []string{`{"type":"error","error":"not_host",*`, `{"type":"joined",*`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSchool(t, Config{})
			c.host.say(`{"type":"grant_host","id":1}`)
			for c.workers[1].step() { // the viewer's worker alone
				continue
			}
			move.do(c)
			c.host.hears(move.hears...)
			c.viewers[1].hears(`{"type":"host_changed","id":1}`)
			checkWhole(t, c.testRelay)
			host := c.viewers[0]
			if name == "resume" {
				host.hears(`{"type":"host",*`, `{"type":"closed","reason":"replaced"}`, "close 4003")
				host = c.host
			}
			host.say(`{"type":"command","data":1}`)
			c.viewers[1].hears(`{"type":"command","data":1}`)
		})
	}
}

// TestGrantHostInTheMiddleOfAFrame has hosts come and go whose sockets are full,
// in the middle of a broadcast to them.
func TestGrantHostInTheMiddleOfAFrame(t *testing.T) {
	for name, act := range map[string]func(c *school, next *peer){
		"grants on": func(c *school, next *peer) { next.say(`{"type":"grant_host","id":2}`) },
		"leaves":    func(c *school, next *peer) { next.say(`{"type":"leave"}`) },
		"closes and joins": func(c *school, next *peer) {
			_, other := c.opens(0, "")
			next.say(`{"type":"close"}`)
			next.say(`{"type":"join","code":"` + other.Code + `"}`)
		},
		"is replaced": func(c *school, next *peer) {
			c.dial(0).say(`{"type":"resume","code":"` + c.room.Code + `","token":"` + c.room.Token + `"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSchool(t, Config{})
			next := c.viewers[0]
			next.room = 20
			c.host.say(`{"type":"command","data":"a long first message"}`)
			c.host.say(`{"type":"command","data":2}`)
			c.host.say(`{"type":"grant_host","id":1}`)
			c.run()
			act(c, next)
			c.run()
			next.drain(plenty)
			c.run()
			got := next.frames() // which fails on half a frame
			if len(got) < 2 || got[0] != `{"type":"command","data":"a long first message"}` || len(next.wire) > 0 {
				t.Errorf("heard %q, and %q", got, next.wire)
			}
			checkWhole(t, c.testRelay)
		})
	}
}

func TestGrantHostMovesTheOpenQuestionForTheHistory(t *testing.T) {
	c := newSchool(t, Config{HistoryTimeout: time.Hour})
	c.viewers[1].say(`{"type":"history_request"}`)
	c.host.hears(`{"type":"history_request"}`)
	c.host.say(`{"type":"grant_host","id":1}`)
	c.viewers[0].hears(`{"type":"host",*`, `{"type":"history_request"}`)
	c.viewers[0].say(`{"type":"history","commands":[]}`)
	c.viewers[1].hears(`{"type":"history","commands":[]}`)
}

// TestGrantHostKeepsToTheCapacity: the old host has the new one's place among
// the viewers, though it does not know yet.
func TestGrantHostKeepsToTheCapacity(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, `,"max_viewers":1`)
	v, _ := r.enters(1, room.Code, "")
	late := r.dial(1)
	host.say(`{"type":"grant_host","id":1}`)
	for r.workers[1].step() { // the viewer's worker alone
		continue
	}
	late.say(`{"type":"join","code":"` + room.Code + `"}`)
	late.hears(`{"type":"error","error":"room_full",*`)
	r.fresh(host, v)
	v.lists(2)
	host.gets("left", `{"type":"leave"}`)
	late.gets("joined", `{"type":"join","code":"%s"}`, room.Code)
	checkWhole(t, r)
}

// checkWhole checks that rooms, sessions and audiences agree about every
// session's role.
func checkWhole(t testing.TB, r *testRelay) {
	t.Helper()
	r.run()
	for c, room := range r.rooms() {
		room.mu.Lock()
		if h := room.hostSlot.host; h != nil && (h.room != room || !h.has(flagHost) || h.id != 0 || h.phase != open) {
			t.Errorf("room %s: its host is no host (room %v, id %d, marks %b, phase %d)", c, h.room == room, h.id, h.flags, h.phase)
		}
		viewers, members := 0, 0
		room.roster.Page(0, -1, func(id uint32, _ string) {
			viewers++
			if s := room.roster.Session(id); s.room != room || s.id != id || s.has(flagHost) || s.phase != open {
				t.Errorf("room %s: viewer %d is none (room %v, id %d, marks %b, phase %d)", c, id, s.room == room, s.id, s.flags, s.phase)
			}
		})
		for i := range room.audiences {
			a := room.audiences[i].Load()
			if a == nil {
				continue
			}
			members += len(a.members)
			if int(a.count.Load()) != len(a.members) {
				t.Errorf("room %s: an audience of %d counts %d", c, len(a.members), a.count.Load())
			}
			for _, s := range a.members {
				if room.roster.Session(s.id) != s {
					t.Errorf("room %s: somebody with the id %d is in the audience, but not the viewer", c, s.id)
				}
			}
		}
		if viewers != room.roster.Viewers() || viewers != members {
			t.Errorf("room %s: %d viewers are entered, %d counted, %d in audiences", c, viewers, room.roster.Viewers(), members)
		}
		if room.hostSlot.moving != 0 {
			t.Errorf("room %s: %d hosts are about to be viewers although all is quiet", c, room.hostSlot.moving)
		}
		if mail := room.toHost.Load(); mail != 0 {
			t.Errorf("room %s: %d bytes of mail are on their way although all is quiet", c, mail)
		}
		room.mu.Unlock()
	}
}

// TestGrantThereAndBackToTheOnlyOneWithNumbers has a numbered viewer that does
// not read be host for a moment: its Log ends with its going, and another begins
// with its return.
func TestGrantThereAndBackToTheOnlyOneWithNumbers(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	v := r.numberedViewer(1, code)
	for n := range 5 {
		host.say(command(n + 1))
	}
	r.run()
	v.frames()
	v.room = 0
	host.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, v.session.id))
	r.run()
	host.frames()
	v.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, host.session.id))
	r.run()
	host.say(command(6))
	v.drain(plenty)
	v.hears(`{"type":"host","code"*`, `{"type":"joined"*`, `{"seq":6,"type":"command","data":6}`)
}

func TestWhoComesBackAsHostIsNoNumberedViewerAfterwards(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	token := host.hostToken()
	v, heir := r.numberedViewer(1, code), r.viewer(1, code)
	v.say(`{"type":"leave"}`)
	v.say(`{"type":"resume","code":"` + code + `","token":"` + token + `"}`)
	v.hears(`{"type":"left"}`, `{"type":"created"*`)
	v.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, heir.session.id))
	r.run()
	heir.say(command(1))
	v.hears(`{"type":"joined"*`, command(1))
}
