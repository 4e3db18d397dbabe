package hub

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// How clients get into rooms, and what the rules say about it.

// newHall returns a room without anybody, and the fields that ask for it.
func (w *world) newHall(t *rapid.T) (l *hall, fields string) {
	l = &hall{w: w, max: modelGuests}
	l.viewers, l.names, l.tokens, l.void = make(map[uint32]*client), make(map[uint32]string), make(map[uint32]string), make(map[uint32]bool)
	if !w.rules {
		l.relayTells, l.skips = rapid.Bool().Draw(t, "relay tells"), rapid.Bool().Draw(t, "skips")
		return l, fmt.Sprintf(`,"history":"%s","slow":"%s"`, map[bool]string{true: "relay", false: "host"}[l.relayTells], map[bool]string{true: "skip", false: "close"}[l.skips])
	}
	l.max, l.roster = rapid.IntRange(2, modelGuests-1).Draw(t, "max"), rapid.Bool().Draw(t, "roster")
	l.secret = rapid.SampledFrom([]string{"", "", "right"}).Draw(t, "secret")
	fields = fmt.Sprintf(`,"max_viewers":%d,"roster":%t,"name":"a name"`, l.max, l.roster)
	if l.secret != "" {
		fields += `,"secret":"` + l.secret + `"`
	}
	return l, fields
}

func (w *world) create(t *rapid.T, c *client) {
	l, fields := w.newHall(t)
	if !w.says(c, outside, "create", fields) {
		return
	}
	if w.rules && w.open() >= modelRooms {
		c.wrongly("too_many_rooms", "create")
		return
	}
	l.room = c.session.room
	l.code, l.epoch, l.token = l.room.code.String(), l.room.epoch, c.hostToken()
	c.hears(`{"type":"created","code":"%s","token":"%s","epoch":"%s"}`, l.code, l.token, l.epoch)
	c.numbered = false
	l.seats(c)
	w.wake()
	w.halls = append(w.halls, l)
}

// make makes a room over HTTP.
func (w *world) make(t *rapid.T) {
	rare(t, 2)
	l, _ := w.newHall(t)
	info, token, err := w.r.hub.CreateRoom(RoomOptions{Name: "a name", Secret: l.secret, MaxViewers: l.max, Roster: l.roster})
	if full := w.open() >= modelRooms; full != (err != nil) {
		t.Fatalf("CreateRoom: %v with %d rooms", err, w.open())
	} else if full {
		return
	}
	l.room, l.code, l.token = w.r.hub.room(info.Code), info.Code, token
	l.epoch = l.room.epoch
	l.ends, l.why, l.made = time.Now().Add(modelIdle), "room_idle", true
	w.wake()
	w.halls = append(w.halls, l)
}

// finds is the rule for codes.
func (w *world) finds(c *client, code, re string, proof bool) *hall {
	shut := w.shut(c)
	if shut && !proof {
		c.wrongly("too_many_attempts", re)
		return nil
	}
	rests := false
	for _, l := range w.halls {
		if l.code == code && !l.closed {
			return l
		}
		rests = rests || l.code == code && !l.woken
	}
	if shut {
		c.wrongly("too_many_attempts", re)
		return nil
	}
	if c.wrongly("room_not_found", re); !rests {
		w.guess(c.from.String(), code)
	}
	return nil
}

// failedAttempt is the rule for wrong secrets and tokens.
func (w *world) failedAttempt(c *client, l *hall, fault, re string) {
	if w.shut(c) {
		c.wrongly("too_many_attempts", re)
		return
	}
	c.wrongly(fault, re)
	if who := c.from.String() + " " + l.code; w.over(who) {
		c.dies("too_many_attempts", 4429)
	} else {
		w.guess(who, "")
	}
}

// proofs are a join's secret and token, if given, and what else it asks for.
type proofs struct {
	secret, token     *string
	name              string
	numbered, history bool
	known             int    // the last broadcast that it says it had, -1 for none
	epoch             string // of that broadcast, if it is not the room's
	anew              bool   // it comes back as a new viewer, which only event streams can do
}

