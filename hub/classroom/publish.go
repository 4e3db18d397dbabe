package classroom

import (
	"unicode/utf8"

	"lectern/hub"
	"lectern/hub/strictjson"
)

// Publish sends data to a room's viewers and its host as a message of the type
// broadcast, and returns its number. data must be valid JSON, nested at most
// 300 deep, or the error is a *hub.FieldError. For other errors see
// [hub.Hub.Publish].
func Publish(h *hub.Hub, code string, data []byte) (seq uint64, err error) {
	if _, ok := h.Room(code); !ok {
		return 0, hub.ErrRoomNotFound
	}
	text := append(append([]byte(`{"type":"broadcast","data":`), data...), '}')
	if len(text) > h.Config().MaxHostMessage {
		return 0, hub.ErrMessageTooBig
	}
	// Check the message too: it has one level more than the data.
	if strictjson.Check(text) != nil || strictjson.Check(data) != nil || !utf8.Valid(data) {
		return 0, &hub.FieldError{Field: "data", Problem: "valid JSON, at most 300 deep"}
	}
	return h.Publish(code, text)
}
