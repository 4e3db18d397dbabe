package hub

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"
)

// finds is the rule for codes.
func (w *world) finds(c *client, code, re string, proof bool) *lesson {
	shut := w.shut(c)
	if shut && !proof {
		c.wrongly("too_many_attempts", re)
		return nil
	}
	rests := false
	for _, l := range w.lessons {
		if l.code == code && !l.closed {
			return l
		}
		rests = rests || l.code == code && !l.woken
	}
	switch {
	case shut:
		c.wrongly("too_many_attempts", re)
	default:
		c.wrongly("room_not_found", re)
		if !rests {
			w.guess(c.from.String(), code)
		}
	}
	return nil
}

// guessed is the rule for wrong secrets and tokens.
func (w *world) failedAttempt(c *client, l *lesson, fault, re string) {
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

func (w *world) resume(t *rapid.T, c *client) {
	l := w.lesson(t)
	token := l.token
	switch dice := rapid.IntRange(0, 4).Draw(t, "dice"); {
	case dice == 0:
		token = w.lesson(t).token
	case dice == 1 && l.granted != "":
		token = l.granted
	case dice == 2 && len(l.tokens) > 0:
		token = l.tokens[1]
	}
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
	l.granted = ""
	if l.host != nil {
		l.host.granted = false
		l.host.dies("replaced", 4003)
	} else {
		l.everyone(func(v *client) { v.hear(hostBackText) })
	}
	l.sits(c)
	c.hear(`{"type":"created","code":"%s","token":"%s","epoch":"%s","resumed":true,"seq":%d,"sent":%d}`, l.code, l.token, l.epoch, l.seq, l.seq)
}

func (w *world) broadcast(t *rapid.T, c *client) {
	kind := rapid.SampledFrom([]string{"command", "activate", "broadcast"}).Draw(t, "kind")
	w.said++
	fields := fmt.Sprintf(`,"data":{"n":%d}`, w.said)
	if !w.says(c, asHost, kind, fields) {
		return
	}
	c.lesson.seq++
	c.lesson.everyone(func(v *client) { v.hear(`{"type":"%s"%s}`, kind, fields) })
}

func (w *world) message(t *rapid.T, c *client) {
	w.said++
	to := w.id(t, c)
	if !w.says(c, inside, "message", fmt.Sprintf(`,"to":%d,"data":[%d]`, to, w.said)) {
		return
	}
	switch l := c.lesson; {
	case c.id == 0 && l.viewers[to] == nil:
		c.wrongly("no_such_viewer", "message")
	case c.id == 0:
		l.viewers[to].hear(`{"type":"message","from":"host","data":[%d]}`, w.said)
	case l.host == nil:
		c.wrongly("host_away", "message")
	default:
		l.host.hear(`{"type":"message","from":%d,"data":[%d]}`, c.id, w.said)
	}
}

// id draws an id, mostly one that is there.
func (w *world) id(t *rapid.T, c *client) uint32 {
	last := uint32(3)
	if c.lesson != nil {
		last = c.lesson.last + 1
		if ids := c.lesson.present(); len(ids) > 0 && rapid.IntRange(0, 4).Draw(t, "dice") > 0 {
			return rapid.SampledFrom(ids).Draw(t, "id")
		}
	}
	return rapid.Uint32Range(1, last).Draw(t, "id")
}

// present returns the ids of the viewers, in order.
func (l *lesson) present() (ids []uint32) {
	for id := range l.viewers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *world) list(t *rapid.T, c *client) {
	after, limit := rapid.Uint32Range(0, 5).Draw(t, "after"), rapid.IntRange(1, 4).Draw(t, "limit")
	if !w.says(c, inside, "list", fmt.Sprintf(`,"after":%d,"limit":%d`, after, limit)) {
		return
	}
	l := c.lesson
	if c.id != 0 && !l.roster {
		c.wrongly("not_host", "list")
		return
	}
	text := ""
	for _, id := range l.present() {
		if id <= after || limit == 0 {
			continue
		}
		limit--
		if text != "" {
			text += ","
		}
		text += `{"id":` + strconv.Itoa(int(id))
		if name := l.names[id]; name != "" {
			text += `,"name":"` + name + `"`
		}
		text += "}"
	}
	c.hear(`{"type":"list","viewers":[%s],"total":%d}`, text, len(l.viewers))
}

func (w *world) kick(t *rapid.T, c *client) {
	id := w.id(t, c)
	if c.lesson != nil && c.lesson.viewers[id] != nil {
		w.reads(c.lesson.viewers[id]) // or something due would be dropped
	}
	if !w.says(c, asHost, "kick", fmt.Sprintf(`,"id":%d`, id)) {
		return
	}
	l := c.lesson
	v := l.viewers[id]
	if v == nil {
		c.wrongly("no_such_viewer", "kick")
		return
	}
	c.hear(`{"type":"kicked","id":%d}`, id)
	l.exits(v)
	l.void[id] = true
	v.dies("kicked", 4002)
}

func (w *world) grant(t *rapid.T, c *client) {
	id := w.id(t, c)
	if c.blocked {
		w.reads(c) // or something due to it as a viewer would be dropped
	}
	if !w.says(c, asHost, "grant_host", fmt.Sprintf(`,"id":%d`, id)) {
		return
	}
	l := c.lesson
	v := l.viewers[id]
	if v == nil {
		c.wrongly("no_such_viewer", "grant_host")
		return
	}
	l.exits(v)
	l.everyone(func(other *client) { other.hear(`{"type":"host_changed","id":%d}`, id) })
	l.sits(v)
	w.r.run() // the token is needed
	v.granted, l.granted = true, v.hostToken()
	v.hear(`{"type":"host","code":"%s","token":"%s","epoch":"%s"}`, l.code, l.granted, l.epoch)
	l.enters(c, 0, "")
	w.welcomed(c, l, false)
}

func (w *world) leave(_ *rapid.T, c *client) {
	if c.blocked {
		w.reads(c) // or something due would be dropped
	}
	if w.says(c, inside, "leave", "") {
		w.gone(c)
		c.hear(`{"type":"left"}`)
	}
}

func (w *world) closeRoom(t *rapid.T, c *client) {
	rare(t, 12)
	if c.blocked {
		w.reads(c)
	}
	if !w.says(c, asHost, "close", "") {
		return
	}
	l := c.lesson
	l.host, c.lesson = nil, nil
	c.hear(`{"type":"closed","reason":"host_closed"}`)
	w.close(l, "host_closed")
}

func (w *world) ping(_ *rapid.T, c *client) {
	w.said++
	if w.says(c, anywhere, "ping", fmt.Sprintf(`,"data":%d`, w.said)) {
		c.urgently(fmt.Sprintf(`{"type":"pong","data":%d}`, w.said))
	}
}

// nonsense is not the first message that a new host is waited for.
func (w *world) nonsense(t *rapid.T, c *client) {
	text := rapid.SampledFrom([]string{`{`, `[]`, `{"type":"dance"}`, `{"type":null}`}).Draw(t, "text")
	c.say(text)
	if c.dead {
		return
	}
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
func (w *world) wait(d time.Duration) {
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		w.settle()
		next := until
		for _, l := range w.lessons {
			for _, at := range []time.Time{l.ends, l.told.Add(presenceEvery)} {
				if at.After(time.Now()) && at.Before(next) {
					next = at
				}
			}
		}
		w.r.sleep(time.Until(next))
		for _, l := range w.lessons {
			if !l.ends.IsZero() && !time.Now().Before(l.ends) {
				w.close(l, l.why)
			}
		}
	}
}

// end has everybody read and go, and checks that nothing is left.
func (w *world) end() {
	for _, c := range slices.Clone(w.clients) {
		c.blocked, c.drained = false, true
		c.drain(plenty)
	}
	w.settle()
	w.wait(time.Second)
	w.settle()
	for _, c := range slices.Clone(w.clients) {
		w.gone(c)
		c.reset()
		c.dead = true
	}
	for _, c := range w.clients { // they hear no more of each other's end
		c.urgent, c.ordered = nil, nil
		c.frames()
	}
	w.settle()
	w.wait(modelIdle)
	w.settle()
	if s := w.r.hub.Stats(); s.Viewers != 0 || s.Rooms != 0 || s.Stalled != 0 || s.Connections != 0 || s.LogBytes != 0 {
		w.rt.Fatalf("left over: %+v", s)
	}
}
