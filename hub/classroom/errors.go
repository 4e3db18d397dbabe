package classroom

import (
	"encoding/json"
	"fmt"

	"lectern/hub"
)

// maxRe is the longest type, in bytes, that an error repeats.
const maxRe = 64

// errorText returns the JSON of the error message for a refusal.
func errorText(f *hub.Refusal) []byte {
	re := f.Tag.Type
	switch {
	case f.History:
		re = "history_request"
	case len(re) > maxRe:
		re = ""
	}
	return encode(struct {
		Type    string          `json:"type"`
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Re      string          `json:"re,omitempty"`
		Ref     json.RawMessage `json:"ref,omitempty"`
		Retry   int64           `json:"retry_ms,omitempty"`
	}{"error", f.Kind.Code(), Sentence(f), re, f.Tag.Ref, f.Retry.Milliseconds()})
}

// sentences has the text of each kind of refusal whose text is constant.
var sentences = map[hub.RefusalKind]string{
	hub.UnknownType:        "there is no message of this type",
	hub.NotInRoom:          "this connection is in no room; create or join one first",
	hub.AlreadyInRoom:      "this connection is in a room already",
	hub.NotHost:            "only the host of a room may do this",
	hub.IsHost:             "the host of a room cannot do this",
	hub.HostAway:           "the host is not there",
	hub.SecretRequired:     `this room asks for a "secret"`,
	hub.WrongSecret:        "this is not the room's secret",
	hub.BadToken:           "this token is not valid in this room, or no longer",
	hub.BadTicket:          "a ticket is valid for 30 s, once, and in one room; join again with the token to get another",
	hub.NoSession:          "the client with this token is not in the room now; join again with the token",
	hub.CreateForbidden:    `this relay asks for a "key" to create a room, and this is not it`,
	hub.TooManyAttempts:    "too many wrong guesses from this address; this one was not looked at, try again later",
	hub.RoomFull:           "the room has all the viewers it may have",
	hub.RoomNotFound:       "there is no open room with this code",
	hub.NotReady:           "the relay cannot read this room from its disk now; try again later",
	hub.TooManyRooms:       "the relay has all the rooms it may have; try again later",
	hub.TooManyMessages:    "too many messages a second; this one was ignored",
	hub.HostBusy:           "too much waits for the host; it was not passed on",
	hub.ViewerBusy:         "too much waits for this viewer; it was not passed on",
	hub.HistoryPending:     "the history was asked for, and has not come yet",
	hub.ListTooSoon:        "the list may be asked for 20 times, and then once a second",
	hub.RelayBusy:          "the relay is too busy for this now; ask again after retry_ms",
	hub.HistoryWithoutHost: "the host is not there",
	hub.HistoryUnanswered:  "the host did not answer in time",
	hub.HistoryOvertaken:   "the host did not answer before too much else was said",
	hub.NumberUsed:         "this Idempotency-Key came with another message",
	hub.StreamEnded:        "this stream has ended for good",
	hub.ServerFull:         "the relay has all the connections it may have; try again later",
}

// Sentence returns the text of a refusal.
func Sentence(f *hub.Refusal) string {
	switch f.Kind {
	case hub.BadMessage, hub.BadJSON:
		return f.Text
	case hub.TooLarge:
		return fmt.Sprintf("a message may have at most %d bytes here", f.Limit)
	case hub.DirectTooLarge:
		return fmt.Sprintf("a message to a single receiver may have at most %d bytes", f.Limit)
	case hub.NoSuchViewer:
		return fmt.Sprintf("no viewer in this room has the id %d", f.ID)
	case hub.HistoryTooSoon:
		return "the history may be asked for once in " + f.Every.String()
	case hub.TooManyRoomsFromAddress:
		return fmt.Sprintf("there are %d rooms from this address already (--max-rooms-per-address); close one, or try again later", f.Limit)
	case hub.AddressFull:
		return fmt.Sprintf("there are %d connections from this address already (--max-connections-per-address); try again later", f.Limit)
	case hub.TooManyErrors:
		return fmt.Sprintf("too many mistakes: %d more messages were ignored, and this connection is closed", f.Limit)
	case hub.UnexpectedNumber:
		return fmt.Sprintf("the next message of this host has the Idempotency-Key %d", f.Number)
	case hub.OriginNotAllowed:
		return "pages of the origin " + f.Text + " may not connect to this relay, unless it is told --allow-origin " + f.Text
	}
	return sentences[f.Kind]
}
