package hub

import (
	"github.com/gobwas/ws"

	"lectern/frame"
)

// A Reason is why a connection ended. Metrics count connections by reason.
type Reason uint8

// The reasons, with the close code that the relay sends.
const (
	ReasonLost            Reason = iota // the connection was lost without a close frame
	ReasonClient                        // the peer sent a close frame
	ReasonHandshake                     // the request was refused
	ReasonHandshakeSlow                 // the request head was not complete in time
	ReasonPlain                         // not a WebSocket upgrade; handed to the HTTP server
	ReasonProtocol                      // 1002, 1007 or 1009: the peer violated RFC 6455 or a size limit
	ReasonServerFull                    // 1013
	ReasonShutdown                      // 1001
	ReasonHostClosed                    // 4000
	ReasonHostGone                      // 4000
	ReasonDeleted                       // 4000
	ReasonRoomIdle                      // 4000
	ReasonKicked                        // 4002
	ReasonReplaced                      // 4003
	ReasonTooSlow                       // 4100
	ReasonIdle                          // 4102
	ReasonTooManyErrors                 // 4429
	ReasonMessageSlow                   // 4408
	ReasonMemory                        // 1013
	ReasonTooManyAttempts               // 4429
	ReasonOrigin                        // 4403
	reasons                             // number of reasons
)

// endings holds the name of each reason on the wire and in the metrics, and the
// close code if the relay itself closes the connection.
var endings = [reasons]struct {
	name string
	code ws.StatusCode
}{
	ReasonLost:            {"lost", 0},
	ReasonClient:          {"client", 0},
	ReasonHandshake:       {"handshake_refused", 0},
	ReasonHandshakeSlow:   {"handshake_timeout", 0},
	ReasonPlain:           {"http", 0},
	ReasonProtocol:        {"protocol_error", 0},
	ReasonServerFull:      {"server_full", frame.CloseTryLater},
	ReasonShutdown:        {"shutdown", ws.StatusGoingAway},
	ReasonHostClosed:      {"host_closed", frame.CloseRoomClosed},
	ReasonHostGone:        {"host_gone", frame.CloseRoomClosed},
	ReasonDeleted:         {"deleted", frame.CloseRoomClosed},
	ReasonRoomIdle:        {"room_idle", frame.CloseRoomClosed},
	ReasonKicked:          {"kicked", frame.CloseKicked},
	ReasonReplaced:        {"replaced", frame.CloseReplaced},
	ReasonTooSlow:         {"too_slow", frame.CloseTooSlow},
	ReasonIdle:            {"idle", frame.CloseIdle},
	ReasonTooManyErrors:   {"too_many_errors", frame.CloseTooMany},
	ReasonMessageSlow:     {"message_timeout", frame.CloseMessageSlow},
	ReasonMemory:          {"memory", frame.CloseTryLater},
	ReasonTooManyAttempts: {"too_many_attempts", frame.CloseTooMany},
	ReasonOrigin:          {"origin_not_allowed", frame.CloseOrigin},
}

// String returns the reason's name on the wire and in the metrics.
func (r Reason) String() string { return endings[r].name }

// Final reports whether a client should not come back by itself: its room is closed, or
// it was sent away.
func (r Reason) Final() bool {
	switch r {
	case ReasonHostClosed, ReasonHostGone, ReasonDeleted, ReasonRoomIdle, ReasonKicked, ReasonReplaced:
		return true
	}
	return false
}

// Reasons returns all reasons, so that each can have a counter from the start.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
