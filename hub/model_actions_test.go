package hub

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

// What clients do, and what the rules say about it.

// rulesActions are what clients may do, in whatever role they are.
func (w *world) rulesActions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"connect": func(t *rapid.T) { w.connect(t) },
		"reset": func(t *rapid.T) {
			rare(t, 3)
			c := w.client(t, anywhere)
			w.goes(c)
			c.reset()
		},
		"close frame": func(t *rapid.T) {
			rare(t, 3)
			c := w.client(t, anywhere)
			c.mustSpeak()
			w.reads(t, c)
			w.goes(c)
			c.frame(ws.OpClose, "\x03\xe8")
			c.ends, c.dead = ending{code: 1000, heard: true}, true
		},
		"stop reading": func(t *rapid.T) { w.client(t, inside).peer.room = 0 },
		"read on":      func(t *rapid.T) { w.reads(t, w.client(t, anywhere)) },
		"delete": func(t *rapid.T) {
			rare(t, 12)
			l := w.hall(t)
			if done := w.r.hub.DeleteRoom(l.code); done == l.closed {
				t.Fatalf("DeleteRoom returned %t of a room that is closed: %t", done, l.closed)
			}
			if !l.closed {
				w.close(l, "deleted")
			}
		},
		"make": w.make,
		"wait a while": func(t *rapid.T) {
			w.wait(t, rapid.SampledFrom([]time.Duration{time.Millisecond, presenceEvery, time.Second, 10 * time.Second}).Draw(t, "time"))
		},
		"wait long": func(t *rapid.T) {
			rare(t, 8)
			w.wait(t, rapid.SampledFrom([]time.Duration{30 * time.Second, time.Minute, 10 * time.Minute, time.Hour}).Draw(t, "time"))
		},
		"guess": func(t *rapid.T) {
			rare(t, 3)
			c := w.client(t, outside)
			for range rapid.IntRange(1, 12).Draw(t, "guesses") {
				w.join(t, c, w.r.wrongCode(rapid.IntRange(0, 99).Draw(t, "code")), proofs{})
			}
		},
	}
	for name, act := range w.rolesActions() {
		all[name] = act
	}
	for name, f := range map[string]byRole{
		"join": {outside, w.joinOne}, "join more": {outside, w.joinOne}, "come back": {outside, w.returns},
		"come back in place": {outside, w.returns}, "resume": {outside, w.resumeOne}, "broadcast": {asHost, w.broadcastOne},
		"nonsense": {anywhere, w.nonsense},
	} {
		all[name] = w.mostly(f)
	}
	return all
}

// A byRole is an action of clients in a role.
type byRole struct {
	by  requiredRole
	act func(*rapid.T, *client)
}

// rolesActions are what clients do because of their role, and what changes it.
func (w *world) rolesActions() map[string]func(*rapid.T) {
	all := make(map[string]func(*rapid.T))
	for name, f := range map[string]byRole{
		"create": {outside, w.create}, "raise a hand": {asViewer, w.message}, "message": {asHost, w.message},
		"list": {asHost, w.list}, "list to viewers": {asViewer, w.list}, "kick": {asHost, w.kick}, "grant_host": {asHost, w.transferHost},
		"leave": {asViewer, w.leave}, "leave the host": {asHost, w.leave}, "close": {asHost, w.closeRoom},
		"ping as client": {anywhere, w.ping}, "ping as host": {asHost, w.ping},
	} {
		all[name] = w.mostly(f)
	}
	return all
}

// mostly has an action done by a client that may do it, and sometimes by another.
func (w *world) mostly(f byRole) func(*rapid.T) {
	return func(t *rapid.T) {
		by := f.by
		if rapid.IntRange(0, 11).Draw(t, "anybody") == 0 {
			by = anywhere
		}
		f.act(t, w.client(t, by))
	}
}

// reads lets a client read on. It may find that it is gone.
func (w *world) reads(t *rapid.T, c *client) {
	c.readsOn()
	if w.settle(t); c.dead {
		panic(idle{})
	}
}

