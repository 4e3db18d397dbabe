package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

func TestListIsInJoiningOrderAndInPages(t *testing.T) {
	const viewers = 250
	r := newTestRelay(t, 3, Config{})
	host, room := r.opens(0, "")
	var all []*peer
	for i := range viewers {
		options := ""
		if i%2 == 0 {
			options = fmt.Sprintf(`,"name":"pupil %d"`, i+1)
		}
		v, _ := r.enters(i%3, room.Code, options)
		all = append(all, v)
	}
	for i := 9; i < viewers; i += 10 { // 10, 20, ... go
		all[i].reset()
	}
	r.fresh(host)
	var want []uint32
	for id := uint32(1); id <= viewers; id++ {
		if id%10 != 0 {
			want = append(want, id)
		}
	}
	for name, c := range map[string]struct {
		options string
		want    []uint32
	}{
		"default":       {``, want[:100]},
		"limit":         {`,"limit":7`, want[:7]},
		"largest":       {`,"limit":1000`, want},
		"after":         {`,"after":100,"limit":5`, []uint32{101, 102, 103, 104, 105}},
		"after one out": {`,"after":10,"limit":2`, []uint32{11, 12}},
		"after one in":  {`,"after":11,"limit":2`, []uint32{12, 13}},
		"after 0":       {`,"after":0,"limit":1`, []uint32{1}},
		"after all":     {`,"after":250`, nil},
		"far after":     {`,"after":4294967294`, nil},
	} {
		if got := host.listed(c.options); !slices.Equal(got, c.want) {
			t.Errorf("%s: the list tells %v, want %v", name, got, c.want)
		}
	}
	host.say(`{"type":"list","limit":2}`)
	host.hears(`{"type":"list","viewers":[{"id":1,"name":"pupil 1"},{"id":2}],"total":225}`)
	host.say(`{"type":"list","after":250}`)
	host.hears(`{"type":"list","viewers":[],"total":225}`)
	for _, options := range []string{`,"limit":0`, `,"limit":1001`, `,"limit":-1`, `,"limit":1.5`, `,"limit":"5"`, `,"after":-1`, `,"after":4294967296`} {
		host.fails("bad_message", `{"type":"list"%s}`, options)
	}
	// Whoever goes through the pages meets everybody once, though viewers go.
	var met []uint32
	for after := uint32(0); ; {
		page := host.listed(fmt.Sprintf(`,"after":%d,"limit":40`, after))
		if len(page) == 0 {
			break
		}
		met = append(met, page...)
		after = page[len(page)-1]
		all[after-1].reset()
	}
	if !slices.Equal(met, want) {
		t.Errorf("the pages told %v", met)
	}
}

func TestListForViewersIfRoster(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, closed := r.opens(0, "")
	v, _ := r.enters(0, closed.Code, "")
	v.fails("not_host", `{"type":"list"}`)
	_, open := r.opens(0, `,"roster":true`)
	v, _ = r.enters(0, open.Code, `,"name":"Ada"`)
	v.say(`{"type":"list"}`)
	v.hears(`{"type":"list","viewers":[{"id":1,"name":"Ada"}],"total":1}`)
	r.dial(0).fails("not_in_room", `{"type":"list"}`)
}

