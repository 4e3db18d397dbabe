package hub

import (
	"fmt"
	"strings"
	"testing"
)

func TestMessageOfTheHostReachesThatViewer(t *testing.T) {
	c := newSchool(t, Config{})
	c.host.say(`{"type":"message","to":2,"data": {"a" :[1.0,"\u00e9"]} }`)
	c.viewers[1].hears(`{"type":"message","from":"host","data":{"a" :[1.0,"\u00e9"]}}`)
	c.viewers[0].hears()
	c.viewers[2].hears()
	c.host.hears()
	for _, id := range []string{"4", "4294967295"} {
		c.host.fails("no_such_viewer", `{"type":"message","to":%s,"data":1}`, id)
	}
	for _, to := range []string{"0", "-1", "1.5", "4294967296", `"1"`, "null"} {
		c.host.fails("bad_message", `{"type":"message","to":%s,"data":1}`, to)
	}
	c.host.fails("bad_message", `{"type":"message","data":1}`)
	c.host.fails("bad_message", `{"type":"message","to":1}`)
}

func TestMessageOfAViewerReachesTheHost(t *testing.T) {
	c := newSchool(t, Config{})
	c.viewers[2].say(`{"type":"message","data":{"hand":true,"from":1},"to":1,"from":1}`)
	c.host.hears(`{"type":"message","from":3,"data":{"hand":true,"from":1}}`)
	c.viewers[0].hears()
	c.viewers[2].fails("bad_message", `{"type":"message"}`)
	c.dial(0).fails("not_in_room", `{"type":"message","data":1}`)
	c.host.reset()
	c.viewers[2].hears(hostLeftText)
	c.viewers[2].fails("host_away", `{"type":"message","data":1}`)
}

// TestMessageOnItsWayWhenTheHostGoes has the host go after the viewer's worker
// has found it.
func TestMessageOnItsWayWhenTheHostGoes(t *testing.T) {
	c := newSchool(t, Config{})
	c.viewers[0].say(`{"type":"message","data":1}`)
	c.host.say(`{"type":"leave"}`)
	c.run()
	if got := strings.Join(c.viewers[0].frames(), " "); !strings.Contains(got, `"error":"host_away"`) || !strings.Contains(got, `"re":"message"`) || !strings.Contains(got, hostLeftText) {
		t.Errorf("the viewer heard %s", got)
	}
	checkWhole(t, c.testRelay)
}

func TestMessageOnItsWayWhenTheViewerGoes(t *testing.T) {
	for name, vanish := range map[string]string{"leaves": `{"type":"leave"}`, "closes": ""} {
		t.Run(name, func(t *testing.T) {
			c := newSchool(t, Config{})
			c.host.say(`{"type":"message","to":1,"data":1}`)
			if vanish == "" {
				c.viewers[0].reset()
			} else {
				c.viewers[0].say(vanish)
			}
			c.host.hears(`{"type":"error","error":"no_such_viewer",*`)
		})
	}
}

// TestOrderOfPrivateEvents: message and host_changed come after the broadcasts
// that came before them, pong and error may overtake.
func TestOrderOfPrivateEvents(t *testing.T) {
	c := newSchool(t, Config{})
	v := c.viewers[0]
	v.room = 5
	c.host.say(`{"type":"command","data":1}`)
	c.host.say(`{"type":"command","data":2}`)
	c.host.say(`{"type":"message","to":1,"data":"after 2"}`)
	c.host.say(`{"type":"command","data":3}`)
	c.host.say(`{"type":"grant_host","id":2}`)
	c.run()
	c.viewers[1].say(`{"type":"command","data":4}`)
	c.viewers[1].say(`{"type":"message","to":1,"data":"after 4"}`)
	c.viewers[1].say(`{"type":"leave"}`)
	c.run()
	v.say(`{"type":"ping","data":"urgent"}`)
	v.say(`{"type":"message","data":"to nobody"}`)
	resumed := c.dial(0)
	resumed.say(`{"type":"create"}`)
	c.run()
	v.drain(plenty)
	v.hears(`{"type":"command","data":1}`, `{"type":"pong","data":"urgent"}`, `{"type":"error","error":"host_away",*`,
		`{"type":"command","data":2}`, `{"type":"message","from":"host","data":"after 2"}`, `{"type":"command","data":3}`,
		`{"type":"host_changed","id":2}`, `{"type":"command","data":4}`, `{"type":"message","from":"host","data":"after 4"}`, hostLeftText)
}

