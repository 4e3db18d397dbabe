// Package engine carries out the load tests of `lectern bench`: it opens rooms
// and viewers on a WebSocket relay, publishes at a fixed rate and measures how late
// each delivery was, what was missing and what it cost the server. A [Scenario] says
// what is done in which order.
//
// It knows nothing of the relay but the wire. The messages that open, join and
// publish are templates, so it measures any server that relays one connection's
// messages to many. It does not measure echo, requests or HTTP.
//
// # Truth
//
// The load is an open loop: message k is due at start + k/rate whatever the
// server does, and its latency counts from that moment. So a server that stops
// for a second shows a second in the tail. Every message carries a [stamp.Stamp]
// with its number, the time it was due and a checksum. The engine checks every
// viewer's stream for missing, repeated, reordered and damaged messages.
//
// In a [Classroom], viewers must find their place in the stream again. There the
// numbers of the classroom protocol are checked, too: those in joined, in each
// message and in a history must agree with the stamps. A loss that the server
// announces is not a gap.
//
// # How it stays out of the way
//
// Viewers live on the reactor of package netpoll, one recv for each readable
// event. A room keeps the frames that its viewers should see next, so that
// checking a delivery is one comparison of memory. Only a frame that differs is
// parsed. Each worker counts into a [lane] of its own.
package engine
