package hub

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

// actions are what may happen in the world.
func (w *world) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"":        func(*rapid.T) { w.settle() },
		"connect": func(t *rapid.T) { w.connect(t) },
		"reset": func(t *rapid.T) {
			c := w.client(t, anywhere, 3)
			w.gone(c)
			c.reset()
			c.urgent, c.ordered = nil, nil
			c.frames()
			c.dead, c.blocked = true, false
		},
		"close frame": func(t *rapid.T) {
			c := w.client(t, anywhere, 3)
			w.reads(c)
			w.gone(c)
			c.frame(ws.OpClose, "\x03\xe8")
			c.urgent, c.dead = append(c.urgent, expected{text: "close 1000"}), true
		},
		"stop reading": func(t *rapid.T) { c := w.client(t, inside, 0); c.blocked, c.room = true, 0 },
		"read on":      func(t *rapid.T) { w.reads(w.client(t, anywhere, 0)) },
		"delete":       func(t *rapid.T) { w.delete(t) },
		"make":         func(t *rapid.T) { w.make(t) },
		"wait a while": func(t *rapid.T) {
			w.wait(rapid.SampledFrom([]time.Duration{time.Millisecond, presenceEvery, time.Second, 10 * time.Second}).Draw(t, "time"))
		},
		"wait long": func(t *rapid.T) {
			rare(t, 8)
			w.wait(rapid.SampledFrom([]time.Duration{30 * time.Second, time.Minute, 10 * time.Minute, time.Hour}).Draw(t, "time"))
		},
		"guess": func(t *rapid.T) {
			c := w.client(t, outside, 3)
			for range rapid.IntRange(1, 12).Draw(t, "guesses") {
				w.join(t, c, w.r.wrongCode(rapid.IntRange(0, 99).Draw(t, "code")), nil)
			}
		},
	}
	// Each action is usually done by a client that may do it, and sometimes by
	// another.
	for name, f := range map[string]struct {
		by  requiredRole
		act func(*rapid.T, *client)
	}{
		"create": {outside, w.create}, "join": {outside, w.joinOne}, "join more": {outside, w.joinOne}, "come back": {outside, w.comeBack},
		"come back in place": {outside, w.comeBack}, "resume": {outside, w.resume}, "broadcast": {asHost, w.broadcast},
		"raise a hand": {asViewer, w.message}, "message": {asHost, w.message}, "list": {asHost, w.list}, "list to viewers": {asViewer, w.list},
		"kick": {asHost, w.kick}, "grant_host": {asHost, w.grant}, "leave": {asViewer, w.leave}, "leave the host": {asHost, w.leave},
		"close": {asHost, w.closeRoom}, "ping": {anywhere, w.ping}, "ping as host": {asHost, w.ping}, "nonsense": {anywhere, w.nonsense},
	} {
		all[name] = func(t *rapid.T) {
			by := f.by
			if rapid.IntRange(0, 11).Draw(t, "anybody") == 0 {
				by = anywhere
			}
			f.act(t, w.client(t, by, 0))
		}
	}
	for name, act := range all {
		all[name] = idly(act)
	}
	return all
}

// idle is the panic of an action that has nothing to do. Rapid's own Skip ends
// a sequence when there are too many.
type idle struct{}

// idly lets an action be idle.
func idly(act func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		defer func() {
			if r := recover(); r != nil && r != (idle{}) {
				panic(r)
			}
		}()
		act(t)
	}
}

// rare skips an action except once in so many times.
func rare(t *rapid.T, times int) {
	if times > 1 && rapid.IntRange(1, times).Draw(t, "rare") > 1 {
		panic(idle{})
	}
}

// connect returns a new client.
func (w *world) connect(t *rapid.T) *client {
	if len(w.clients) >= 12 {
		panic(idle{})
	}
	dial := w.r.dialFrom
	if rapid.Bool().Draw(t, "compact") {
		dial = w.r.dialCompact
	}
	p := dial(drawWorker(t, w.r), rapid.SampledFrom(clientAddresses).Draw(t, "address"))
	w.clients = append(w.clients, &client{peer: p})
	return w.clients[len(w.clients)-1]
}

// A requiredRole is what a client must be to do something, as the model has it.
type requiredRole uint8

