package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLesson holds a whole lesson for 250 viewers, more than a page of the list has, with
// each kind of client as the host.
func TestLesson(t *testing.T) {
	t.Parallel()
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			if why := kind.absent(); why != "" {
				Missing(t, why)
			}
			t.Parallel()
			l := newLesson(t)
			next := kinds[(i+1)%len(kinds)] // who becomes the host
			if next.absent() != "" {
				next = kinds[0]
			}
			l.hold(kind.start, next.start, 250)
			l.tellsNoSecrets()
		})
	}
}

// A lesson is a relay and everything that it has sent.
type lesson struct {
	t         *testing.T
	b         *binary
	createKey string
	apiKey    string
	secret    string   // of the room
	tokens    []string // of hosts and viewers
	code      string
	everybody []*pupil
}

// newLesson starts a relay that logs as much as it can, and waits for a second only for
// browsers to close connections that they did not need.
func newLesson(t *testing.T) *lesson {
	l := &lesson{t: t, createKey: "create-key-5f3b8a1c", apiKey: "api-key-90d2c47e-0123456789", secret: "room-secret-é-77ab"}
	env := []string{"env", "LECTERN_CREATE_KEY=" + l.createKey, "LECTERN_API_KEY=" + l.apiKey}
	l.b = startBinaryUnder(t, env, "--log-level", "debug", "--host-grace", "20s", "--close-timeout", "1s")
	return l
}

// A pupil is a peer whose messages are kept. Those about presence come at any time and
// are kept apart.
type pupil struct {
	peer
	lesson   *lesson
	told     []string
	presence []message
	me       message // what it was told when it entered
}

// A message is one of the relay's, with the fields that tests look at.
type message struct {
	Type, Code, Token, Error, Reason string

	ID, Seq, Sent, Total int
	Resumed              bool
	Viewers              json.RawMessage // a count, or a list
	Joined               []struct {
		ID   int
		Name string
	}
}

func (l *lesson) enrol(p peer) *pupil {
	n := &pupil{peer: p, lesson: l}
	l.everybody = append(l.everybody, n)
	return n
}

// hear returns the next message, but for presence.
func (p *pupil) hear() heard {
	p.lesson.t.Helper()
	for {
		h := p.peer.hear()
		p.told = append(p.told, h.Text)
		var m message
		if json.Unmarshal([]byte(h.Text), &m) == nil && m.Type == "presence" {
			p.presence = append(p.presence, m)
			continue
		}
		return h
	}
}

// gets returns the next message, which must be of the type.
func (p *pupil) gets(kind string) (m message) {
	t := p.lesson.t
	t.Helper()
	h := p.hear()
	if err := json.Unmarshal([]byte(h.Text), &m); err != nil || m.Type != kind {
		t.Fatalf("heard %+v, want %s", h, kind)
	}
	if m.Token != "" {
		p.lesson.tokens = append(p.lesson.tokens, m.Token)
	}
	return m
}

// fails says something that must be answered with the error.
func (p *pupil) fails(code, text string) {
	p.lesson.t.Helper()
	p.say(text)
	if m := p.gets("error"); m.Error != code {
		p.lesson.t.Fatalf("%s was answered with %s, want %s", text, m.Error, code)
	}
}

// hears checks the next messages.
func (p *pupil) hears(texts ...string) {
	p.lesson.t.Helper()
	for _, want := range texts {
		if got := p.hear(); got != (heard{Text: want}) {
			p.lesson.t.Fatalf("heard %+v, want %s", got, want)
		}
	}
}

// ends checks why the relay closes the connection.
func (p *pupil) ends(why string, code int) {
	p.lesson.t.Helper()
	p.hears(`{"type":"closed","reason":"` + why + `"}`)
	if got := p.hear(); got != (heard{Closed: code, Reason: why}) {
		p.lesson.t.Fatalf("closed with %+v, want %d %s", got, code, why)
	}
}

