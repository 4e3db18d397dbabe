package classroom

import (
	"unicode/utf8"

	"github.com/gobwas/ws"

	"lectern/hub"
	"lectern/hub/strictjson"
)

// Publish relays data, which must be valid JSON at most 300 deep, to a room's
// viewers and its host as a message of the type broadcast, and returns its number. See
// [hub.Hub.Publish].
func Publish(h *hub.Hub, code string, data []byte) (seq uint64, err error) {
	if _, ok := h.Room(code); !ok {
		return 0, hub.ErrRoomNotFound
	}
	text := append(append([]byte(`{"type":"broadcast","data":`), data...), '}')
	if len(text) > h.Config().MaxHostMessage {
		return 0, hub.ErrMessageTooBig
	}
	// One level is that of the message around the data.
	if strictjson.Check(text) != nil || strictjson.Check(data) != nil || !utf8.Valid(data) {
		return 0, &hub.FieldError{Field: "data", Problem: "valid JSON, at most 300 deep"}
	}
	return h.Publish(code, ws.OpText, text)
}
