package hub

import (
	"math/rand/v2"
	"time"
)

// A Refusal is why the relay did not do what a client asked for. Nothing else
// happened, and the connection stays open unless End says otherwise. A dialect words it.
type Refusal struct {
	Kind  RefusalKind
	Text  string        // a dialect's own words, for the kinds that are about the form of a message
	Limit int           // that was passed, for the kinds that have one; of TooManyErrors how many messages were ignored
	ID    uint32        // the viewer of NoSuchViewer
	Every time.Duration // of HistoryTooSoon: how often it may be asked for
	Retry time.Duration // when the client may ask again; 0 if that is not known
	End   Reason        // why the connection ends now; ReasonLost if it does not
	Tag   Tag           // of the message that it answers

	// History tells that it is about a history that the viewer waits for.
	History bool

	sleeps bool // nothing is wrong: the message has to wait for the room, which sleeps
	room   code
}

// A Tag is what a dialect needs to tell a client which of its messages an answer
// is for. The hub keeps it and does not look at it.
type Tag struct {
	Type string
	Ref  []byte // never changed
}

// A RefusalKind is what a Refusal is about.
type RefusalKind uint8

// The kinds. Their codes are the labels of a metric.
const (
	TooLarge      RefusalKind = iota // a message over Limit bytes
	BadMessage                       // its form, or a field; Text says what is wrong
	BadJSON                          // Text says where
	UnknownType                      // of message
	NotInRoom                        // the message is for those in a room
	AlreadyInRoom                    // and this for those in none
	NotHost                          // this for the host
	IsHost                           // and this not for the host
	HostAway                         // a direct message to a host that is not there
	SecretRequired
	WrongSecret
	BadToken
	CreateForbidden // the relay has a create key, and this is not it
	TooManyAttempts // to guess codes, secrets, tokens or keys from this address
	RoomFull
	NoSuchViewer // with ID
	RoomNotFound
	NotReady // the room is on disk and cannot be read now
	TooManyRooms
	TooManyRoomsFromAddress // more than Limit
	TooManyMessages         // in a second
	HostBusy                // too many direct messages wait for the host
	ViewerBusy              // or for the viewer
	DirectTooLarge          // a direct message over Limit bytes
	HistoryPending          // the viewer waits for the history already
	HistoryTooSoon          // it had it less than Config.HistoryEvery ago
	ListTooSoon             // it had too many pages of the list
	RelayBusy
	HistoryWithoutHost // the host is not there, and the record does not reach back
	HistoryUnanswered  // the host did not answer in time
	HistoryOvertaken   // it did not answer before the viewer was too far behind
	ServerFull         // the relay has all the connections it may have
	AddressFull        // and this address has Limit
	TooManyErrors      // of this connection; Limit messages were ignored
	OriginNotAllowed   // the page's origin, which Text tells
	refusalKinds
)

var refusalCodes = [refusalKinds]string{
	TooLarge:                "too_large",
	BadMessage:              "bad_message",
	BadJSON:                 "bad_json",
	UnknownType:             "unknown_type",
	NotInRoom:               "not_in_room",
	AlreadyInRoom:           "already_in_room",
	NotHost:                 "not_host",
	IsHost:                  "is_host",
	HostAway:                "host_away",
	SecretRequired:          "secret_required",
	WrongSecret:             "wrong_secret",
	BadToken:                "bad_token",
	CreateForbidden:         "create_forbidden",
	TooManyAttempts:         "too_many_attempts",
	RoomFull:                "room_full",
	NoSuchViewer:            "no_such_viewer",
	RoomNotFound:            "room_not_found",
	NotReady:                "not_ready",
	TooManyRooms:            "too_many_rooms",
	TooManyRoomsFromAddress: "too_many_rooms",
	TooManyMessages:         "too_fast",
	HostBusy:                "too_fast",
	ViewerBusy:              "too_fast",
	DirectTooLarge:          "too_large",
	HistoryPending:          "too_fast",
	HistoryTooSoon:          "too_fast",
	ListTooSoon:             "too_fast",
	RelayBusy:               "busy",
	HistoryWithoutHost:      "history_unavailable",
	HistoryUnanswered:       "history_unavailable",
	HistoryOvertaken:        "history_unavailable",
	ServerFull:              "server_full",
	AddressFull:             "server_full",
	TooManyErrors:           "too_many_errors",
	OriginNotAllowed:        "origin_not_allowed",
}

// Code returns the kind's name in PROTOCOL.md and in the metrics. Several kinds may
// have the same.
func (k RefusalKind) Code() string { return refusalCodes[k] }

// RefusalCodes returns the codes of all kinds that are told in a room's life, so that
// each can have its count from the start.
func RefusalCodes() []string {
	var codes []string
	seen := make(map[string]bool)
	for k := range refusalKinds {
		if code := k.Code(); k != OriginNotAllowed && !seen[code] {
			seen[code] = true
			codes = append(codes, code)
		}
	}
	return codes
}

// refused returns a Refusal of which nothing but its kind is to be told.
func refused(kind RefusalKind) *Refusal { return &Refusal{Kind: kind} }

func noSuchViewer(id uint32) *Refusal { return &Refusal{Kind: NoSuchViewer, ID: id} }

// relayBusy is told instead of a history, or a page of a list, for which there is
// no memory, or which too many others wait for.
func relayBusy() *Refusal { return &Refusal{Kind: RelayBusy, Retry: busyRetry} }

// busyRetry is when to ask again.
const busyRetry = 2 * time.Second

// tooManyAttempts asks for patience: for at least so long, and at most a second or a
// tenth more, so that clients do not all come back at once.
func tooManyAttempts(wait time.Duration) *Refusal {
	wait = max(wait, time.Millisecond)
	return &Refusal{Kind: TooManyAttempts, Retry: wait + rand.N(max(time.Second, wait/10))}
}

// Report tells the session that a message was refused, and may overtake broadcasts.
// When there were too many refusals it is only counted.
func (s *Session) Report(r *Refusal) {
	if !s.tellsError() {
		return
	}
	s.shard.hub.Refused(r.Kind.Code(), s.address())
	s.sendUrgent(Refused{r})
}

// Refuse reports a Refusal, and ends the connection if it was one too many.
func (s *Session) Refuse(r *Refusal) {
	s.Report(r)
	if r.End != ReasonLost {
		s.end(r.End)
	}
}