// says has a client say something, and reports whether the rules go on: it may say
// so where it is.
func (w *world) says(c *client, by requiredRole, kind, fields string) bool {
	if kind != "join" || c.requested {
		c.mustSpeak()
	}
	c.requested = true
	c.say(`{"type":"` + kind + `"` + fields + `}`)
	switch {
	case by == anywhere:
	case by == outside && c.hall != nil:
		c.wrongly("already_in_room", kind)
		return false
	case by != outside && c.hall == nil:
		c.wrongly("not_in_room", kind)
		return false
	case by == asHost && !c.isHost():
		c.wrongly("not_host", kind)
		return false
	}
	c.speaks()
	return true
}

// mustSpeak skips an action of a client that reads an event stream: its request is all
// that it says.
func (c *client) mustSpeak() {
	if c.peer.stream != nil {
		panic(idle{})
	}
}

// speaks voids the older token with a new host's first message.
func (c *client) speaks() {
	if c.isHost() && c.granted {
		c.granted = false
		c.hall.token, c.hall.granted = c.hall.granted, ""
	}
}

// goes takes a client out of wherever it is.
func (w *world) goes(c *client) {
	c.leaves()
	switch {
	case c.hall == nil:
	case c.isHost():
		w.loses(c.hall)
	default:
		c.hall.exits(c)
	}
}

func (w *world) broadcastOne(t *rapid.T, c *client) {
	kind := rapid.SampledFrom([]string{"command", "activate", "broadcast"}).Draw(t, "kind")
	w.said++
	fields := fmt.Sprintf(`,"data":{"n":%d}`, w.said)
	if w.says(c, asHost, kind, fields) {
		c.hall.says(line{text: `{"type":"` + kind + `"` + fields + `}`})
	}
}

// says adds a broadcast to the order.
func (l *hall) says(e line) {
	e.number = len(l.broadcasts) + 1
	l.order = append(l.order, e)
	l.broadcasts = append(l.broadcasts, len(l.order)-1)
}

func (w *world) message(t *rapid.T, c *client) {
	w.said++
	to := w.id(t, c)
	if !w.says(c, inside, "message", fmt.Sprintf(`,"to":%d,"data":[%d]`, to, w.said)) {
		return
	}
	switch l := c.hall; {
	case c.isHost() && l.viewers[to] == nil:
		c.wrongly("no_such_viewer", "message")
	case c.isHost():
		l.viewers[to].hears(`{"type":"message","from":"host","data":[%d]}`, w.said)
	case l.host == nil:
		c.wrongly("host_away", "message")
	default:
		l.host.hears(`{"type":"message","from":%d,"data":[%d]}`, c.id, w.said)
	}
}

// id draws an id, mostly one that is there.
func (w *world) id(t *rapid.T, c *client) uint32 {
	last := uint32(3)
	if c.hall != nil {
		last = c.hall.last + 1
		if ids := c.hall.present(); len(ids) > 0 && rapid.IntRange(0, 4).Draw(t, "dice") > 0 {
			return rapid.SampledFrom(ids).Draw(t, "id")
		}
	}
	return rapid.Uint32Range(1, last).Draw(t, "id")
}

func (w *world) list(t *rapid.T, c *client) {
	if !w.rules && c.peer.room < modelPrivate {
		w.reads(t, c) // or it may be too slow to take the list
	}
	after, limit := rapid.Uint32Range(0, 5).Draw(t, "after"), rapid.IntRange(1, 4).Draw(t, "limit")
	if !w.says(c, inside, "list", fmt.Sprintf(`,"after":%d,"limit":%d`, after, limit)) {
		return
	}
	l := c.hall
	if !c.isHost() && !l.roster {
		c.wrongly("not_host", "list")
		return
	}
	var page []string
	for _, id := range l.present() {
		if id > after && len(page) < limit {
			text := `{"id":` + strconv.Itoa(int(id))
			if name := l.names[id]; name != "" {
				text += `,"name":"` + name + `"`
			}
			page = append(page, text+"}")
		}
	}
	c.hears(`{"type":"list","viewers":[%s],"total":%d}`, strings.Join(page, ","), len(l.viewers))
}

