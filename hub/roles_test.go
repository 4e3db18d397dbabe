package hub

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

var (
	createdText = regexp.MustCompile(`^\{"type":"created","code":"[0-9A-Z]{4}-[0-9A-Z]{4}","token":"[0-9a-f]{32}","epoch":"[0-9a-f]+"\}$`)
	joinedText  = regexp.MustCompile(`^\{"type":"joined","code":"[0-9A-Z]{4}-[0-9A-Z]{4}","id":1,"token":"[0-9a-f]{40}","epoch":"[0-9a-f]+","seq":2,"viewers":1,"host":true\}$`)
)

func TestCreateTellsCodeTokenAndEpoch(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, a := r.opens(0, "")
	_, b := r.opens(0, `,"name":"Physics","secret":"s","max_viewers":5,"history":"host","slow":"close","roster":true`)
	for _, e := range []event{a, b} {
		if !createdText.MatchString(e.text) {
			t.Errorf("create was answered with %s", e.text)
		}
	}
	if a.Code == b.Code || a.Token == b.Token || a.Epoch == b.Epoch {
		t.Errorf("two rooms have something in common: %s, %s", a.text, b.text)
	}
}

func TestCreateWithAKeyIfTheRelayAsksForOne(t *testing.T) {
	r := newTestRelay(t, 1, Config{CreateKey: "sesame"})
	p := r.dial(0)
	p.fails("create_forbidden", `{"type":"create"}`)
	p.fails("create_forbidden", `{"type":"create","key":""}`)
	p.fails("create_forbidden", `{"type":"create","key":"Sesame"}`)
	p.fails("bad_message", `{"type":"create","key":1}`)
	p.gets("created", `{"type":"create","key":"sesame"}`)
}

func TestJoinTellsIDTokenEpochSeqViewersAndHost(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	host.say(`{"type":"command","data":1}`)
	host.say(`{"type":"broadcast","data":2}`)
	_, first := r.enters(1, room.Code, `,"name":"Ada"`)
	if !joinedText.MatchString(first.text) || first.Code != room.Code || first.Epoch != room.Epoch {
		t.Errorf("join was answered with %s in the room %s", first.text, room.text)
	}
	host.reset()
	_, second := r.enters(0, room.Code, "")
	if second.ID != 2 || second.Host || string(second.Viewers) != "2" || second.Token == first.Token {
		t.Errorf("join without a host was answered with %s", second.text)
	}
}

func TestJoinWithASecret(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, room := r.opens(0, `,"secret":"pässword"`)
	p := r.dial(0)
	p.fails("secret_required", `{"type":"join","code":"%s"}`, room.Code)
	p.fails("wrong_secret", `{"type":"join","code":"%s","secret":""}`, room.Code)
	p.fails("wrong_secret", `{"type":"join","code":"%s","secret":"Pässword"}`, room.Code)
	me := p.gets("joined", `{"type":"join","code":"%s","secret":"p\u00e4ssword"}`, room.Code)
	p.reset()
	back, again := r.enters(0, room.Code, `,"token":"`+me.Token+`"`) // a viewer that comes back needs no secret
	if again.ID != me.ID {
		t.Errorf("came back as %s", again.text)
	}
	back.gets("left", `{"type":"leave"}`)
	_, open := r.opens(0, "")
	r.enters(0, open.Code, `,"secret":"that nobody asked for"`)
}

func TestBroadcastIsRelayedLikeACommand(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	v, _ := r.enters(1, room.Code, "")
	host.say(` { "data":[1, 2],"type" : "broadcast" }`)
	v.hears(` { "data":[1, 2],"type" : "broadcast" }`)
	host.fails("bad_message", `{"type":"broadcast"}`)
	host.fails("bad_message", `{"type":"broadcast","data":1,"seq":1}`)
	v.fails("not_host", `{"type":"broadcast","data":1}`)
	v.hears()
}

func TestResumeTellsSeqAndSent(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	v, _ := r.enters(1, room.Code, "")
	host.say(`{"type":"command","data":1}`)
	host.say(`{"type":"command","data":2}`)
	host.reset()
	v.hears(`{"type":"command","data":1}`, `{"type":"command","data":2}`, hostLeftText)
	back := r.dial(1)
	back.say(`{"type":"resume","code":"` + strings.ToLower(room.Code) + `","token":"` + room.Token + `"}`)
	want := strings.TrimSuffix(room.text, "}") + `,"resumed":true,"seq":2,"sent":2}`
	back.hears(want)
	v.hears(hostBackText)
	back.say(`{"type":"command","data":3}`)
	v.hears(`{"type":"command","data":3}`)
}

