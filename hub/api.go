package hub

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// The registry from outside: what an HTTP API, or a program that embeds the hub,
// may do. It may be called from anywhere.

// Errors of the methods below.
var (
	ErrRoomNotFound  = errors.New("there is no open room with this code")
	ErrTooManyRooms  = errors.New("the relay has all the rooms it may have")
	ErrHostSpeaks    = errors.New("in this room the host keeps the history, so only the host broadcasts")
	ErrShuttingDown  = errors.New("the relay is shutting down")
	ErrMessageTooBig = errors.New("the message is over the limit for hosts")
)

// RoomOptions are what whoever makes a room may choose. The zero value works.
type RoomOptions struct {
	Name       string // at most Config.MaxName characters
	Secret     string // that joiners must give; none if empty
	MaxViewers int    // default and at most Config.MaxViewers
	Roster     bool   // viewers may list each other
	History    string // who keeps it: "relay", the default, or "host"
	Slow       string // what happens to viewers that are too slow: "close", the default, or "skip"
}

// A FieldError is an option that cannot be.
type FieldError struct{ Field, Problem string }

// Error names the field.
func (e *FieldError) Error() string { return e.Field + " must be " + e.Problem }

// RoomInfo is what may be told of a room.
type RoomInfo struct {
	Code       string    `json:"code"`
	Name       string    `json:"name"`
	Viewers    int       `json:"viewers"`
	MaxViewers int       `json:"max_viewers"`
	Host       bool      `json:"host"` // one is there
	Created    time.Time `json:"created"`
	Seq        uint64    `json:"seq"`   // number of the last broadcast
	Bytes      int64     `json:"bytes"` // held by the room's Log
}

// CreateRoom makes a room that waits for its host: the first to resume it with
// the token. If none comes in Config.RoomIdle it is closed.
func (h *Hub) CreateRoom(o RoomOptions) (info RoomInfo, token string, err error) {
	c := h.Config()
	if h.Draining() {
		return RoomInfo{}, "", ErrShuttingDown
	}
	if o.MaxViewers == 0 {
		o.MaxViewers = c.MaxViewers
	}
	switch {
	case utf8.RuneCountInString(o.Name) > c.MaxName:
		return RoomInfo{}, "", &FieldError{"name", "at most as long as --max-name allows"}
	case o.MaxViewers < 0 || o.MaxViewers > c.MaxViewers:
		return RoomInfo{}, "", &FieldError{"max_viewers", "from 1 to what --max-viewers allows"}
	case !slices.Contains([]string{"", "relay", "host"}, o.History):
		return RoomInfo{}, "", &FieldError{"history", `"relay" or "host"`}
	case !slices.Contains([]string{"", "close", "skip"}, o.Slow):
		return RoomInfo{}, "", &FieldError{"slow", `"close" or "skip"`}
	}
	r, hostToken := newRoom(h, h.defaultRecord(), rulesOf(o))
	r.mu.Lock()
	r.waitLocked(c.RoomIdle, ReasonRoomIdle)
	r.mu.Unlock()
	if !h.register(r) {
		r.mu.Lock()
		r.closeLocked()
		r.mu.Unlock()
		return RoomInfo{}, "", ErrTooManyRooms
	}
	return r.info(), hostToken.String(), nil
}

// rulesOf returns the options as a room has them.
func rulesOf(o RoomOptions) roomRules {
	rules := roomRules{
		name: o.Name, maxViewers: o.MaxViewers, roster: o.Roster,
		relayTells: o.History != "host", skips: o.Slow == "skip",
	}
	if o.Secret != "" {
		rules.secret = hashSecret(o.Secret)
	}
	return rules
}

// defaultRecord returns the encoding of the record of rooms that no client opens.
func (h *Hub) defaultRecord() encoding { return 0 }