func (w *world) kick(t *rapid.T, c *client) {
	id := w.id(t, c)
	if c.hall != nil && c.hall.viewers[id] != nil {
		w.reads(t, c.hall.viewers[id]) // or something due would be dropped
	}
	if !w.says(c, asHost, "kick", fmt.Sprintf(`,"id":%d`, id)) {
		return
	}
	l := c.hall
	v := l.viewers[id]
	if v == nil {
		c.wrongly("no_such_viewer", "kick")
		return
	}
	c.hears(`{"type":"kicked","id":%d}`, id)
	l.exits(v)
	l.void[id] = true
	v.dies("kicked", 4002)
}

func (w *world) transferHost(t *rapid.T, c *client) {
	id := w.id(t, c)
	if c.hall != nil && c.hall.viewers[id] != nil && !w.rules {
		c.hall.viewers[id].mustSpeak() // as a host, it does in this mix
	}
	if c.peer.room < modelPrivate {
		w.reads(t, c) // or something due to it as a viewer would be dropped
	}
	if c.hall != nil && c.hall.viewers[id] != nil && !w.rules {
		w.reads(t, c.hall.viewers[id]) // so that the model knows when the new host is asked
	}
	if !w.says(c, asHost, "grant_host", fmt.Sprintf(`,"id":%d`, id)) {
		return
	}
	l := c.hall
	v := l.viewers[id]
	if v == nil {
		c.wrongly("no_such_viewer", "grant_host")
		return
	}
	asked := v.asked && !v.session.has(flagParked) // its history is on its way
	v.leaves()
	v.asked = asked
	l.exits(v)
	l.notices(`{"type":"host_changed","id":%d}`, id)
	l.seats(v)
	w.r.run() // the token is needed
	v.granted, l.granted = true, v.hostToken()
	v.hears(`{"type":"host","code":"%s","token":"%s","epoch":"%s"}`, l.code, l.granted, l.epoch)
	l.enters(c, 0, "")
	c.back = false
	w.welcomed(c, l)
}

func (w *world) leave(t *rapid.T, c *client) {
	if c.peer.room < modelPrivate {
		w.reads(t, c) // or something due would be dropped
	}
	asked := c.asked
	if w.says(c, inside, "leave", "") {
		if w.goes(c); asked { // what waited behind the history is dropped
			c.until, c.private = c.place, nil
		}
		c.hears(`{"type":"left"}`)
	}
}

func (w *world) closeRoom(t *rapid.T, c *client) {
	rare(t, 12)
	if c.peer.room < modelPrivate {
		w.reads(t, c)
	}
	if !w.says(c, asHost, "close", "") {
		return
	}
	l := c.hall
	l.host, c.hall = nil, nil
	c.hears(`{"type":"closed","reason":"host_closed"}`)
	w.close(l, "host_closed")
}

func (w *world) ping(_ *rapid.T, c *client) {
	w.said++
	if w.says(c, anywhere, "ping", fmt.Sprintf(`,"data":%d`, w.said)) {
		c.urgent = append(c.urgent, fmt.Sprintf(`{"type":"pong","data":%d}`, w.said))
	}
}

// nonsense is not the first message that a new host is waited for.
func (w *world) nonsense(t *rapid.T, c *client) {
	text := rapid.SampledFrom([]string{`{`, `[]`, `{"type":"dance"}`, `{"type":null}`}).Draw(t, "text")
	c.mustSpeak()
	c.say(text)
	switch text {
	case `{`:
		c.wrongly("bad_json", "")
	case `{"type":"dance"}`:
		c.wrongly("unknown_type", "dance")
	default:
		c.wrongly("bad_message", "")
	}
}

// wait lets time go by, from one end of a wait to the next.
func (w *world) wait(t *rapid.T, d time.Duration) {
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		w.settle(t)
		next := until
		for _, l := range w.halls {
			for _, at := range []time.Time{l.ends, l.told.Add(presenceEvery)} {
				if at.After(time.Now()) && at.Before(next) {
					next = at
				}
			}
		}
		w.r.sleep(time.Until(next))
		for _, l := range w.halls {
			if !l.ends.IsZero() && !time.Now().Before(l.ends) {
				w.close(l, l.why)
			}
		}
	}
}