// isBack reports whether the relay takes the client for one that comes back.
func (p proofs) isBack() bool { return p.token != nil || p.anew }

func (p proofs) fields(l *hall) (text string) {
	add := func(format string, args ...any) { text += fmt.Sprintf(format, args...) }
	if p.secret != nil {
		add(`,"secret":"%s"`, *p.secret)
	}
	if p.token != nil {
		add(`,"token":"%s"`, *p.token)
	}
	if p.isBack() && p.known >= 0 && l != nil {
		add(`,"epoch":"%s","seq":%d`, cmp.Or(p.epoch, l.epoch), p.known)
	}
	if p.name != "" {
		add(`,"name":"%s"`, p.name)
	}
	if p.numbered {
		add(`,"numbered":true`)
	}
	if p.history {
		add(`,"history":true`)
	}
	return text
}

func (w *world) joinOne(t *rapid.T, c *client) {
	l := w.hall(t)
	p := proofs{name: rapid.SampledFrom([]string{"", "", "Ada", "Zoë 😀", "Eve", "much too long"}).Draw(t, "name"), known: -1}
	if dice := rapid.IntRange(0, 5).Draw(t, "dice"); dice == 0 || dice < 5 && l.secret != "" {
		secret := rapid.SampledFrom([]string{"right", "right", "right", "wrong"}).Draw(t, "secret")
		p.secret = &secret
	}
	p.numbered = !c.compact && (c.peer.stream != nil || rapid.Bool().Draw(t, "numbered"))
	code := l.code
	if rapid.Bool().Draw(t, "lower case") {
		code = strings.ToLower(code)
	}
	w.join(t, c, code, p)
}

// returns joins with a token, of this room or another.
func (w *world) returns(t *rapid.T, c *client) {
	l, other := w.hall(t), w.hall(t)
	tokens := slices.Sorted(maps.Values(l.tokens))
	if rapid.IntRange(0, 5).Draw(t, "dice") == 0 {
		tokens = append(slices.Sorted(maps.Values(other.tokens)), "")
		if c.peer.stream == nil { // a host's token makes an event stream the host's
			tokens = append(tokens, l.token)
		}
	}
	if len(tokens) == 0 {
		panic(idle{})
	}
	token := rapid.SampledFrom(tokens).Draw(t, "token")
	w.join(t, c, l.code, proofs{
		token: &token, name: rapid.SampledFrom([]string{"", "Eve"}).Draw(t, "name"),
		numbered: !c.compact && (c.peer.stream != nil || rapid.Bool().Draw(t, "numbered")), known: -1,
	})
}

// join has a client join, and notes what the rules say about it. A refused request for
// an event stream ends the connection.
func (w *world) join(t *rapid.T, c *client, code string, p proofs) {
	if w.tryJoin(t, c, code, p); c.peer.stream != nil && c.hall == nil {
		c.refused, c.dead = true, true
	}
}

func (w *world) tryJoin(t *rapid.T, c *client, code string, p proofs) {
	var l *hall
	for _, other := range w.halls {
		if other.code == code {
			l = other
		}
	}
	if !w.rules {
		c.asked, c.asks = p.history, l.question()
	}
	if !w.says(c, outside, "join", `,"code":"`+code+`"`+p.fields(l)) {
		return
	}
	if len([]rune(p.name)) > 8 {
		c.wrongly("bad_message", "join")
		return
	}
	if l = w.finds(c, strings.ToUpper(code), "join", p.secret != nil || p.token != nil); l == nil {
		return
	}
	id := uint32(0)
	switch {
	case p.token != nil:
		for i, token := range l.tokens {
			if token == *p.token {
				id = i
			}
		}
		if id == 0 {
			w.failedAttempt(c, l, "bad_token", "join")
			return
		}
	case l.secret == "" && w.shut(c):
		c.wrongly("too_many_attempts", "join")
		return
	case l.secret != "" && p.secret == nil:
		c.wrongly("secret_required", "join")
		return
	case l.secret != "" && *p.secret != l.secret:
		w.failedAttempt(c, l, "wrong_secret", "join")
		return
	}
	w.awaitEntry(t, c)
	older := l.viewers[id]
	full := older == nil && len(l.viewers) >= l.max
	if !w.rules { // viewers that were too slow may still be counted
		full = c.session.room == nil && l.room.roster.Viewers() == l.max
	}
	switch {
	case l.void[id]:
		c.wrongly("bad_token", "join")
		return
	case full:
		c.asked = false
		c.wrongly("room_full", "join")
		return
	case older != nil:
		older.dies("replaced", 4003)
		if p.name == "" {
			p.name = l.names[id]
		}
		if p.name != l.names[id] {
			l.changed(l.joined, id)
		}
		l.viewers[id], c.hall, c.id, l.names[id] = c, l, id, p.name
		l.crowd++
		c.begins(l, len(l.order))
	default:
		l.enters(c, id, p.name)
	}
	c.numbered, c.back, c.lastSeen = p.numbered, p.isBack(), -1
	if c.back && p.epoch == "" {
		c.lastSeen = p.known
	}
	c.findsItsPlace(t)
	w.welcomed(c, l)
}