// info returns what may be told of the room.
func (r *Room) info() RoomInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.log.End()
	return RoomInfo{
		Code: r.code.String(), Name: r.options.name, Viewers: r.roster.viewers, MaxViewers: r.options.maxViewers,
		Host: r.hostSlot.host != nil, Created: r.created.UTC(), Seq: end.Seq(), Bytes: r.held,
	}
}

// room finds a room by its code as text. It may wait for one that sleeps.
func (h *Hub) room(text string) *Room {
	c, ok := parseCode(text)
	if !ok {
		return nil
	}
	h.awake(c)
	return h.lookup(c)
}

// Room returns what may be told of one room, and whether it is there.
func (h *Hub) Room(code string) (RoomInfo, bool) {
	r := h.room(code)
	if r == nil {
		return RoomInfo{}, false
	}
	return r.info(), true
}

// Rooms returns up to limit rooms with codes beyond after, in the order of
// their codes, and the code to go on after, empty if those were the last. What is
// no code comes before all of them.
func (h *Hub) Rooms(after string, limit int) (page []RoomInfo, next string) {
	beyond, ok := parseCode(after)
	if !ok {
		beyond = code{}
	}
	type listed struct {
		code code
		room *Room // nil while it sleeps
	}
	h.mu.RLock()
	all := make([]listed, 0, len(h.rooms)+len(h.sleeping))
	add := func(c code, r *Room) {
		if bytes.Compare(c[:], beyond[:]) > 0 {
			all = append(all, listed{c, r})
		}
	}
	for c, r := range h.rooms {
		add(c, r)
	}
	for c := range h.sleeping {
		add(c, nil)
	}
	h.mu.RUnlock()
	slices.SortFunc(all, func(a, b listed) int { return bytes.Compare(a.code[:], b.code[:]) })
	page = []RoomInfo{}
	var asleep []code
	for _, l := range all[:min(limit, len(all))] {
		if l.room == nil {
			asleep = append(asleep, l.code)
		}
	}
	h.awake(asleep...)
	for _, l := range all[:min(limit, len(all))] {
		if l.room == nil {
			l.room = h.lookup(l.code)
		}
		if l.room != nil {
			page = append(page, l.room.info())
		}
	}
	if len(all) > limit && limit > 0 {
		next = all[limit-1].code.String()
	}
	return page, next
}

// DeleteRoom closes a room, and reports whether it was there.
func (h *Hub) DeleteRoom(code string) bool {
	r := h.room(code)
	return r != nil && r.close(ReasonDeleted)
}

// Publish relays a message of the room's own dialect to its viewers and its host, and
// returns the broadcast's number. A hub that drains answers ErrShuttingDown.
func (h *Hub) Publish(code string, op ws.OpCode, message []byte) (seq uint64, err error) {
	r := h.room(code)
	if r == nil {
		return 0, ErrRoomNotFound
	}
	if len(message) > h.Config().MaxHostMessage {
		return 0, ErrMessageTooBig
	}
	if !r.options.relayTells {
		return 0, ErrHostSpeaks
	}
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return 0, ErrRoomNotFound
	case h.draining.Load(): // what is kept of the room may have been written for the last time
		r.mu.Unlock()
		return 0, ErrShuttingDown
	}
	before := r.log.End()
	seq = r.publishLocked(op, message)
	host := r.hostSlot.host
	r.mu.Unlock()
	if host != nil {
		whole, _ := before.NextFrame()
		r.tell(host, 0, func() { host.tellHost(r, whole, seq) })
	}
	r.wake()
	return seq, nil
}

// WrongKey counts a wrong key of an HTTP API, given by a client at the
// address.
func (h *Hub) WrongKey(from netip.Addr) { h.attempts.wrongProof(keysOf(from), h.uptime()) }

// TooManyWrongKeys reports whether an address has given as many wrong keys as it
// may: 20, and then one more each 3 s.
func (h *Hub) TooManyWrongKeys(from netip.Addr) bool {
	return h.attempts.tooManyProofs(keysOf(from), h.uptime())
}
