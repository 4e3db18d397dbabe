package hub

import (
	"time"

	"lectern/hub/attempts"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// This file is about how a session enters a room.

// Create creates a room with the session as its host. key is the create key
// that the client sent, see Config.CreateKey.
func (s *Session) Create(o RoomOptions, key string) *Refusal {
	h := s.shard.hub
	if f := h.mayCreate(s, key); f != nil {
		return f
	}
	if limit := h.Config().MaxRoomsPerAddress; !h.addresses.OpenRoom(s.from, limit) {
		h.Refused("rooms_per_address", s.address())
		return &Refusal{Kind: TooManyRoomsFromAddress, Limit: limit}
	}
	record := h.dialects[s.dialect].record
	room, token := newRoom(h, record, rulesOf(o))
	room.hostSlot.take(s, 0)
	room.from = s.from
	if !h.register(room) {
		h.addresses.CloseRoom(s.from)
		return refused(TooManyRooms)
	}
	s.room, s.encoding = room, h.dialects[s.dialect].first
	s.set(flagHost)
	s.noteToken(token.String())
	s.tell(Created{room.code.String(), token.String(), room.epoch})
	return nil
}

// mayCreate checks the create key that a client gave.
func (h *Hub) mayCreate(s *Session, given string) *Refusal {
	key := h.Config().CreateKey
	if key == "" {
		return nil
	}
	if credentials.HashOf(key).Matches(given) {
		return nil // a right key counts even after many wrong ones from its address
	}
	f := refused(CreateForbidden)
	if given != "" && h.attempts.WrongProof(attempts.KeysOf(s.address()), h.uptime()) {
		f.End = ReasonTooManyAttempts
	}
	return f
}

// Resume gives a host its room back, by the token that it received when it
// created the room or became its host. The session learns the result at once,
// or later if the room has to be read from disk first.
func (s *Session) Resume(code, token string, tag Tag) *Refusal {
	return s.soon(JoinRequest{Tag: tag, Code: code, Token: token, hosts: true})
}

// resumeHost makes the session the host of the room that it asks for.
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
	s.noteToken(e.Token)
	s.beginResponse()
	s.tell(Resumed{room.code.String(), e.Token, room.epoch, back.seq, back.sent})
	return nil
}

// A JoinRequest is a client's request to join a room, or to resume it as host.
type JoinRequest struct {
	Tag       Tag
	Code      string // as the user typed it; may end with the secret
	Secret    string
	HasSecret bool
	Name      string // at most Config.MaxName characters
	History   bool   // the client asks for the history as well
	Token     string // token of a viewer that comes back
	Back      bool   // Token is set
	Last      Place  // last broadcast that the client saw, if it comes back and says so
	Encoding  int    // index in Dialect.Encodings

	// Of requests for a room's stream over HTTP:
	Ticket string        // stands for a token, see [Hub.PostViewer]
	Wait   time.Duration // how long a poll waits for an event; 0 for an event stream

	encoding encoding
	hosts    bool // the request is to resume as host; only Code and Token are set
}

// A Place is the number of a broadcast in one epoch of a room.
type Place struct {
	Epoch string // empty for none
	Seq   uint64
}

// Join adds the session to a room as a viewer. The client gives the room's code
// and, if the room has one, its secret, or the token that it received when it
// joined before. The session learns the result at once, or later if the room
// has to be read from disk or its past has to be encoded first.
func (s *Session) Join(e JoinRequest) *Refusal {
	if typed, secret, found := roomcode.CutSecret(e.Code); found {
		e.Code = typed
		if !e.HasSecret {
			e.Secret, e.HasSecret = secret, true
		}
	}
	e.encoding = s.shard.hub.dialects[s.dialect].first + encoding(e.Encoding)
	return s.soon(e)
}

