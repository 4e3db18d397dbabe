// Package bench is the load test behind `lectern bench`: it opens rooms and
// viewers on a WebSocket relay, publishes at a fixed rate and tells how late
// each delivery was, what was missing and what it cost the server.
//
// It knows the wire and nothing else of the relay: what it sends to open, to
// join and to publish are templates, so it measures any server that relays one
// connection's messages to many. It does not measure echo, requests or HTTP.
//
// # Truth
//
// The load is an open loop: message k is due at start + k/rate whatever the
// server does, and its latency counts from that moment. A server that stops
// for a second so shows a second in the tail. Every message carries a
// [stamp.Stamp] with its number, the time it was due and a checksum; every viewer's
// stream is checked for missing, repeated, reordered and damaged messages.
//
// Where it matters that viewers find their place again, after a lost connection
// or a history, they also keep to the numbers of the classroom protocol: what
// joined tells, what comes with each message, and what a history says that it
// covers must all agree with the stamps. What a server says that it has lost is
// no gap.
//
// # How it stays out of the way
//
// Viewers live on the reactor of package netpoll, one recv for each readable
// event. What a viewer should see next is kept once for its room, as the very
// bytes of the frame, so that checking a delivery is one comparison of memory;
// only what differs is parsed. Each worker counts into a [lane] of its own.
package bench