func TestResumeNeedsTheToken(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	_, other := r.opens(0, "")
	_, viewer := r.enters(0, room.Code, "")
	p := r.dial(0)
	for _, token := range []string{"", "00000000000000000000000000000000", other.Token, viewer.Token, strings.ToUpper(room.Token) + " ", room.Token[1:]} {
		p.fails("bad_token", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, token)
	}
	p.fails("room_not_found", `{"type":"resume","code":"nowhere","token":"%s"}`, room.Token)
	p.fails("bad_message", `{"type":"resume","code":"%s"}`, room.Code)
	p.fails("bad_message", `{"type":"resume","token":"%s"}`, room.Token)
	host.fails("already_in_room", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
}

// TestResumeReplacesTheOlderHost has the older connection speak after it was
// replaced, but before it could be told.
func TestResumeReplacesTheOlderHost(t *testing.T) {
	late := map[string]string{
		"command":    `{"type":"command","data":"late"}`,
		"history":    `{"type":"history","commands":["late"]}`,
		"message":    `{"type":"message","to":1,"data":"late"}`,
		"list":       `{"type":"list"}`,
		"kick":       `{"type":"kick","id":1}`,
		"grant_host": `{"type":"grant_host","id":1}`,
		"close":      `{"type":"close"}`,
	}
	for name, text := range late {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 3, Config{})
			old, room := r.opens(0, "")
			v, _ := r.enters(1, room.Code, "")
			r.fresh(old)
			next := r.dial(2)
			next.say(`{"type":"resume","code":"` + room.Code + `","token":"` + room.Token + `"}`)
			old.say(text) // the workers have not run since
			want := []string{`{"type":"error","error":"not_host",*`, `{"type":"closed","reason":"replaced"}`, "close 4003"}
			if name == "history" {
				want = want[1:] // one that nobody waits for is dropped
			}
			old.hears(want...)
			v.hears()
			next.hears(`{"type":"created",*`)
			next.lists(1)
			next.say(`{"type":"command","data":"next"}`)
			v.hears(`{"type":"command","data":"next"}`)
		})
	}
}

func TestResumeTwiceAtOnceLeavesOneHost(t *testing.T) {
	r := newTestRelay(t, 3, Config{})
	old, room := r.opens(0, "")
	old.reset()
	v, _ := r.enters(2, room.Code, "")
	first, second := r.dial(0), r.dial(1)
	resume := `{"type":"resume","code":"` + room.Code + `","token":"` + room.Token + `"}`
	first.say(resume)
	second.say(resume)
	first.say(`{"type":"command","data":"first"}`)
	second.say(`{"type":"command","data":"second"}`)
	first.hears(`{"type":"created",*`, `{"type":"error","error":"not_host",*`, `{"type":"closed","reason":"replaced"}`, "close 4003")
	second.hears(`{"type":"created",*`)
	v.hears(hostBackText, `{"type":"command","data":"second"}`)
}

// TestReplacedHostMayResumeAtOnce has the older connection leave and resume
// before it could be told that it was replaced.
func TestReplacedHostMayResumeAtOnce(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	a, room := r.opens(0, "")
	b := r.dial(1)
	resume := `{"type":"resume","code":"` + room.Code + `","token":"` + room.Token + `"}`
	b.say(resume)
	a.say(`{"type":"leave"}`)
	a.say(resume)
	a.hears(`{"type":"left"}`, `{"type":"created",*`)
	b.hears(`{"type":"created",*`, `{"type":"closed","reason":"replaced"}`, "close 4003")
	v, _ := r.enters(1, room.Code, "")
	a.say(`{"type":"command","data":1}`)
	v.hears(`{"type":"command","data":1}`)
}

func TestHostGraceEndsExactly(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		saved bool
	}{
		"just in time":  {time.Minute - time.Millisecond, true},
		"at its end":    {time.Minute, false},
		"after the end": {time.Minute + time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newTestRelay(t, 2, Config{})
				host, room := r.opens(0, "")
				v, _ := r.enters(1, room.Code, "")
				host.say(`{"type":"command","data":"last"}`)
				host.reset()
				v.hears(`{"type":"command","data":"last"}`, hostLeftText)
				r.sleep(c.after)
				next := r.dial(0)
				if !c.saved {
					v.hears(`{"type":"closed","reason":"host_gone"}`, "close 4000")
					next.fails("room_not_found", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
					return
				}
				next.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
				v.hears(hostBackText)
				r.sleep(time.Hour)
				v.hears()
				next.reset() // the grace begins anew
				r.sleep(time.Minute - time.Millisecond)
				v.hears(hostLeftText)
				r.sleep(time.Millisecond)
				v.hears(`{"type":"closed","reason":"host_gone"}`, "close 4000")
			})
		})
	}
}

