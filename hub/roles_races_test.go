package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/credentials"
)

// A racer is a client whose messages meet others' on their way. Of what it
// hears, the broadcasts are checked.
type racer struct {
	*peer
	next    int  // the broadcast that comes next while it is a viewer; -1 outside
	closing bool // has heard closed, as a viewer or because its place is taken
}

// A race is one room and the clients that act on it at the same time.
type race struct {
	t      *rapid.T
	r      *testRelay
	room   *Room
	token  string
	order  []string // the broadcasts, as the room took them
	racers []*racer
	tokens []string                    // of viewers
	known  map[credentials.Hash]string // hosts' tokens that were told
}

// TestRacesLeaveTheRoomWhole lets grants, kicks, resumes and leaves meet each
// other before the workers have carried out any, and checks that there is one
// host, that everybody is who the room takes them for, and that each viewer
// hears each broadcast once, in order.
func TestRacesLeaveTheRoomWhole(t *testing.T) {
	soak(t, func(t *testing.T, rt *rapid.T) {
		c := &race{t: rt, r: newTestRelay(t, rapid.IntRange(1, 3).Draw(rt, "workers"), Config{ViewerRate: 1 << 30, HostGrace: time.Hour, UnjoinedGrace: time.Hour})}
		host, created := c.r.opens(0, `,"max_viewers":8`)
		c.room, c.token = host.session.room, created.Token
		c.known = map[credentials.Hash]string{credentials.HashOf(c.token): c.token}
		c.racers = append(c.racers, &racer{peer: host, next: -1})
		for range 3 {
			c.dial(rt)
		}
		n := 0
		anyone := func(text func(t *rapid.T) string) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(c.racers) == 0 {
					return
				}
				c.says(rapid.SampledFrom(c.racers).Draw(t, "who"), text(t))
			}
		}
		host1 := func(text func(t *rapid.T) string) func(*rapid.T) { // or a former host
			return func(t *rapid.T) {
				for _, p := range c.racers {
					if p.session.has(flagHost) && rapid.Bool().Draw(t, "this one") {
						c.says(p, text(t))
						return
					}
				}
			}
		}
		fixed := func(text string) func(*rapid.T) string { return func(*rapid.T) string { return text } }
		onID := func(format string) func(*rapid.T) string {
			return func(t *rapid.T) string {
				last := max(1, c.room.roster.LastID())
				return fmt.Sprintf(format, rapid.Uint32Range(max(4, last)-3, last).Draw(t, "id"))
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {
				synctest.Wait() // what timers post is posted now, or sequences could not be repeated
				c.listen(false)
			},
			"connect": func(t *rapid.T) {
				if len(c.racers) < 8 {
					c.dial(t)
				}
			},
			"join": anyone(func(*rapid.T) string { return `{"type":"join","code":"` + c.room.code.String() + `"}` }),
			"back": anyone(func(t *rapid.T) string {
				token := ""
				if len(c.tokens) > 0 {
					token = rapid.SampledFrom(c.tokens).Draw(t, "token")
				}
				return `{"type":"join","code":"` + c.room.code.String() + `","token":"` + token + `"}`
			}),
			"resume":  anyone(func(*rapid.T) string { return c.resume(c.known[c.room.hostSlot.token]) }),
			"resume2": anyone(func(*rapid.T) string { return c.resume(c.known[c.room.hostSlot.newToken]) }),
			"leave":   anyone(fixed(`{"type":"leave"}`)),
			"host leaves and resumes": func(t *rapid.T) {
				host1(fixed(`{"type":"leave"}`))(t)
				anyone(func(*rapid.T) string { return c.resume(c.known[c.room.hostSlot.token]) })(t)
			},
			"broadcast": host1(func(*rapid.T) string { n++; return fmt.Sprintf(`{"type":"command","data":%d}`, n) }),
			"kick":      host1(onID(`{"type":"kick","id":%d}`)),
			"grant":     host1(onID(`{"type":"grant_host","id":%d}`)),
			"message":   host1(onID(`{"type":"message","to":%d,"data":1}`)),
			"raise":     anyone(fixed(`{"type":"message","data":1}`)),
			"reset": func(t *rapid.T) {
				if len(c.racers) > 3 {
					rapid.SampledFrom(c.racers).Draw(t, "who").reset()
				}
			},
			"work": func(t *rapid.T) {
				w := c.r.workers[drawWorker(t, c.r)]
				for range rapid.IntRange(1, 3).Draw(t, "tasks") {
					w.step()
				}
			},
			"settle": func(t *rapid.T) { c.settle() },
		})
		c.settle()
		for _, p := range c.racers {
			p.reset()
		}
		c.r.run()
		c.r.sleep(time.Hour)
		checkCounts(t, c.r, 0, 0, 0)
	})
}

func (c *race) resume(token string) string {
	return `{"type":"resume","code":"` + c.room.code.String() + `","token":"` + token + `"}`
}

func (c *race) dial(t *rapid.T) {
	c.racers = append(c.racers, &racer{peer: c.r.dial(drawWorker(t, c.r)), next: -1})
}

// says has a racer say something. Whether a broadcast is taken is clear at
// once.
func (c *race) says(p *racer, text string) {
	if strings.HasPrefix(text, `{"type":"command"`) && c.room.host() == p.session && p.session.phase == open {
		c.order = append(c.order, text)
	}
	p.say(text)
}

