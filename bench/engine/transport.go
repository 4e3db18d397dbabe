package engine

import (
	"net/url"

	"github.com/gobwas/ws"

	"lectern/bench/wire"
	"lectern/bench/workload"
)

// A transport is how messages travel on a viewer's connection. It keeps nothing of a
// connection: all viewers of a run share it.
//
// Most deliveries never come here: as long as a viewer gets the bytes in which another
// one got the same message, they are only compared.
type transport interface {
	// Request returns what a viewer sends once it is connected. {room} and {viewer}
	// in it are filled in. A transport that cannot say more later puts the place there.
	Request(wire.Place) string
	// Answer takes the answer to the request. used is how much of it is not to be
	// parsed, once it is complete.
	Answer(b []byte) (used int, complete bool, err error)
	// Parse takes the frame that b begins with. used is its length, 0 while it is
	// incomplete.
	Parse(b []byte) (f wire.Frame, used int, err error)
	// AppendClient adds the bytes in which a viewer says something, if it can.
	AppendClient(b []byte, op ws.OpCode, payload []byte) []byte
}

// newTransport returns what the options name, for the server of a URL.
func newTransport(o workload.Options, u *url.URL, socket wire.WebSocket) transport {
	switch {
	case o.Transport == workload.SSE:
		return wire.NewEventStream(u, o.Headers)
	case o.Transport == workload.Poll:
		return wire.NewPoll(u, o.Headers)
	case o.Compress:
		return socket.Offering()
	default:
		return socket
	}
}