// hold goes through a lesson with so many pupils. The host, of one kind, makes a client
// of another kind the host.
func (l *lesson) hold(start, startNext func(*testing.T, string) peer, pupils int) {
	t := l.t
	cable := newCable(t, l.b.addr, nil)
	host := l.enrol(start(t, "ws://"+cable.addr()+"/v1/websocket"))
	host.fails("create_forbidden", `{"type":"create"}`)
	host.fails("create_forbidden", `{"type":"create","key":"a wrong key"}`)
	host.say(fmt.Sprintf(`{"type":"create","key":"%s","secret":"%s","name":"Physics 101"}`, l.createKey, l.secret))
	host.me = host.gets("created")
	l.code = host.me.Code

	// A bell rings.
	var class []*pupil
	for i := range pupils {
		kind := startGo
		if i < len(kinds) && kinds[i].absent() == "" {
			kind = kinds[i].start
		}
		if i == pupils-1 {
			kind = startNext
		}
		class = append(class, l.enrol(kind(t, l.b.url("/"))))
	}
	class[0].fails("secret_required", `{"type":"join","code":"`+l.code+`"}`)
	class[0].fails("wrong_secret", `{"type":"join","code":"`+l.code+`","secret":"a wrong secret"}`)
	for i, p := range class {
		p.say(fmt.Sprintf(`{"type":"join","code":"%s","secret":"%s","name":"Zoë %d 😀"}`, strings.ToLower(l.code), l.secret, i))
	}
	byID := make(map[int]*pupil)
	for _, p := range class {
		p.me = p.gets("joined")
		byID[p.me.ID] = p
	}
	if len(byID) != pupils {
		t.Fatalf("%d ids for %d pupils", len(byID), pupils)
	}
	l.register(host, class)
	all := func(texts ...string) {
		t.Helper()
		for _, p := range class {
			p.hears(texts...)
		}
	}
	lecture := oddBroadcasts()[:10]
	for _, text := range lecture {
		host.say(text)
	}
	all(lecture...)

	// Questions and answers.
	for i, p := range class[:10] {
		p.say(fmt.Sprintf(`{"type":"message","data":{"hand":%d}}`, i))
		host.hears(fmt.Sprintf(`{"type":"message","from":%d,"data":{"hand":%d}}`, p.me.ID, i))
		host.say(fmt.Sprintf(`{"type":"message","to":%d,"data":"yes, %d?"}`, p.me.ID, i))
		p.hears(fmt.Sprintf(`{"type":"message","from":"host","data":"yes, %d?"}`, i))
	}

	// One is a nuisance.
	nuisance := class[1]
	host.say(fmt.Sprintf(`{"type":"kick","id":%d}`, nuisance.me.ID))
	host.hears(fmt.Sprintf(`{"type":"kicked","id":%d}`, nuisance.me.ID))
	nuisance.ends("kicked", 4002)
	again := l.enrol(startGo(t, l.b.url("/")))
	again.fails("bad_token", fmt.Sprintf(`{"type":"join","code":"%s","token":"%s"}`, l.code, nuisance.me.Token))
	class = append(class[:1], class[2:]...)
	host.say(`{"type":"command","data":"the last before the cut"}`)
	all(`{"type":"command","data":"the last before the cut"}`)

	// The host's network fails.
	cable.cut()
	all(`{"type":"host_left","grace_ms":20000}`)
	class[0].fails("host_away", `{"type":"message","data":"where are you?"}`)
	host = l.enrol(start(t, l.b.url("/")))
	host.fails("bad_token", `{"type":"resume","code":"`+l.code+`","token":"`+class[0].me.Token+`"}`)
	host.say(`{"type":"resume","code":"` + l.code + `","token":"` + l.everybody[0].me.Token + `"}`)
	if back := host.gets("created"); !back.Resumed || back.Sent != len(lecture)+1 || back.Seq != back.Sent {
		t.Fatalf("resumed as %+v", back)
	}
	host.say(`{"type":"broadcast","data":"after the cut"}`)
	all(`{"type":"host_back"}`, `{"type":"broadcast","data":"after the cut"}`)

	// Another takes over.
	next := class[len(class)-1]
	host.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, next.me.ID))
	next.gets("host")
	class = class[:len(class)-1]
	all(fmt.Sprintf(`{"type":"host_changed","id":%d}`, next.me.ID))
	if me := host.gets("joined"); me.ID != pupils+1 {
		t.Fatalf("the old host joined as %+v", me)
	}
	class = append(class, host)
	next.say(`{"type":"activate","data":"from the new host"}`)
	all(`{"type":"activate","data":"from the new host"}`)
	host.fails("not_host", `{"type":"close"}`)
	l.outside()

	next.say(`{"type":"close"}`)
	next.hears(`{"type":"closed","reason":"host_closed"}`)
	for _, p := range class {
		p.ends("host_closed", 4000)
	}
	again.fails("room_not_found", `{"type":"join","code":"`+l.code+`"}`)
	again.leave()
	next.leave()
	eventually(t, "nothing is left", func() bool {
		return l.b.metric("lectern_rooms") == 0 && l.b.metric(`lectern_connections{phase="open"}`) == 0
	})
}

// register has the host find out who is there: a few events give their number, and a
// list gives their names.
func (l *lesson) register(host *pupil, class []*pupil) {
	l.t.Helper()
	count := func() string {
		if n := len(host.presence); n > 0 {
			return string(host.presence[n-1].Viewers)
		}
		return ""
	}
	names := make(map[int]string)
	for began := time.Now(); count() != fmt.Sprint(len(class)); {
		if time.Since(began) > 10*time.Second {
			l.t.Fatalf("the host counts %s of %d", count(), len(class))
		}
		time.Sleep(50 * time.Millisecond)
		host.say(`{"type":"ping"}`) // and what has come before its answer
		host.gets("pong")
	}
	for _, m := range host.presence {
		if len(m.Joined) > 100 {
			l.t.Errorf("presence tells %d at once", len(m.Joined))
		}
	}
	for after := 0; ; {
		host.say(fmt.Sprintf(`{"type":"list","after":%d,"limit":200}`, after))
		page := host.gets("list")
		var some []struct {
			ID   int
			Name string
		}
		if err := json.Unmarshal(page.Viewers, &some); err != nil || page.Total != len(class) {
			l.t.Fatalf("listed %+v, %v", page, err)
		}
		if len(some) == 0 {
			break
		}
		for _, v := range some {
			names[v.ID] = v.Name
			after = v.ID
		}
	}
	for i, p := range class {
		if want := fmt.Sprintf("Zoë %d 😀", i); names[p.me.ID] != want {
			l.t.Errorf("viewer %d is listed as %q, want %q", p.me.ID, names[p.me.ID], want)
		}
	}
}
