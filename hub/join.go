package hub

// How a session gets into a room.

// Create opens a room, whose host is the session. The key is the one that the
// client gave, see Config.CreateKey.
func (s *Session) Create(o RoomOptions, key string) *Refusal {
	h := s.shard.hub
	if f := h.mayCreate(s, key); f != nil {
		return f
	}
	if limit := h.Config().MaxRoomsPerAddress; !h.addresses.openRoom(s.from, limit) {
		h.Refused("rooms_per_address", s.address())
		return &Refusal{Kind: TooManyRoomsFromAddress, Limit: limit}
	}
	record := h.dialects[s.dialect].first
	room, token := newRoom(h, record, rulesOf(o))
	room.hostSlot.host, room.hostSlot.hosted, room.from = s, true, s.from
	if !h.register(room) {
		h.addresses.closeRoom(s.from)
		return refused(TooManyRooms)
	}
	s.room, s.encoding = room, record
	s.set(flagHost)
	s.tell(Created{room.code.String(), token.String(), room.epoch})
	return nil
}

// mayCreate checks the create key.
func (h *Hub) mayCreate(s *Session, given string) *Refusal {
	key := h.Config().CreateKey
	if key == "" {
		return nil
	}
	if hashSecret(key).is(given) {
		return nil // however many wrong ones came from this address
	}
	f := refused(CreateForbidden)
	if given != "" && h.attempts.wrongProof(keysOf(s.address()), h.uptime()) {
		f.End = ReasonTooManyAttempts
	}
	return f
}

// Resume gives a host that has come back its place, by the token that it was told:
// at once, or later where the room has to be found first.
func (s *Session) Resume(code, token string, tag Tag) *Refusal {
	return s.soon(JoinRequest{Tag: tag, Code: code, Token: token, hosts: true})
}

// resumeHost makes the session the host.
func (s *Session) resumeHost(e JoinRequest) *Refusal {
	room, c, f := s.find(e.Code, true)
	if f != nil {
		return f
	}
	s.encoding = s.shard.hub.dialects[s.dialect].first
	back, f := room.resume(s, e.Token)
	if f != nil {
		return s.failedAttempt(f, c)
	}
	s.tell(Resumed{room.code.String(), e.Token, room.epoch, back.seq, back.sent})
	return nil
}

// A JoinRequest is what a client says who joins a room.
type JoinRequest struct {
	Tag       Tag
	Code      string // as it was typed; it may have the secret behind it
	Secret    string
	HasSecret bool
	Name      string // at most Config.MaxName characters
	History   bool   // it asks for the history at once
	Token     string // of a viewer that comes back
	Back      bool   // it has a token
	Last      Place  // the last broadcast that it has seen, if it comes back and says so
	Encoding  int    // place among the dialect's encodings

	encoding encoding
	hosts    bool // a host resumes: it has a code and a token only
}

// A Place is a broadcast's number in one life of a room.
type Place struct {
	Epoch string // empty for none
	Seq   uint64
}

// Join lets the session into a room as a viewer, by code, and a secret if the room
// has one, or by the token of a viewer that was there before: at once, or later where
// the room has to be found or its past encoded first.
func (s *Session) Join(e JoinRequest) *Refusal {
	if typed, secret, found := cutSecret(e.Code); found {
		e.Code = typed
		if !e.HasSecret {
			e.Secret, e.HasSecret = secret, true
		}
	}
	e.encoding = s.shard.hub.dialects[s.dialect].first + encoding(e.Encoding)
	return s.soon(e)
}

// letIn makes the session a viewer.
func (s *Session) letIn(e JoinRequest) *Refusal {
	room, c, f := s.find(e.Code, e.Back || e.HasSecret)
	if f != nil {
		return f
	}
	id := uint32(0)
	if e.Back {
		var ok bool
		if id, ok = room.viewerOf(e.Token); !ok {
			return s.failedAttempt(refused(BadToken), c)
		}
	} else {
		e.Last = Place{} // only who was there has missed anything
		if f := room.admits(s, e.Secret, e.HasSecret); f != nil {
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
func (s *Session) enterOnceEncoded(room *Room, e JoinRequest, id uint32) {
	s.wait(func(done func()) { room.backfill(e.encoding, done) }, func(there bool) {
		if !there {
			room.unwant(e.encoding)
			return
		}
		if f := s.enterRoom(room, e, id); f != nil {
			f.Tag = e.Tag
			s.Report(f)
		}
	})
}

// enterRoom lets a viewer in whose encoding is wanted.
func (s *Session) enterRoom(room *Room, e JoinRequest, id uint32) *Refusal {
	w, f := room.join(s, e, id)
	if f != nil {
		return f
	}
	if e.History && !w.Recovered && !s.asksTooSoon() {
		room.beginAtHistory(s)
		w.Seq = s.cursor.Seq()
	}
	if e.Last.Epoch != "" {
		s.shard.counters.back(w.Recovered)
	}
	// Its place is the cursor's, not the Log's present end: the host may have
	// spoken since the cursor was taken.
	s.tellAt(w, s.cursor.Position())
	if e.History {
		if f := s.RequestHistory(); f != nil {
			f.History = true
			s.Report(f) // it is in all the same
		}
	}
	return nil
}

// find returns the room with a code as it was typed, or a fault that has the
// message wait while the room sleeps. Wrong codes are counted. With a proof, a secret
// or a token, the caller has yet to check it: while the relay looks at no code from
// this address, it must tell nothing but what is right.
func (s *Session) find(text string, proof bool) (*Room, code, *Refusal) {
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
				return nil, c, refused(NotReady)
			}
			return nil, c, &Refusal{sleeps: true, room: c}
		}
	}
	if shut != nil {
		return nil, c, shut
	}
	f := refused(RoomNotFound)
	if ok && !h.rested(c) && h.attempts.wrongCode(s.address(), c, h.Config().HexCodes, h.uptime()) {
		if shut = s.shut(); h.Config().HexCodes && shut != nil {
			return nil, c, shut // it got here at the same moment as the last that may
		}
		f.End = ReasonTooManyAttempts
	}
	return nil, c, f
}

// shut returns what to answer to a code while the relay looks at none from the
// session's address, else nil.
func (s *Session) shut() *Refusal {
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
func (r *Room) admits(s *Session, given string, hasSecret bool) *Refusal {
	h := r.hub
	switch {
	case !r.options.secret.asked():
		return s.shut() // a secret that nobody asked for proves nothing
	case !hasSecret:
		return refused(SecretRequired)
	}
	if shut, wait := h.attempts.secretsShut(s.address(), r.code, h.uptime()); shut {
		if f := s.shut(); f != nil {
			return f // as to a code that no room has
		}
		return tooManyAttempts(wait)
	}
	if !r.options.secret.is(given) {
		h.attempts.wrongSecret(r.code, h.uptime())
		return refused(WrongSecret)
	}
	return nil
}

// failedAttempt counts a wrong secret or token, and returns what to answer. While the
// relay looks at no code from the address, that is the same as to a wrong code.
func (s *Session) failedAttempt(f *Refusal, c code) *Refusal {
	if f.Kind != WrongSecret && f.Kind != BadToken {
		return f
	}
	if shut := s.shut(); shut != nil {
		return shut
	}
	h := s.shard.hub
	if h.attempts.wrongProof(proofsOf(s.address(), c), h.uptime()) {
		f.End = ReasonTooManyAttempts
	}
	return f
}
