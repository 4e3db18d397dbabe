package hub

import (
	"errors"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"lectern/hub/attempts"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// The methods in this file are for an HTTP API, or for a program that embeds
// the hub. They may be called from any goroutine.

// Errors that the methods below return.
var (
	ErrRoomNotFound  = errors.New("there is no open room with this code")
	ErrTooManyRooms  = errors.New("the relay has all the rooms it may have")
	ErrHostSpeaks    = errors.New("in this room the host keeps the history, so only the host broadcasts")
	ErrShuttingDown  = errors.New("the relay is shutting down")
	ErrMessageTooBig = errors.New("the message is over the limit for hosts")
)

// RoomOptions are the choices of whoever creates a room. The zero value works.
type RoomOptions struct {
	Name       string // at most Config.MaxName characters
	Secret     string // viewers must give it to join; empty for none
	MaxViewers int    // default and at most Config.MaxViewers
	Roster     bool   // viewers may list the other viewers
	History    string // who keeps the history: "relay", the default, or "host"
	Slow       string // what happens to viewers that are too slow: "close", the default, or "skip"
}

// A FieldError reports an option with an invalid value.
type FieldError struct{ Field, Problem string }

// Error returns the field and what it must be.
func (e *FieldError) Error() string { return e.Field + " must be " + e.Problem }

// RoomInfo describes a room to the outside. It holds no secrets.
type RoomInfo struct {
	Code       string    `json:"code"`
	Name       string    `json:"name"`
	Viewers    int       `json:"viewers"`
	MaxViewers int       `json:"max_viewers"`
	Host       bool      `json:"host"` // the host is connected
	Created    time.Time `json:"created"`
	Seq        uint64    `json:"seq"`   // number of the last broadcast
	Bytes      int64     `json:"bytes"` // held by the room's Logs
}

// CreateRoom creates a room without a host and returns its host's token. The
// first session that resumes the room with the token becomes the host. The room
// closes if no host comes within Config.RoomIdle. The error is ErrShuttingDown,
// ErrTooManyRooms or a *FieldError.
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

// rulesOf converts options to the form that a room keeps.
func rulesOf(o RoomOptions) roomRules {
	rules := roomRules{
		name: o.Name, maxViewers: o.MaxViewers, roster: o.Roster,
		relayTells: o.History != "host", skips: o.Slow == "skip",
	}
	if o.Secret != "" {
		rules.secret = credentials.HashOf(o.Secret)
	}
	return rules
}

// defaultRecord returns the encoding of the record in rooms that no client
// created.
func (h *Hub) defaultRecord() encoding { return 0 }

// info describes the room to the outside.
func (r *Room) info() RoomInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.streams.end()
	return RoomInfo{
		Code: r.code.String(), Name: r.options.name, Viewers: r.roster.Viewers(), MaxViewers: r.options.maxViewers,
		Host: r.hostSlot.current() != nil, Created: r.created.UTC(), Seq: end.Seq(), Bytes: r.streams.bytes(),
	}
}

// room looks up a room by its code as text, nil if there is none. It may block
// for up to registry.MaxWake while the room is read from disk.
func (h *Hub) room(text string) *Room {
	c, ok := roomcode.Parse(text)
	if !ok {
		return nil
	}
	h.rooms.Awake(c)
	return h.lookup(c)
}

// Room describes the room with this code, and reports whether it exists.
func (h *Hub) Room(code string) (RoomInfo, bool) {
	r := h.room(code)
	if r == nil {
		return RoomInfo{}, false
	}
	return r.info(), true
}

// Rooms returns up to limit rooms, in the order of their codes, starting behind
// the code after. It returns the code to continue with, which is empty on the
// last page. If after is not a code, the list starts at the beginning.
func (h *Hub) Rooms(after string, limit int) (page []RoomInfo, next string) {
	beyond, ok := roomcode.Parse(after)
	if !ok {
		beyond = roomcode.Code{}
	}
	listed, more := h.rooms.Page(beyond, limit)
	var asleep []roomcode.Code
	for _, l := range listed {
		if l.Room == nil {
			asleep = append(asleep, l.Code)
		}
	}
	h.rooms.Awake(asleep...)
	page = []RoomInfo{}
	for _, l := range listed {
		if l.Room == nil {
			l.Room = h.lookup(l.Code)
		}
		if l.Room != nil {
			page = append(page, l.Room.info())
		}
	}
	if more && limit > 0 {
		next = listed[limit-1].Code.String()
	}
	return page, next
}

// DeleteRoom closes the room with this code, and reports whether it existed.
func (h *Hub) DeleteRoom(code string) bool {
	r := h.room(code)
	return r != nil && r.close(ReasonDeleted)
}

// Publish sends a message in the room's dialect to its viewers and its host,
// and returns the broadcast's number. The error is ErrRoomNotFound,
// ErrMessageTooBig, ErrHostSpeaks, or ErrShuttingDown once Drain was called.
func (h *Hub) Publish(code string, message []byte) (seq uint64, err error) {
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
	p := r.streams.prepare(message)
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return 0, ErrRoomNotFound
	case h.draining.Load(): // the store may have saved the room for the last time
		r.mu.Unlock()
		return 0, ErrShuttingDown
	}
	before := r.streams.end()
	seq = r.publishLocked(message, p)
	host := r.hostSlot.current()
	r.mu.Unlock()
	if host != nil {
		whole, _ := before.NextFrame()
		r.tell(host, 0, func() { host.tellHost(r, whole, seq) })
	}
	r.audiences.wake()
	return seq, nil
}

// WrongKey counts a wrong key of an HTTP API that a client at this address
// sent.
func (h *Hub) WrongKey(from netip.Addr) { h.attempts.WrongProof(attempts.KeysOf(from), h.uptime()) }

// TooManyWrongKeys reports whether this address has used up its wrong keys: 20,
// and then one more every 3 s.
func (h *Hub) TooManyWrongKeys(from netip.Addr) bool {
	return h.attempts.TooManyProofs(attempts.KeysOf(from), h.uptime())
}

// ParseCode parses a room's code as a person may type it, and returns it in its
// canonical form. ok is false if the text does not have the form of a code.
func ParseCode(text string) (canonical string, ok bool) {
	c, ok := roomcode.Parse(text)
	if !ok {
		return "", false
	}
	return c.String(), true
}