// findsItsPlace notes where the stream of a viewer that has just joined begins.
func (c *client) findsItsPlace(t *rapid.T) {
	l := c.stream
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	if c.session.room == nil {
		t.Fatalf("%s: was not let in", c)
	}
	record, oldest := l.room.streams.oldest(), c.session.log().Oldest()
	if c.lastSeen >= int(record.Seq()) && c.lastSeen < int(oldest.Seq()) {
		t.Fatalf("%s: its Log begins after %d, the record after %d, and it was there at %d", c, oldest.Seq(), record.Seq(), c.lastSeen)
	}
	if c.recovers = c.lastSeen >= int(oldest.Seq()); c.recovers {
		c.number, c.place = c.lastSeen, l.before(c.lastSeen+1)
	}
	if c.recovers && c.peer.stream != nil {
		c.asked = false // it needs none
	}
	if c.asked {
		c.keeps(t, !c.recovers)
	}
}

// welcomed notes what a viewer hears that is in.
func (w *world) welcomed(c *client, l *hall) {
	viewers := len(l.viewers)
	if !w.rules {
		viewers = l.room.roster.Viewers()
	}
	if l.tokens[c.id] == "" {
		l.tokens[c.id] = viewerToken(l.room, c.id)
	}
	text := fmt.Sprintf(`{"type":"joined","code":"%s","id":%d,"token":"%s","epoch":"%s","seq":%d,"viewers":%d,"host":%t`, l.code, c.id, l.tokens[c.id], l.epoch, c.number, viewers, l.host != nil)
	if c.back {
		text += fmt.Sprintf(`,"recovered":%t`, c.recovers)
	}
	c.private = append(c.private, letter{text + "}", c.place})
}

// resumeOne resumes with the host's token, or another.
func (w *world) resumeOne(t *rapid.T, c *client) {
	l := w.hall(t)
	token := l.token
	switch dice := rapid.IntRange(0, 4).Draw(t, "dice"); {
	case dice == 0:
		token = w.hall(t).token
	case dice == 1 && l.granted != "":
		token = l.granted
	case dice == 2 && len(l.tokens) > 0:
		token = l.tokens[1]
	}
	w.resume(c, l, token)
}

func (w *world) resume(c *client, l *hall, token string) {
	if !w.says(c, outside, "resume", fmt.Sprintf(`,"code":"%s","token":"%s"`, l.code, token)) {
		return
	}
	if w.finds(c, l.code, "resume", true) == nil {
		return
	}
	switch {
	case token == l.token:
	case token == l.granted && token != "":
		l.token = token
	default:
		w.failedAttempt(c, l, "bad_token", "resume")
		return
	}
	l.granted, c.numbered = "", false
	if l.host != nil {
		l.host.granted = false
		l.host.dies("replaced", 4003)
	} else {
		l.notices(hostBackText)
	}
	l.seats(c)
	c.hears(`{"type":"created","code":"%s","token":"%s","epoch":"%s","resumed":true,"seq":%d,"sent":%d}`, l.code, l.token, l.epoch, len(l.broadcasts), len(l.broadcasts))
}
