package httpapi

import (
	"fmt"
	"net/http"
	"unicode/utf8"

	"lectern/hub"
)

// How many rooms a page of the list has.
const (
	standardPage = 100
	maxPage      = 1000
)

// listRooms lists the rooms, in pages.
func (a *api) listRooms(c call) (status int, data any, err error) {
	limit := standardPage
	if c.query.Has("limit") {
		if limit, err = whole("limit", c.query.Get("limit"), 1, maxPage); err != nil {
			return 0, nil, err
		}
	}
	after, ok := hub.ParseCode(c.query.Get("after"))
	if c.query.Has("after") && !ok {
		return 0, nil, wrong("after", "a room's code, like K7QM-2XHD")
	}
	page := struct {
		Rooms []hub.RoomInfo `json:"rooms"`
		Next  *string        `json:"next"`
	}{}
	var next string
	page.Rooms, next = a.hub.Rooms(after, limit)
	if next != "" {
		page.Next = &next
	}
	return http.StatusOK, page, nil
}

// createRoom makes a room that waits for its host.
func (a *api) createRoom(c call) (status int, data any, err error) {
	options, err := a.readOptions(c.fields)
	if err != nil {
		return 0, nil, err
	}
	room, token, err := a.hub.CreateRoom(options)
	if err != nil {
		return 0, nil, err
	}
	c.header.Set("Location", "/v1/api/rooms/"+room.Code)
	return http.StatusCreated, struct {
		hub.RoomInfo
		Token string `json:"token"`
	}{room, token}, nil
}

// roomFields are the fields of a request for a new room.
var roomFields = []string{"name", "secret", "max_viewers", "history", "slow", "roster"}

// readOptions reads roomFields. The rules are those of the message create, except for
// the default of history.
func (a *api) readOptions(f fields) (o hub.RoomOptions, err error) {
	limits := a.hub.Config()
	if o.Name, _, err = f.str("name"); err != nil {
		return o, err
	}
	if utf8.RuneCountInString(o.Name) > limits.MaxName {
		return o, wrong("name", fmt.Sprintf("at most %d characters", limits.MaxName))
	}
	secret, given, err := f.str("secret")
	if err != nil || given && secret == "" {
		return o, wrong("secret", "a string that is not empty")
	}
	o.Secret = secret
	if o.MaxViewers, err = f.number("max_viewers", 1, limits.MaxViewers, limits.MaxViewers); err != nil {
		return o, err
	}
	if o.History, err = f.oneOf("history", "relay", "host"); err != nil {
		return o, err
	}
	if o.Slow, err = f.oneOf("slow", "close", "skip"); err != nil {
		return o, err
	}
	o.Roster, err = f.flag("roster")
	return o, err
}

// showRoom describes a room.
func (a *api) showRoom(c call) (status int, data any, err error) {
	room, ok := a.hub.Room(c.code())
	if !ok {
		return 0, nil, hub.ErrRoomNotFound
	}
	return http.StatusOK, room, nil
}

// deleteRoom closes a room.
func (a *api) deleteRoom(c call) (status int, data any, err error) {
	if !a.hub.DeleteRoom(c.code()) {
		return 0, nil, hub.ErrRoomNotFound
	}
	return http.StatusOK, struct {
		Code string `json:"code"`
	}{c.code()}, nil
}
