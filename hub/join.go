package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The rules for those who are in no room.

// create opens a room, whose host is the one who says so.
func create(s *Session, r request) *fault {
	h := s.shard.hub
	rules, f := readRules(r, h.Config())
	if f != nil {
		return f
	}
	if f := h.mayCreate(s, r); f != nil {
		return f
	}
	if limit := h.Config().MaxRoomsPerAddress; !h.addresses.openRoom(s.from, limit) {
		h.Refused("rooms_per_address", s.address())
		return &fault{code: "too_many_rooms", message: fmt.Sprintf(
			"there are %d rooms from this address already (--max-rooms-per-address); close one, or try again later", limit)}
	}
	room, token := newRoom(h, rules)
	room.hostSlot.host, room.hostSlot.hosted, room.from = s, true, s.from
	if !h.register(room) {
		h.addresses.closeRoom(s.from)
		return &fault{code: "too_many_rooms", message: "the relay has all the rooms it may have; try again later"}
	}
	s.room, s.encoding = room, verbatim
	s.set(flagHost)
	s.tell(created(room, token.String()))
	return nil
}

// readRules reads what whoever creates a room may choose.
func readRules(r request, c *Config) (rules roomRules, f *fault) {
	text, given, f := r.optional("secret")
	if f != nil {
		return rules, f
	}
	if given && text == "" {
		return rules, r.wrong("secret", "a string that is not empty")
	}
	if given {
		rules.secret = hashSecret(text)
	}
	if rules.name, f = r.label("name", c.MaxName); f != nil {
		return rules, f
	}
	if rules.maxViewers, f = r.number("max_viewers", 1, c.MaxViewers, c.MaxViewers); f != nil {
		return rules, f
	}
	history, f := r.oneOf("history", "host", "relay")
	if f != nil {
		return rules, f
	}
	slow, f := r.oneOf("slow", "close", "skip")
	if f != nil {
		return rules, f
	}
	rules.relayTells, rules.skips = history == "relay", slow == "skip"
	rules.roster, f = r.flag("roster")
	return rules, f
}

// mayCreate checks the create key.
func (h *Hub) mayCreate(s *Session, r request) *fault {
	given, _, f := r.optional("key")
	if f != nil {
		return f
	}
	key := h.Config().CreateKey
	if key == "" {
		return nil
	}
	if hashSecret(key).is(given) {
		return nil // however many wrong ones came from this address
	}
	f = &fault{code: "create_forbidden", message: `this relay asks for a "key" to create a room, and this is not it`}
	if given != "" && h.attempts.wrongProof(keysOf(s.address()), h.uptime()) {
		f.end = ReasonTooManyAttempts
	}
	return f
}

// resume seats a host that has come back.
func resume(s *Session, r request) *fault {
	text, f := r.str("code")
	if f != nil {
		return f
	}
	token, f := r.str("token")
	if f != nil {
		return f
	}
	return s.soon(joinRequest{kind: r.kind, ref: bytes.Clone(r.ref), code: text, token: token, hosts: true})
}

// resumeHost makes the session the host.
func (s *Session) resumeHost(e joinRequest) *fault {
	room, c, f := s.find(e.code, true)
	if f != nil {
		return f
	}
	s.encoding = verbatim
	back, f := room.resume(s, e.token)
	if f != nil {
		return s.failedAttempt(f, c)
	}
	s.tell(resumed(room, e.token, back))
	return nil
}

// A joinRequest is what somebody says who joins, or resumes.
type joinRequest struct {
	kind      string          // the message's type
	ref       json.RawMessage // and ref
	hosts     bool            // resumes: it has a code and a token only
	code      string
	secret    string
	hasSecret bool
	name      string
	history   bool   // asks for it at once
	token     string // of a viewer that comes back
	back      bool
	last      place // the last broadcast that it has seen, if it says so
	encoding  encoding
}

// A place is a broadcast's number in one life of a room.
type place struct {
	epoch string // empty for none
	seq   uint64
}

// readJoin reads the fields of a join.
func readJoin(r request, c *Config) (e joinRequest, f *fault) {
	e.kind, e.ref = r.kind, bytes.Clone(r.ref) // the message is gone when it has waited
	if e.code, f = r.str("code"); f != nil {
		return e, f
	}
	if e.secret, e.hasSecret, f = r.optional("secret"); f != nil {
		return e, f
	}
	if typed, secret, found := cutSecret(e.code); found {
		e.code = typed
		if !e.hasSecret {
			e.secret, e.hasSecret = secret, true
		}
	}
	if e.name, f = r.label("name", c.MaxName); f != nil {
		return e, f
	}
	if e.history, f = r.flag("history"); f != nil {
		return e, f
	}
	if e.token, e.back, f = r.optional("token"); f != nil {
		return e, f
	}
	if e.last.epoch, _, f = r.optional("epoch"); f != nil {
		return e, f
	}
	seq, f := r.number("seq", 0, 1<<53, 0)
	if f != nil {
		return e, f
	}
	e.last.seq = uint64(seq)
	if !r.has("seq") {
		e.last.epoch = "" // it takes both
	}
	yes, f := r.flag("numbered")
	if yes {
		e.encoding = numbered
	}
	return e, f
}