// TestHostResumesAtTheVeryEndOfTheGrace has both happen at once, under the race
// detector: the room either goes on or is closed.
func TestHostResumesAtTheVeryEndOfTheGrace(t *testing.T) {
	saved, lost := 0, 0
	for i := range 300 {
		r := newTestRelay(t, 2, Config{HostGrace: time.Duration(1+i%5) * time.Millisecond})
		host, room := r.opens(0, "")
		v, _ := r.enters(1, room.Code, "")
		next := r.dial(0)
		host.reset()
		time.Sleep(r.hub.Config().HostGrace - time.Duration(i%10)*50*time.Microsecond)
		next.say(`{"type":"resume","code":"` + room.Code + `","token":"` + room.Token + `"}`)
		if answer := next.event(); answer.Type == "created" {
			saved++
			next.say(`{"type":"command","data":1}`)
			v.hears(`{"type":"host_left",*`, hostBackText, `{"type":"command","data":1}`)
			next.say(`{"type":"close"}`)
			v.hears(`{"type":"closed","reason":"host_closed"}`, "close 4000")
		} else if answer.Error == "room_not_found" {
			lost++
			v.relay.run()
			for deadline := time.Now().Add(5 * time.Second); v.session.phase == open && time.Now().Before(deadline); {
				r.run() // the timer has closed the room, but not yet posted
			}
			v.hears(`{"type":"host_left",*`, `{"type":"closed","reason":"host_gone"}`, "close 4000")
		} else {
			t.Fatalf("resume was answered with %s", answer.text)
		}
	}
	t.Logf("%d saved, %d lost", saved, lost)
}

func TestHostGraceOfNoneClosesAtOnce(t *testing.T) {
	r := newTestRelay(t, 1, Config{HostGrace: -1})
	host, room := r.opens(0, "")
	v, _ := r.enters(0, room.Code, "")
	host.gets("left", `{"type":"leave"}`)
	v.hears(`{"type":"closed","reason":"host_gone"}`, "close 4000")
	host.gets("created", `{"type":"create"}`)
}

func TestLeaveOfAHostIsAsIfItsConnectionHadEnded(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	v, _ := r.enters(1, room.Code, "")
	host.gets("left", `{"type":"leave"}`)
	v.hears(hostLeftText)
	v.fails("host_away", `{"type":"message","data":1}`)
	host.fails("not_in_room", `{"type":"command","data":1}`)
	host.fails("not_in_room", `{"type":"leave"}`)
	host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
	v.hears(hostBackText)
	host.gets("left", `{"type":"leave"}`)
	host.gets("joined", `{"type":"join","code":"%s"}`, room.Code)
	host.gets("left", `{"type":"leave"}`)
	host.gets("created", `{"type":"create"}`)
}

func TestLeaveOfAViewerKeepsTheConnection(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, room := r.opens(0, "")
	v, me := r.enters(1, room.Code, "")
	v.gets("left", `{"type":"leave"}`)
	host.say(`{"type":"command","data":"not for it"}`)
	v.fails("not_in_room", `{"type":"message","data":1}`)
	host.lists()
	if again := v.gets("joined", `{"type":"join","code":"%s"}`, room.Code); again.ID != 2 || again.Seq != 1 {
		t.Errorf("joined again as %s", again.text)
	}
	v.gets("left", `{"type":"leave"}`)
	if again := v.gets("joined", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token); again.ID != 1 || again.Token != me.Token {
		t.Errorf("came back as %s", again.text)
	}
	host.say(`{"type":"command","data":"for it"}`)
	v.hears(`{"type":"command","data":"for it"}`)
	v.gets("left", `{"type":"leave"}`)
	v.gets("created", `{"type":"create"}`)
}

func TestPingAnswersWithTheSameData(t *testing.T) {
	r := newTestRelay(t, 1, Config{ViewerRate: 100})
	host, room := r.opens(0, "")
	v, _ := r.enters(0, room.Code, "")
	for _, p := range []*peer{host, v, r.dial(0)} {
		p.say(`{"type":"ping"}`)
		p.say(`{"type":"ping","data": {"b":[1, 2.50],"a":"\u00e9"} }`)
		p.say(`{"data":null,"type":"ping"}`)
		p.hears(`{"type":"pong"}`, `{"type":"pong","data":{"b":[1, 2.50],"a":"\u00e9"}}`, `{"type":"pong","data":null}`)
		p.fails("bad_message", `{"type":"ping","data":1,"data":2}`)
	}
}

func TestCloseKeepsTheHostAndForgetsTheRoom(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	host, room := r.opens(0, "")
	v, me := r.enters(0, room.Code, "")
	host.gets("closed", `{"type":"close"}`)
	v.hears(`{"type":"closed","reason":"host_closed"}`, "close 4000")
	host.fails("room_not_found", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
	host.fails("room_not_found", `{"type":"join","code":"%s","token":"%s"}`, room.Code, me.Token)
	v.frame(ws.OpClose, "\x0f\xa0")
	if !v.gone {
		t.Error("the viewer's connection stays")
	}
	checkCounts(t, r, 0, 0, 1)
}