// letIn makes the session a viewer of the room that it asks for.
func (s *Session) letIn(e JoinRequest) *Refusal {
	room, c, f := s.find(e.Code, e.Back || e.HasSecret)
	if f != nil {
		return f
	}
	id := uint32(0)
	if e.Back {
		var ok bool
		if id, ok = room.hub.tokens.Check(e.Token, room.birth, room.code); !ok {
			return s.failedAttempt(refused(BadToken), c)
		}
	} else {
		if !s.isEvents() {
			e.Last = Place{} // a new viewer has missed nothing
		}
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

// enterOnceEncoded adds the viewer when the room's past is encoded in its
// encoding.
func (s *Session) enterOnceEncoded(room *Room, e JoinRequest, id uint32) {
	s.wait(func(done func()) { room.streams.backfill(e.encoding, done) }, func(there bool) {
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

// enterRoom adds the viewer to the room, whose stream counts its encoding
// already.
func (s *Session) enterRoom(room *Room, e JoinRequest, id uint32) *Refusal {
	w, f := room.join(s, e, id)
	if f != nil {
		return f
	}
	if e.History && !w.Recovered && !s.asksTooSoon() {
		room.history.begin(s)
		w.Seq = s.cursor.Seq()
	}
	if e.Last.Epoch != "" {
		s.shard.counters.back(w.Recovered)
	}
	// Use the cursor's position, not the Log's current end: the host may have
	// broadcast since join set the cursor.
	s.beginResponse()
	s.tellAt(w, s.cursor.Position())
	if e.History && !(w.Recovered && s.isEvents()) { // browsers reconnect with the same query
		if f := s.RequestHistory(); f != nil {
			f.History = true
			s.Report(f) // the viewer has joined all the same
		}
	}
	return nil
}

// find returns the room with this code. If there is none, it returns a Refusal
// and counts a wrong code; the Refusal's sleeps is set if the message has to
// wait until the room is read from disk.
//
// proof says that the client also sent a secret or a token, which the caller
// checks. While the relay looks at no codes from the client's address, only a
// correct proof gets in, and every other reply is the same, so that it reveals
// nothing about the code.
func (s *Session) find(text string, proof bool) (*Room, roomcode.Code, *Refusal) {
	h := s.shard.hub
	c, ok := roomcode.Parse(text)
	shut := s.shut()
	if shut != nil && !proof {
		return nil, c, shut
	}
	if ok {
		room, sleeps := h.rooms.Find(c)
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
	if ok && !h.rooms.Rested(c) && h.attempts.WrongCode(s.address(), c, h.Config().HexCodes, h.uptime()) {
		if shut = s.shut(); h.Config().HexCodes && shut != nil {
			return nil, c, shut // the limit was reached after the check above
		}
		f.End = ReasonTooManyAttempts
	}
	return nil, c, f
}

// shut returns the reply to a code while the relay looks at no codes from the
// session's address, nil otherwise.
func (s *Session) shut() *Refusal {
	h := s.shard.hub
	hexadecimal, now := h.Config().HexCodes, h.uptime()
	if full, _ := h.attempts.Capped(now); !full && !hexadecimal {
		return nil // the common case
	}
	shut, wait := h.attempts.Shut(s.address(), hexadecimal, now)
	if !shut {
		return nil
	}
	return tooManyAttempts(wait)
}

// admits checks the secret that a new viewer gave.
func (r *Room) admits(s *Session, given string, hasSecret bool) *Refusal {
	h := r.hub
	switch {
	case !r.options.secret.IsSet():
		return s.shut() // a secret proves nothing where the room has none
	case !hasSecret:
		return refused(SecretRequired)
	}
	if shut, wait := h.attempts.SecretsShut(s.address(), r.code, h.uptime()); shut {
		if f := s.shut(); f != nil {
			return f // the same reply as to a wrong code
		}
		return tooManyAttempts(wait)
	}
	if !r.options.secret.Matches(given) {
		h.attempts.WrongSecret(r.code, h.uptime())
		return refused(WrongSecret)
	}
	return nil
}

// failedAttempt counts a wrong secret or token, and returns the reply. While
// the relay looks at no codes from the address, that is the reply to a wrong
// code.
func (s *Session) failedAttempt(f *Refusal, c roomcode.Code) *Refusal {
	if f.Kind != WrongSecret && f.Kind != BadToken && f.Kind != BadTicket {
		return f
	}
	if shut := s.shut(); shut != nil {
		return shut
	}
	h := s.shard.hub
	if h.attempts.WrongProof(attempts.ProofsOf(s.address(), c), h.uptime()) {
		f.End = ReasonTooManyAttempts
	}
	return f
}