// join lets a viewer in: by code, and a secret if the room has one, or by the
// token of a viewer that was there before.
func join(s *Session, r request) *fault {
	e, f := readJoin(r, s.shard.hub.Config())
	if f != nil {
		return f
	}
	return s.soon(e)
}

// letIn makes the session a viewer.
func (s *Session) letIn(e joinRequest) *fault {
	room, c, f := s.find(e.code, e.back || e.hasSecret)
	if f != nil {
		return f
	}
	id := uint32(0)
	if e.back {
		var ok bool
		if id, ok = room.viewerOf(e.token); !ok {
			return s.failedAttempt(badToken(), c)
		}
	} else {
		e.last = place{} // only who was there has missed anything
		if f := room.admits(s, e.secret, e.hasSecret); f != nil {
			return s.failedAttempt(f, c)
		}
	}
	needsBackfill, f := room.want(e, id)
	if f != nil {
		return f
	}
	if !needsBackfill {
		return s.enterRoom(room, e, id)
	}
	s.enterOnceEncoded(room, e, id)
	return nil
}

// enterOnceEncoded lets a viewer in when its encoding has the past.
func (s *Session) enterOnceEncoded(room *Room, e joinRequest, id uint32) {
	s.wait(func(done func()) { room.backfill(e.encoding, done) }, func(there bool) {
		if !there {
			room.unwant(e.encoding)
			return
		}
		if f := s.enterRoom(room, e, id); f != nil {
			f.re, f.ref = e.kind, e.ref
			s.report(f)
		}
	})
}

// enterRoom lets a viewer in whose encoding is wanted.
func (s *Session) enterRoom(room *Room, e joinRequest, id uint32) *fault {
	w, f := room.join(s, e, id)
	if f != nil {
		return f
	}
	if e.history && !w.recovered && !s.asksTooSoon() {
		room.beginAtHistory(s)
		w.seq = s.cursor.Seq()
	}
	text := joined(room, s.id, w)
	if e.last.epoch != "" {
		s.shard.counters.back(w.recovered)
	}
	if e.back {
		text = rejoined(text, w)
	}
	// Its place is the cursor's, not the Log's present end: the host may have
	// spoken since the cursor was taken.
	s.pushText(text, s.cursor.Position())
	if e.history {
		if f := historyRequested(s, request{}); f != nil {
			f.re = "history_request"
			s.report(f) // it is in all the same
		}
	}
	return nil
}

// find returns the room with a code as it was typed, or a fault that has the
// message wait while the room sleeps. Wrong codes are counted. With a proof, a secret
// or a token, the caller has yet to check it: while the relay looks at no code from
// this address, it must tell nothing but what is right.
func (s *Session) find(text string, proof bool) (*Room, code, *fault) {
	h := s.shard.hub
	c, ok := parseCode(text)
	shut := s.shut()
	if shut != nil && !proof {
		return nil, c, shut
	}
	if ok {
		room, sleeps := h.find(c)
		if room != nil {
			return room, c, nil
		}
		if sleeps {
			if s.retries() {
				return nil, c, notReady()
			}
			return nil, c, &fault{sleeps: true, room: c}
		}
	}
	if shut != nil {
		return nil, c, shut
	}
	f := roomNotFound()
	if ok && !h.rested(c) && h.attempts.wrongCode(s.address(), c, h.Config().HexCodes, h.uptime()) {
		if shut = s.shut(); h.Config().HexCodes && shut != nil {
			return nil, c, shut // it got here at the same moment as the last that may
		}
		f.end = ReasonTooManyAttempts
	}
	return nil, c, f
}

// shut returns what to answer to a code while the relay looks at none from the
// session's address, else nil.
func (s *Session) shut() *fault {
	h := s.shard.hub
	hexadecimal, now := h.Config().HexCodes, h.uptime()
	if full, _ := h.attempts.search(now); !full && !hexadecimal {
		return nil // as nearly always
	}
	shut, wait := h.attempts.shut(s.address(), hexadecimal, now)
	if !shut {
		return nil
	}
	return tooManyAttempts(wait)
}

// admits checks a room's secret.
func (r *Room) admits(s *Session, given string, hasSecret bool) *fault {
	h := r.hub
	switch {
	case !r.options.secret.asked():
		return s.shut() // a secret that nobody asked for proves nothing
	case !hasSecret:
		return &fault{code: "secret_required", message: `this room asks for a "secret"`}
	}
	if shut, wait := h.attempts.secretsShut(s.address(), r.code, h.uptime()); shut {
		if f := s.shut(); f != nil {
			return f // as to a code that no room has
		}
		return tooManyAttempts(wait)
	}
	if !r.options.secret.is(given) {
		h.attempts.wrongSecret(r.code, h.uptime())
		return &fault{code: "wrong_secret", message: "this is not the room's secret"}
	}
	return nil
}

// failedAttempt counts a wrong secret or token, and returns what to answer. While the
// relay looks at no code from the address, that is the same as to a wrong code.
func (s *Session) failedAttempt(f *fault, c code) *fault {
	if f.code != "wrong_secret" && f.code != "bad_token" {
		return f
	}
	if shut := s.shut(); shut != nil {
		return shut
	}
	h := s.shard.hub
	if h.attempts.wrongProof(proofsOf(s.address(), c), h.uptime()) {
		f.end = ReasonTooManyAttempts
	}
	return f
}