func TestOrderOfClosedIsAfterTheLastBroadcast(t *testing.T) {
	for why, end := range map[string]func(c *school){
		"host_closed": func(c *school) { c.host.say(`{"type":"close"}`) },
		"host_gone":   func(c *school) { c.hub.Configure(Config{HostGrace: -1}); c.host.reset() },
		"deleted":     func(c *school) { c.hub.DeleteRoom(c.room.Code) },
	} {
		t.Run(why, func(t *testing.T) {
			c := newSchool(t, Config{})
			v := c.viewers[0]
			v.room = 5
			c.host.say(`{"type":"command","data":1}`)
			c.host.say(`{"type":"command","data":2}`)
			c.host.say(`{"type":"message","to":1,"data":3}`)
			c.run()
			end(c)
			c.run()
			v.drain(plenty)
			v.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`, `{"type":"message","from":"host","data":3}`,
				`{"type":"closed","reason":"`+why+`"}`, "close 4000")
			if why == "deleted" {
				c.host.hears(`{"type":"closed","reason":"deleted"}`, "close 4000")
			}
		})
	}
}

func TestReplacedViewerGetsWhatWasDue(t *testing.T) {
	c := newSchool(t, Config{})
	v := c.viewers[0]
	v.room = 5
	c.host.say(`{"type":"command","data":1}`)
	c.host.say(`{"type":"command","data":2}`)
	c.run()
	c.enters(2, c.room.Code, `,"token":"`+c.joined[0].Token+`"`)
	v.drain(plenty)
	v.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`, `{"type":"closed","reason":"replaced"}`, "close 4003")
}

// TestMessagesOf5000ViewersAtOnce: the host, which does not read, gets what its
// queue takes, in order; the others hear too_fast; and the broadcast goes on.
func TestMessagesOf5000ViewersAtOnce(t *testing.T) {
	const viewers, private = 5000, 64 << 10
	r := newTestRelay(t, 4, Config{MaxPrivate: private, HostRate: 0})
	host, room := r.opens(0, "")
	var all []*peer
	for i := range viewers {
		p := r.dial(1 + i%3)
		p.say(`{"type":"join","code":"` + room.Code + `"}`)
		all = append(all, p)
	}
	r.fresh(host)
	r.fresh(all...)
	host.room = 0
	for i, p := range all {
		p.say(fmt.Sprintf(`{"type":"message","data":"%d %s"}`, i, strings.Repeat("x", 50)))
		if i%100 == 0 {
			r.run()
			host.say(fmt.Sprintf(`{"type":"command","data":%d}`, i))
		}
	}
	r.run()
	if waits := host.session.out.bytes; waits > private || waits < private/2 {
		t.Errorf("%d bytes wait for the host, of at most %d", waits, private)
	}
	if reading, _ := host.session.Wants(); !reading || host.session.phase != open {
		t.Error("the host is not heard any more")
	}
	refused := 0
	for i, p := range all {
		broadcasts := 0
		for _, text := range p.frames() {
			switch {
			case text == fmt.Sprintf(`{"type":"command","data":%d}`, 100*broadcasts):
				broadcasts++
			case strings.HasPrefix(text, `{"type":"error","error":"too_fast"`) && strings.HasSuffix(text, `"re":"message"}`):
				refused++
			default:
				t.Fatalf("viewer %d heard %s", i, text)
			}
		}
		if broadcasts != viewers/100 {
			t.Fatalf("viewer %d heard %d broadcasts", i, broadcasts)
		}
	}
	host.drain(plenty)
	r.run()
	taken, last := 0, [3]int{-1, -1, -1}
	for _, text := range host.frames() {
		var id, n int
		if _, err := fmt.Sscanf(text, `{"type":"message","from":%d,"data":"%d `, &id, &n); err != nil {
			t.Fatalf("the host heard %s", text)
		}
		if n <= last[n%3] || id != n+1 {
			t.Fatalf("the host heard of %d after %d, from %d", n, last[n%3], id)
		}
		last[n%3] = n
		taken++
	}
	if taken+refused != viewers || refused == 0 {
		t.Errorf("the host got %d messages, %d were refused, of %d", taken, refused, viewers)
	}
	all[0].say(`{"type":"message","data":"again"}`)
	host.hears(`{"type":"message","from":1,"data":"again"}`)
	checkWhole(t, r)
}

// TestMessagesOfAHostAreBounded for a viewer that does not read.
func TestMessagesOfAHostAreBounded(t *testing.T) {
	c := newSchool(t, Config{MaxPrivate: 2000})
	v := c.viewers[0]
	v.room = 0
	taken := 0
	for i := range 100 {
		c.host.say(fmt.Sprintf(`{"type":"message","to":1,"data":"%3d %s"}`, i, strings.Repeat("x", 100)))
		c.run()
		if got := c.host.frames(); len(got) == 0 {
			taken++
		} else if !strings.HasPrefix(got[0], `{"type":"error","error":"too_fast",`) {
			t.Fatalf("the host heard %q", got)
		}
	}
	v.drain(plenty)
	if got := v.frames(); len(got) != taken || taken == 0 || taken > 20 {
		t.Errorf("the viewer got %d of %d", len(got), taken)
	}
}

// TestMessagesOnTheirWayAreBounded while the host's worker is busy.
func TestMessagesOnTheirWayAreBounded(t *testing.T) {
	c := newSchool(t, Config{MaxPrivate: 2000, ViewerRate: 1000})
	v := c.viewers[0]
	for range 60 {
		v.say(`{"type":"message","data":"` + strings.Repeat("x", 100) + `"}`) // no worker has run since
	}
	if mail := c.host.session.room.toHost.Load(); mail > 2000 || mail < 1000 {
		t.Errorf("%d bytes are on their way", mail)
	}
	refused := len(v.frames())
	c.run()
	if taken := len(c.host.frames()); taken == 0 || taken+refused != 60 || len(v.frames()) > 0 {
		t.Errorf("%d were taken, %d refused at once", taken, refused)
	}
	checkWhole(t, c.testRelay)
}

// TestMailToOneThatHasComeBackOnItsConnection has a viewer leave and join again,
// in another encoding, while a message is on its way to it.
func TestMailToOneThatHasComeBackOnItsConnection(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.host(0)
	v := r.numberedViewer(1, code)
	id, token := v.session.id, viewerToken(v.session.room, v.session.id)
	host.say(fmt.Sprintf(`{"type":"message","to":%d,"data":1}`, id))
	v.say(`{"type":"leave"}`)
	v.say(`{"type":"join","code":"` + code + `","token":"` + token + `"}`)
	v.hears(`{"type":"left"}`, `{"type":"joined"*`, `{"type":"message","from":"host","data":1}`)
	host.say(command(1))
	host.say(`{"type":"close"}`)
	v.hears(command(1), `{"type":"closed","reason":"host_closed"}`, "close 4000")
}

// viewerToken returns the token of the viewer with the id.
func viewerToken(r *Room, id uint32) string { return string(r.AppendViewerToken(nil, id)) }