func TestKickEndsTheConnectionAndVoidsTheToken(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	v, me := r.enters(1, room.Code, "")
	other, _ := r.enters(1, room.Code, "")
	r.fresh(host)
	host.say(`{"type":"kick","id":1}`)
	host.hears(`{"type":"kicked","id":1}`)
	v.hears(`{"type":"closed","reason":"kicked"}`, "close 4002")
	other.hears()
	host.lists(2)
	p := r.dial(0)
	p.fails("bad_token", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
	if again := p.gets("joined", `{"type":"join","code":"%s"}`, room.Code); again.ID != 3 {
		t.Errorf("the kicked viewer joined afresh as %s", again.text)
	}
	for _, id := range []string{"1", "4"} {
		host.fails("no_such_viewer", `{"type":"kick","id":%s}`, id)
	}
	other.fails("not_host", `{"type":"kick","id":3}`)
	host.gets("closed", `{"type":"close"}`)
}

// TestKickDropsWhatIsStillDue, but for the frame that the viewer is in the
// middle of.
func TestKickDropsWhatIsStillDue(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	v, _ := r.enters(0, room.Code, "")
	v.room = 10
	for i := range 100 {
		host.say(fmt.Sprintf(`{"type":"command","data":%d}`, i))
	}
	r.run()
	host.say(`{"type":"kick","id":1}`)
	r.run()
	v.drain(plenty)
	v.hears(`{"type":"command","data":0}`, `{"type":"closed","reason":"kicked"}`, "close 4002")
}

// TestKickWhileTheViewerGoes has the viewer go, or come back, after the host's
// worker has found it.
func TestKickWhileTheViewerGoes(t *testing.T) {
	for name, move := range map[string]func(*school){
		"reset":       func(c *school) { c.viewers[0].reset() },
		"close frame": func(c *school) { c.viewers[0].frame(ws.OpClose, "") },
		"leave":       func(c *school) { c.viewers[0].say(`{"type":"leave"}`) },
		"leave and join": func(c *school) {
			c.viewers[0].say(`{"type":"leave"}`)
			c.viewers[0].say(`{"type":"join","code":"` + c.room.Code + `"}`)
			c.viewers[0].say(`{"type":"leave"}`)
		},
		"leave and come back": func(c *school) {
			c.viewers[0].say(`{"type":"leave"}`)
			c.viewers[0].say(`{"type":"join","code":"` + c.room.Code + `","token":"` + c.joined[0].Token + `"}`)
		},
		"come back elsewhere": func(c *school) {
			c.dial(2).say(`{"type":"join","code":"` + c.room.Code + `","token":"` + c.joined[0].Token + `"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newSchool(t, Config{})
			c.host.say(`{"type":"kick","id":1}`)
			move(c)
			c.host.hears(`{"type":"kicked","id":1}`)
			c.host.lists(2, 3)
			p := c.dial(0)
			p.fails("bad_token", `{"type":"join","code":"%s","token":"%s"}`, c.room.Code, c.joined[0].Token)
			checkWhole(t, c.testRelay)
		})
	}
}

// TestIDsAreNeverReused lets many come and go, by themselves and by kicks.
func TestIDsAreNeverReused(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	for id := 1; id <= 500; id++ {
		v, me := r.enters(1, room.Code, "")
		if me.ID != id {
			t.Fatalf("viewer %d joined as %s", id, me.text)
		}
		switch id % 3 {
		case 0:
			v.reset()
		case 1:
			v.gets("left", `{"type":"leave"}`)
		default:
			host.say(fmt.Sprintf(`{"type":"kick","id":%d}`, id))
		}
		r.fresh(host)
	}
	if n := host.session.room.roster.Viewers(); n != 0 {
		t.Errorf("%d viewers are left of none", n)
	}
}

func TestReturningViewerKeepsItsIDAndReplacesTheOlder(t *testing.T) {
	r := newTestRelay(t, 3, Config{})
	host, room := r.opens(0, `,"max_viewers":1`)
	older, me := r.enters(1, room.Code, `,"name":"Ada"`)
	host.say(`{"type":"command","data":1}`)
	newer, again := r.enters(2, room.Code, `,"token":"`+me.Token+`"`)
	if again.ID != 1 || again.Token != me.Token || string(again.Viewers) != "1" || again.Seq != 1 || again.Recovered || !strings.Contains(again.text, `"recovered":false`) {
		t.Errorf("came back as %s", again.text)
	}
	older.hears(`{"type":"command","data":1}`, `{"type":"closed","reason":"replaced"}`, "close 4003")
	r.fresh(host)
	host.say(`{"type":"list"}`)
	host.hears(`{"type":"list","viewers":[{"id":1,"name":"Ada"}],"total":1}`)
	host.say(`{"type":"command","data":2}`)
	host.say(`{"type":"message","to":1,"data":3}`)
	newer.hears(`{"type":"command","data":2}`, `{"type":"message","from":"host","data":3}`)
	newer.reset()
	// Its place is free meanwhile, and taken when somebody else is there.
	other, _ := r.enters(0, room.Code, "")
	p := r.dial(1)
	p.fails("room_full", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
	other.reset()
	if again := p.gets("joined", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token); again.ID != 1 {
		t.Errorf("came back as %s", again.text)
	}
	checkWhole(t, r)
}

func TestReturningViewerNeedsATokenOfThisRoom(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, "")
	_, other := r.opens(0, "")
	_, me := r.enters(0, room.Code, "")
	_, stranger := r.enters(0, other.Code, "")
	flipped := []byte(me.Token)
	flipped[len(flipped)-1] ^= 1
	promoted := "00000002" + me.Token[8:]
	p := r.dial(0)
	for _, token := range []string{"", stranger.Token, room.Token, string(flipped), promoted, me.Token + "00", "é"} {
		p.fails("bad_token", `{"type":"join","code":"%s","token":"%s"}`, room.Code, token)
	}
}

func TestRoomFullAtMaxViewers(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxViewers: 3})
	_, two := r.opens(0, `,"max_viewers":2`)
	_, most := r.opens(0, "")
	r.dial(0).fails("bad_message", `{"type":"create","max_viewers":4}`)
	for n, room := range map[int]event{2: two, 3: most} {
		var first *peer
		for range n {
			first, _ = r.enters(0, room.Code, "")
		}
		p := r.dial(0)
		p.fails("room_full", `{"type":"join","code":"%s"}`, room.Code)
		first.reset()
		p.gets("joined", `{"type":"join","code":"%s"}`, room.Code)
	}
}

// TestExactlyTheCapacityGetsIn has a thousand join at once.
func TestExactlyTheCapacityGetsIn(t *testing.T) {
	const workers, perWorker, capacity = 4, 250, 137
	r, busy, _, code := startBusyRoom(t, workers, Config{}, fmt.Sprintf(`{"type":"create","max_viewers":%d}`, capacity))
	peers := make([][]*peer, workers)
	var joining sync.WaitGroup
	for i, w := range busy {
		joining.Go(func() {
			for range perWorker {
				w.do(func() {
					p := r.dial(i)
					p.say(`{"type":"join","code":"` + code + `"}`)
					peers[i] = append(peers[i], p)
				})
			}
		})
	}
	joining.Wait()
	for _, w := range busy {
		w.stop.Store(true)
		w.done.Wait()
	}
	ids := make(map[int]bool)
	refused := 0
	for _, some := range peers {
		for _, p := range some {
			all := p.frames()
			e, err := parseEvent(all[0])
			switch {
			case len(all) != 1 || err != nil:
				t.Fatalf("a viewer heard %q", all)
			case e.Type == "joined" && !ids[e.ID]:
				ids[e.ID] = true
			case e.Error == "room_full":
				refused++
			default:
				t.Fatalf("a viewer heard %s", e.text)
			}
		}
	}
	if len(ids) != capacity || refused != workers*perWorker-capacity {
		t.Errorf("%d got in and %d were refused; the capacity is %d", len(ids), refused, capacity)
	}
	for id := 1; id <= capacity; id++ {
		if !ids[id] {
			t.Errorf("nobody has the id %d", id)
		}
	}
}