const (
	anywhere requiredRole = iota
	outside               // in no room
	inside                // in a room
	asHost
	asViewer
)

// client returns a client that has the role. It skips the action except once in
// so many times.
func (w *world) client(t *rapid.T, by requiredRole, times int) *client {
	rare(t, times)
	var some []int
	for i, c := range w.clients {
		isHost := c.lesson != nil && c.id == 0
		if by == anywhere || (c.lesson == nil) == (by == outside) && (by != asHost || isHost) && (by != asViewer || !isHost) {
			some = append(some, i)
		}
	}
	if len(some) == 0 && by == outside {
		return w.connect(t)
	}
	if len(some) == 0 {
		panic(idle{})
	}
	return w.clients[rapid.SampledFrom(some).Draw(t, "client")]
}

// reads lets a client read on. It may find that it is gone.
func (w *world) reads(c *client) {
	c.drained = c.drained || c.blocked
	c.blocked = false
	c.drain(plenty)
	w.settle()
	if c.dead {
		panic(idle{})
	}
}

// lesson returns one, mostly one that is open.
func (w *world) lesson(t *rapid.T) *lesson {
	var some []int
	closed := rapid.IntRange(0, 9).Draw(t, "closed") == 0
	for i, l := range w.lessons {
		if l.closed == closed {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		panic(idle{})
	}
	return w.lessons[rapid.SampledFrom(some).Draw(t, "lesson")]
}

// says has a client say something, and reports whether the model goes on: it
// may say so where it is.
func (w *world) says(c *client, by requiredRole, kind, fields string) bool {
	c.say(`{"type":"` + kind + `"` + fields + `}`)
	isHost := c.lesson != nil && c.id == 0
	switch {
	case c.dead:
		return false // nobody listens
	case by == anywhere:
	case by == outside && c.lesson != nil:
		c.wrongly("already_in_room", kind)
		return false
	case by != outside && c.lesson == nil:
		c.wrongly("not_in_room", kind)
		return false
	case by == asHost && !isHost:
		c.wrongly("not_host", kind)
		return false
	}
	if isHost && c.granted {
		c.granted = false
		c.lesson.token, c.lesson.granted = c.lesson.granted, ""
	}
	return true
}

// gone takes a client out of wherever it is.
func (w *world) gone(c *client) {
	switch {
	case c.lesson == nil:
	case c.id == 0:
		w.loses(c.lesson)
	default:
		c.lesson.exits(c)
	}
}

func (w *world) open() (n int) {
	for _, l := range w.lessons {
		if !l.closed {
			n++
		}
	}
	return n
}

// begins returns a lesson without anybody.
func (w *world) begins(t *rapid.T) (l *lesson, name string) {
	l = &lesson{max: rapid.IntRange(2, modelGuests).Draw(t, "max"), roster: rapid.Bool().Draw(t, "roster")}
	l.secret = rapid.SampledFrom([]string{"", "", "right"}).Draw(t, "secret")
	l.viewers, l.names, l.tokens, l.void = make(map[uint32]*client), make(map[uint32]string), make(map[uint32]string), make(map[uint32]bool)
	return l, "a name"
}

func (w *world) create(t *rapid.T, c *client) {
	l, name := w.begins(t)
	fields := fmt.Sprintf(`,"max_viewers":%d,"roster":%t,"name":"%s"`, l.max, l.roster, name)
	if l.secret != "" {
		fields += `,"secret":"` + l.secret + `"`
	}
	if !w.says(c, outside, "create", fields) {
		return
	}
	if w.open() >= modelRooms {
		c.wrongly("too_many_rooms", "create")
		return
	}
	l.code, l.epoch, l.token = c.session.room.code.String(), c.session.room.epoch, c.hostToken()
	c.hear(`{"type":"created","code":"%s","token":"%s","epoch":"%s"}`, l.code, l.token, l.epoch)
	l.sits(c)
	w.wake()
	w.lessons = append(w.lessons, l)
}

// make makes a lesson from outside.
func (w *world) make(t *rapid.T) {
	rare(t, 2)
	l, name := w.begins(t)
	info, token, err := w.r.hub.CreateRoom(RoomOptions{Name: name, Secret: l.secret, MaxViewers: l.max, Roster: l.roster})
	if full := w.open() >= modelRooms; full != (err != nil) {
		t.Fatalf("CreateRoom: %v with %d rooms", err, w.open())
	} else if full {
		return
	}
	l.code, l.token, l.epoch = info.Code, token, w.r.hub.room(info.Code).epoch
	l.ends, l.why, l.made = time.Now().Add(modelIdle), "room_idle", true
	w.wake()
	w.lessons = append(w.lessons, l)
}

func (w *world) delete(t *rapid.T) {
	rare(t, 12)
	l := w.lesson(t)
	if done := w.r.hub.DeleteRoom(l.code); done == l.closed {
		t.Fatalf("DeleteRoom returned %t of a room that is closed: %t", done, l.closed)
	}
	if !l.closed {
		w.close(l, "deleted")
	}
}

// proofs are a join's secret and token, if given, and name.
type proofs struct {
	secret, token *string
	name          string
}

func (w *world) joinOne(t *rapid.T, c *client) {
	l := w.lesson(t)
	p := &proofs{name: rapid.SampledFrom([]string{"", "", "Ada", "Zoë 😀", "Eve", "much too long"}).Draw(t, "name")}
	if dice := rapid.IntRange(0, 5).Draw(t, "dice"); dice == 0 || dice < 5 && l.secret != "" {
		secret := rapid.SampledFrom([]string{"right", "right", "right", "wrong"}).Draw(t, "secret")
		p.secret = &secret
	}
	code := l.code
	if rapid.Bool().Draw(t, "lower case") {
		code = strings.ToLower(code)
	}
	w.join(t, c, code, p)
}

// comeBack joins with a token, of this lesson or another.
func (w *world) comeBack(t *rapid.T, c *client) {
	l, other := w.lesson(t), w.lesson(t)
	tokens := slices.Sorted(maps.Values(l.tokens))
	if rapid.IntRange(0, 5).Draw(t, "dice") == 0 {
		tokens = append(slices.Sorted(maps.Values(other.tokens)), l.token, "")
	}
	if len(tokens) == 0 {
		panic(idle{})
	}
	token := rapid.SampledFrom(tokens).Draw(t, "token")
	w.join(t, c, l.code, &proofs{token: &token, name: rapid.SampledFrom([]string{"", "Eve"}).Draw(t, "name")})
}

func (w *world) join(_ *rapid.T, c *client, code string, p *proofs) {
	fields := `,"code":"` + code + `"`
	if p == nil {
		p = new(proofs)
	}
	if p.secret != nil {
		fields += `,"secret":"` + *p.secret + `"`
	}
	if p.token != nil {
		fields += `,"token":"` + *p.token + `"`
	}
	if p.name != "" {
		fields += `,"name":"` + p.name + `"`
	}
	if !w.says(c, outside, "join", fields) {
		return
	}
	if len([]rune(p.name)) > 8 {
		c.wrongly("bad_message", "join")
		return
	}
	l := w.finds(c, strings.ToUpper(code), "join", p.secret != nil || p.token != nil)
	if l == nil {
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
	older := l.viewers[id]
	switch {
	case l.void[id]:
		c.wrongly("bad_token", "join")
		return
	case older == nil && len(l.viewers) >= l.max:
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
		l.viewers[id], c.lesson, c.id, l.names[id] = c, l, id, p.name
	default:
		l.enters(c, id, p.name)
	}
	w.welcomed(c, l, p.token != nil)
}

// welcomed notes what a viewer hears that is in.
func (w *world) welcomed(c *client, l *lesson, back bool) {
	id, token := c.id, l.tokens[c.id]
	rest := fmt.Sprintf(`,"epoch":"%s","seq":%d,"viewers":%d,"host":%t`, l.epoch, l.seq, len(l.viewers), l.host != nil)
	if back {
		rest += `,"recovered":false`
	}
	if token == "" { // it is known as soon as it is told
		token = viewerToken(w.r.hub.roomOf(l), id)
		l.tokens[id] = token
	}
	c.hear(`{"type":"joined","code":"%s","id":%d,"token":"%s"%s}`, l.code, id, token, rest)
}

// roomOf returns a lesson's room, which is open.
func (h *Hub) roomOf(l *lesson) *Room { return h.room(l.code) }
