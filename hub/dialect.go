package hub

import (
	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
)

// A Dialect is the language of one kind of client: it turns messages into calls of
// a [Session], and events into frames. It keeps no state of its own for a session. It is
// chosen by the URL path of the request, see [Hub.Serve].
type Dialect interface {
	// Message takes a whole text or binary message of an open session. It is called
	// by the session's worker. The payload is valid during the call only.
	Message(s *Session, m frame.Message)
	// Limit returns how many bytes the session's next message may have. It is called
	// by the session's worker.
	Limit(s *Session) int
	// AppendEvent appends the frame in which a client is told of an event, or nothing
	// if clients of this kind are not told. It may be called from anywhere.
	AppendEvent(b []byte, e Event) []byte
	// Encodings returns the ways in which a room's stream is written for viewers of
	// this kind, none if they have no rooms. In the first of them a broadcast goes out as its
	// host said it: that one is the record of rooms that such hosts open.
	Encodings() []Encoding
}

// An Encoding is a way in which a room's stream is written for one kind of viewer.
// A room writes each broadcast once in each encoding that somebody in it wants,
// however many they are. Its functions may be called from anywhere.
type Encoding struct {
	// Broadcast appends the frame of a broadcast, or of the host's history up to it.
	Broadcast func(b []byte, m Broadcast) []byte
	// Longer is how many bytes more than the broadcast a frame has at most.
	Longer int
	// History returns the frame of a history that the record tells, from one place
	// in it to another, and HistorySize how many bytes that has at most.
	History     func(from, end broadcast.Cursor) []byte
	HistorySize func(from, end broadcast.Cursor) int
	// CountsViewers has those who want it told how many viewers there are.
	CountsViewers bool
}

// A Broadcast is what a host says to all viewers.
type Broadcast struct {
	Seq     uint64 // its number
	Op      ws.OpCode
	Payload []byte
}

// An encoding is the place of an Encoding among those of all dialects.
type encoding uint8

// A registered is an Encoding that the hub knows.
type registered struct {
	Encoding
	dialect uint8 // place in Hub.dialects
}

// Serve has a dialect spoken at URL paths. It must be called before anything is
// served. The first that has encodings is the one of rooms that no client opens: those
// made by [Hub.CreateRoom] and [Hub.Restore].
func (h *Hub) Serve(d Dialect, paths ...string) {
	place := uint8(len(h.dialects))
	for _, path := range paths {
		h.paths[path] = place
	}
	h.dialects = append(h.dialects, served{d, encoding(len(h.encodings))})
	for _, e := range d.Encodings() {
		h.encodings = append(h.encodings, registered{e, place})
	}
}

// A served is a dialect that the hub speaks.
type served struct {
	Dialect
	first encoding // the place of its first encoding
}

// appendEvent appends an event as viewers with an encoding are told.
func (h *Hub) appendEvent(b []byte, of encoding, e Event) []byte {
	return h.dialects[h.encodings[of].dialect].AppendEvent(b, e)
}

// broadcastIn returns the broadcast that a frame of the record is.
func broadcastIn(whole []byte, seq uint64) Broadcast {
	return Broadcast{Seq: seq, Op: frame.Op(whole), Payload: frame.Payload(whole)}
}
