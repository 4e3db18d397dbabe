package hub

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"lectern/hub/refusals"
	"lectern/hub/roomcode"
)

// A Refusal is why the relay did not do what a client asked for. The message
// has had no other effect, and the connection stays open unless End is set. A
// dialect words it.
type Refusal struct {
	Kind   RefusalKind
	Text   string        // the dialect's own words, for kinds that are about a message's form
	Limit  int           // the limit that was exceeded, if the kind has one; for TooManyErrors the number of messages ignored
	ID     uint32        // for NoSuchViewer: the viewer
	Number uint64        // for UnexpectedNumber: the number that the message must have
	Every  time.Duration // for HistoryTooSoon: the shortest time between two requests
	Retry  time.Duration // how long to wait before asking again; 0 if unknown
	End    Reason        // why the relay closes the connection now; ReasonLost if it does not
	Tag    Tag           // identifies the message that was refused

	// History says that the Refusal is about a history that the viewer waits
	// for.
	History bool

	sleeps bool // not an error: the message has to wait until room is read from disk
	room   roomcode.Code
}

// A Tag is what a dialect needs to say which message a reply belongs to. The
// hub stores it without looking at it.
type Tag struct {
	Type string
	Ref  []byte // immutable
}

// A RefusalKind is what a Refusal is about.
type RefusalKind uint8

// The kinds. Their codes are labels of a metric.
const (
	TooLarge      RefusalKind = iota // the message is over Limit bytes
	BadMessage                       // the message's form or a field is wrong; Text says how
	BadJSON                          // the message is not JSON; Text says where
	UnknownType                      // the message's type is unknown
	NotInRoom                        // the message needs a room
	AlreadyInRoom                    // the message needs a session in no room
	NotHost                          // only the host may send this message
	IsHost                           // the host may not send this message
	HostAway                         // a direct message to the host, which is away
	SecretRequired
	WrongSecret
	BadToken
	CreateForbidden // the create key is missing or wrong
	TooManyAttempts // too many wrong codes, secrets, tokens or keys from this address
	RoomFull
	NoSuchViewer // no viewer has the ID
	RoomNotFound
	NotReady // the room is on disk and cannot be read now
	TooManyRooms
	TooManyRoomsFromAddress // the address has Limit rooms already
	TooManyMessages         // too many messages in this second
	HostBusy                // too many direct messages wait for the host
	ViewerBusy              // too many direct messages wait for the viewer
	DirectTooLarge          // the direct message is over Limit bytes
	HistoryPending          // the viewer waits for the history already
	HistoryTooSoon          // the viewer asked less than Config.HistoryEvery ago
	ListTooSoon             // the session has requested too many pages of the list
	RelayBusy
	HistoryWithoutHost // the host is away, and the record does not reach back to the first broadcast
	HistoryUnanswered  // the host did not answer in time
	HistoryOvertaken   // the viewer fell too far behind while it waited
	ServerFull         // the relay has its maximum of connections
	AddressFull        // the address has its maximum of Limit connections
	TooManyErrors      // the connection made too many errors; Limit messages were ignored
	OriginNotAllowed   // the page's origin, which is in Text
	UnexpectedNumber   // a host's message by POST must have the number Number
	NumberUsed         // another message had the number
	BadTicket          // the ticket is spent, too old, unknown, or for another room
	NoSession          // the token is valid, and its client has no session
	StreamEnded        // the request is for an event stream that the relay has ended for good
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
	UnexpectedNumber:        "unexpected_number",
	NumberUsed:              "number_used",
	BadTicket:               "bad_token",
	NoSession:               "not_in_room",
	StreamEnded:             "stream_ended",
}

// Code returns the kind's name in PROTOCOL.md and in the metrics. Several kinds
// may share a code.
func (k RefusalKind) Code() string { return refusalCodes[k] }

// RefusalCodes returns the codes of all kinds except OriginNotAllowed, so that
// each can have a counter from the start.
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

// refused returns a Refusal that has nothing but its kind.
func refused(kind RefusalKind) *Refusal { return &Refusal{Kind: kind} }

func noSuchViewer(id uint32) *Refusal { return &Refusal{Kind: NoSuchViewer, ID: id} }

// relayBusy replaces a history or a page of a list for which there is no
// memory, or for which too many others wait.
func relayBusy() *Refusal { return &Refusal{Kind: RelayBusy, Retry: busyRetry} }

// busyRetry is how long a client should wait after RelayBusy.
const busyRetry = 2 * time.Second

// tooManyAttempts returns a Refusal that asks the client to wait at least this
// long, and at most a second or a tenth longer, so that clients do not all come
// back at once.
func tooManyAttempts(wait time.Duration) *Refusal {
	wait = max(wait, time.Millisecond)
	return &Refusal{Kind: TooManyAttempts, Retry: wait + rand.N(max(time.Second, wait/10))}
}

// Report tells the client that a message was refused. The event may overtake
// broadcasts. If the session has made too many errors, the refusal is only
// counted.
func (s *Session) Report(r *Refusal) {
	if s.isUnanswered() {
		s.shard.hub.Refused(r.Kind.Code(), s.address())
		s.refuseEvents(r)
		return
	}
	if a := s.answering(); a != nil {
		a.refuse(r)
	}
	if !s.tellsError() {
		return
	}
	s.shard.hub.Refused(r.Kind.Code(), s.address())
	s.sendUrgent(Refused{r})
}

// Refuse reports a Refusal, and closes the connection if the Refusal says so.
func (s *Session) Refuse(r *Refusal) {
	s.Report(r)
	if r.End != ReasonLost {
		s.end(r.End)
	}
}

// A RefusalReport is what was refused for one cause since the previous report.
type RefusalReport = refusals.Report

// Refused counts a refusal. Causes must be a fixed set of words because they
// are labels of a metric. An invalid address is not recorded.
func (h *Hub) Refused(cause string, from netip.Addr) { h.refusals.Add(cause, from) }

// Causes returns the causes of refusals that are not errors of a message, so
// that each can have a counter from the start.
func Causes() []string {
	return []string{
		"handshakes_full", "handshake_timeout", "memory", "origin", "connections_per_address", "rooms_per_address",
		"http_full", "http_address", "http_busy", "descriptors", "misdirected", "wrong_api_key", "too_many_keys", "proxy_header",
		"tls_plain", "tls_not", "tls_hello", "tls_displaced", "tls_memory", "tls_handshake",
	}
}

// Refusals returns the number of refusals since the hub was created, by cause:
// all of Causes and RefusalCodes, and any others that occurred.
func (h *Hub) Refusals() map[string]uint64 {
	return h.refusals.Totals(append(Causes(), RefusalCodes()...)...)
}

// TakeRefusals returns what was refused since it was last called: a report for
// each cause, in the order of the causes' names.
func (h *Hub) TakeRefusals() []RefusalReport { return h.refusals.Take() }