// settle lets everything be carried out.
func (c *race) settle() {
	c.r.run()
	synctest.Wait()
	c.r.run()
	c.listen(true)
	checkWhole(c.r.t, c.r)
	c.room.mu.Lock()
	for _, kicked := range c.room.roster.Void() {
		for id := kicked[0]; id <= kicked[1]; id++ {
			if c.room.roster.Session(id) != nil {
				c.t.Errorf("viewer %d is there although it was kicked", id)
			}
		}
	}
	c.room.mu.Unlock()
	for _, p := range c.racers {
		if s := p.session; s.room != nil && !p.gone && s.has(flagHost) != (c.room.host() == s) {
			c.t.Errorf("one takes itself for the host: %t; the room does: %t", s.has(flagHost), c.room.host() == s)
		}
	}
	if c.r.t.Failed() {
		c.t.FailNow()
	}
	var here []*racer
	for _, p := range c.racers {
		if p.gone || p.closing {
			p.reset()
		} else {
			here = append(here, p)
		}
	}
	c.racers = here
}

// listen checks what has come. When all is settled, each viewer has got
// everything.
func (c *race) listen(settled bool) {
	for _, p := range c.racers {
		for _, text := range p.frames() {
			e, _ := parseEvent(text)
			switch {
			case p.closing && text != "close 4002" && text != "close 4003" && text != "close 4429":
				c.t.Fatalf("after closed comes %s", text)
			case e.Type == "joined":
				p.next = e.Seq
				c.tokens = append(c.tokens, e.Token)
			case e.Type == "left" || e.Type == "created":
				p.next = -1
			case e.Type == "host":
				c.known[credentials.HashOf(e.Token)] = e.Token
				if p.next != e.Seq && p.next < 0 {
					c.t.Fatalf("one that is no viewer was made host")
				}
				p.next = -1
			case e.Type == "closed":
				p.closing = true
				p.next = -1
			case e.Type == "command" && (p.next < 0 || p.next >= len(c.order) || c.order[p.next] != text):
				c.t.Fatalf("%s came when broadcast %d was next of %q", text, p.next, c.order)
			case e.Type == "command":
				p.next++
			}
		}
		if settled && !p.gone && p.next >= 0 && p.next != len(c.order) {
			c.t.Fatalf("a viewer was left at %d of %d broadcasts", p.next, len(c.order))
		}
	}
}

// TestEverythingAtOnce does all that rooms know from many goroutines, under the
// race detector, and looks at the rooms when all is quiet.
func TestEverythingAtOnce(t *testing.T) {
	const workers, clients, steps, rooms = 4, 12, 300, 3
	busy, all := startBusyWorkers(workers)
	r := &testRelay{t: t, hub: newHub(Config{ViewerRate: 1 << 30, HostGrace: time.Hour, UnjoinedGrace: time.Hour}, all)}
	var codes, tokens [rooms]string
	for i := range rooms {
		info, token, err := r.hub.CreateRoom(RoomOptions{MaxViewers: 2 * clients})
		if err != nil {
			t.Fatal(err)
		}
		codes[i], tokens[i] = info.Code, token
	}
	var everybody sync.WaitGroup
	for i, w := range busy {
		everybody.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			var mine [clients]*peer
			for range steps {
				k := random.IntN(clients)
				w.do(func() {
					if mine[k] == nil || mine[k].session.phase != open {
						if mine[k] != nil {
							mine[k].reset()
						}
						mine[k] = r.dial(i)
					}
					p, room, id := mine[k], random.IntN(rooms), 1+random.IntN(40)
					for _, text := range [][]string{
						{fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, codes[room], tokens[room])},
						{`{"type":"join","code":"` + codes[room] + `"}`, `{"type":"join","code":"` + codes[room] + `"}`, `{"type":"message","data":1}`},
						{`{"type":"command","data":1}`, fmt.Sprintf(`{"type":"grant_host","id":%d}`, id), `{"type":"command","data":2}`},
						{fmt.Sprintf(`{"type":"kick","id":%d}`, id), `{"type":"list"}`},
						{fmt.Sprintf(`{"type":"message","to":%d,"data":1}`, id), `{"type":"ping"}`},
						{`{"type":"leave"}`},
					}[random.IntN(6)] {
						p.say(text)
					}
					if random.IntN(20) == 0 {
						p.reset()
					}
				})
				switch random.IntN(40) {
				case 0:
					r.hub.Rooms("", 10)
				case 1:
					r.hub.Stats()
				}
			}
			if i == 0 {
				r.hub.DeleteRoom(codes[0]) // while the others go on
			}
			for _, p := range mine {
				if p != nil {
					w.do(func() { p.frames() }) // which fails on garbled ones
				}
			}
		})
	}
	everybody.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
	for range 3 { // what the last of them posted to those that had stopped
		for _, w := range busy {
			for w.step() {
				continue
			}
		}
	}
	checkWhole(t, r)
	if s := r.hub.Stats(); s.Rooms != rooms-1 {
		t.Errorf("%d rooms are open, want %d", s.Rooms, rooms-1)
	}
	for _, code := range codes {
		r.hub.DeleteRoom(code)
	}
}
