package hub

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
	room, token := newRoom(h, rules)
	room.seat.host, room.seat.hosted = s, true
	if !h.register(room) {
		return &fault{code: "too_many_rooms", message: "the relay has all the rooms it may have; try again later"}
	}
	s.room, s.encoding = room, verbatim
	s.set(markHost)
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
	who := keysOf(s.address())
	if h.guesses.over(who) {
		return tooManyAttempts()
	}
	if given != "" {
		h.guesses.wrong(who, code{})
	}
	return &fault{code: "create_forbidden", message: `this relay asks for a "key" to create a room, and this is not it`}
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
	room, c, f := s.find(text, true)
	if f != nil {
		return f
	}
	s.encoding = verbatim
	back, f := room.resume(s, token)
	if f != nil {
		return s.guessed(f, c)
	}
	s.tell(resumed(room, token, back))
	return nil
}

// An entering is what somebody says who joins.
type entering struct {
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

// readEntering reads the fields of a join.
func readEntering(r request, c *Config) (e entering, f *fault) {
	if e.code, f = r.str("code"); f != nil {
		return e, f
	}
	if e.secret, e.hasSecret, f = r.optional("secret"); f != nil {
		return e, f
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
	e, f := readEntering(r, s.shard.hub.Config())
	if f != nil {
		return f
	}
	room, c, f := s.find(e.code, e.back || e.hasSecret)
	if f != nil {
		return f
	}
	id := uint32(0)
	if e.back {
		var ok bool
		if id, ok = room.viewerOf(e.token); !ok {
			return s.guessed(badToken(), c)
		}
	} else {
		e.last = place{} // only who was there has missed anything
		if f := room.admits(s, e.secret, e.hasSecret); f != nil {
			return s.guessed(f, c)
		}
	}
	lacks, f := room.want(e, id)
	if f != nil {
		return f
	}
	if !lacks {
		return s.enterRoom(room, e, id)
	}
	kind, ref := r.kind, r.ref
	s.wait(func(done func()) { room.backfill(e.encoding, done) }, func(there bool) {
		if !there {
			room.unwant(e.encoding)
			return
		}
		if f := s.enterRoom(room, e, id); f != nil {
			f.re, f.ref = kind, ref
			s.report(f)
		}
	})
	return nil
}

// enterRoom lets a viewer in whose encoding is wanted.
func (s *Session) enterRoom(room *Room, e entering, id uint32) *fault {
	w, f := room.join(s, e, id)
	if f != nil {
		return f
	}
	if e.back && !room.mayAsk(id, s.shard.Now()) {
		s.noteAsked()
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
// message wait while the room sleeps. Wrong codes are counted;
// who has guessed too many gets in by proof only.
func (s *Session) find(text string, proof bool) (*Room, code, *fault) {
	h := s.shard.hub
	c, ok := parseCode(text)
	over := s.guessedCodes()
	if over && !proof {
		return nil, c, tooManyAttempts()
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
	if over {
		return nil, c, tooManyAttempts()
	}
	if ok && !h.rested(c) {
		h.guesses.wrong(codesOf(s.address()), c)
	}
	return nil, c, roomNotFound()
}

// guessedCodes reports whether too many wrong codes came from the session's
// address. It does not ask for the address as long as nobody has guessed.
func (s *Session) guessedCodes() bool {
	l := &s.shard.hub.guesses
	return l.any() && l.over(codesOf(s.address()))
}

// admits checks a room's secret.
func (r *Room) admits(s *Session, given string, hasSecret bool) *fault {
	switch {
	case !r.options.secret.asked():
		if s.guessedCodes() {
			return tooManyAttempts() // a secret that nobody asked for proves nothing
		}
		return nil
	case !hasSecret:
		return &fault{code: "secret_required", message: `this room asks for a "secret"`}
	case !r.options.secret.is(given):
		return &fault{code: "wrong_secret", message: "this is not the room's secret"}
	}
	return nil
}

// guessed counts a wrong secret or token, and returns what to answer: the same
// whether it was right or not, once there were too many.
func (s *Session) guessed(f *fault, c code) *fault {
	if f.code != "wrong_secret" && f.code != "bad_token" {
		return f
	}
	h := s.shard.hub
	who := secretsOf(s.address(), c)
	if h.guesses.over(who) || h.guesses.over(codesOf(s.address())) {
		return tooManyAttempts() // not even that there is such a room
	}
	h.guesses.wrong(who, code{})
	return f
}
