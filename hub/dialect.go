package hub

import (
	"lectern/frame"
	"lectern/hub/broadcast"
)

// A Dialect is the language of one kind of client. It turns messages into calls
// of a [Session], and events into frames. It keeps no state for a session. The
// URL path of the request selects it, see [Hub.Serve].
type Dialect interface {
	// Message handles a complete text or binary message of an open session. The
	// session's worker calls it. The payload is valid only during the call,
	// unless m.Owned is set, as it is for MinOffload bytes or more. It is never
	// compressed: the hub has inflated it.
	Message(s *Session, m frame.Message)
	// Limit returns the largest size in bytes of the session's next message.
	// The session's worker calls it.
	Limit(s *Session) int
	// AppendEvent appends the frame that tells a client of an event. It appends
	// nothing if clients of this dialect are not told. It may be called from
	// any goroutine.
	AppendEvent(b []byte, e Event) []byte
	// Encodings returns the encodings in which viewers of this dialect may read
	// a room's stream, none if the dialect has no rooms. The first must keep a
	// host's broadcasts as they were sent: it becomes the record of rooms that
	// hosts of this dialect create.
	Encodings() []Encoding
}

// An Encoding is a format of a room's stream. A room writes each broadcast once
// in each encoding that some viewer reads, however many viewers there are. The
// functions may be called from any goroutine.
type Encoding struct {
	// Broadcast appends the frame of a broadcast, or of a host's history that
	// covers the broadcasts up to m.Seq.
	Broadcast func(b []byte, m Broadcast) []byte
	// Longer is how many bytes a frame may be longer than its broadcast's
	// payload, or than m.Prepared if there is one.
	Longer int
	// Prepare does the part of the work on a payload that takes long, without the
	// number of the broadcast and without the room's lock. It is done once for all
	// encodings of a dialect, which must have the same Prepare or none. Broadcast
	// finds the result in m.Prepared. Broadcast must also do without it, because
	// Prepare may return nil, and because nobody may have wanted the encoding
	// when the broadcast was prepared. Default: nothing is prepared.
	Prepare func(payload []byte, d *frame.Deflater) []byte

	// HistoryOf is the encoding, an index of Dialect.Encodings, that makes this
	// encoding's histories. Its frames are made once for all encodings that name
	// it. The default is the dialect's first encoding.
	HistoryOf int
	// History returns the frame of a history that is made from the record
	// between two places. HistorySize returns an upper bound of its size in
	// bytes. Only encodings that others name in HistoryOf need them.
	History     func(epoch string, from, end broadcast.Cursor) []byte
	HistorySize func(from, end broadcast.Cursor) int
	// Pack returns a shorter frame in place of a History's, or the same one.
	// Clients must be able to read both. It is done once for all encodings with
	// the same HistoryOf, which must have the same Pack or none.
	Pack func(history []byte, d *frame.Deflater) []byte
	// Notice returns the frame of an event that a Log of the dialect's record has.
	// It is nil if the frames are the same.
	Notice func(recorded []byte) []byte
	// CountsViewers has the relay send ViewerCount events to viewers that read
	// this encoding.
	CountsViewers bool
}

// A Broadcast is a host's message to all viewers.
type Broadcast struct {
	Epoch    string
	Seq      uint64 // number of the broadcast in its epoch
	Payload  []byte
	Prepared []byte // result of Encoding.Prepare, nil if there is none
}

// An encoding is the index of an Encoding in Hub.encodings.
type encoding uint8

// A registered is an Encoding with its dialect.
type registered struct {
	Encoding
	dialect uint8 // index in Hub.dialects
}

// Serve registers a dialect for URL paths. It must be called before anything is
// served. The first dialect that has encodings becomes the dialect of rooms
// made by [Hub.CreateRoom] and [Hub.Restore].
func (h *Hub) Serve(d Dialect, paths ...string) {
	place := uint8(len(h.dialects))
	for _, path := range paths {
		h.paths[path] = place
	}
	first := encoding(len(h.encodings))
	h.dialects = append(h.dialects, served{Dialect: d, first: first, record: first})
	for _, e := range d.Encodings() {
		h.encodings = append(h.encodings, registered{e, place})
	}
}

// A served is a dialect that the hub serves.
type served struct {
	Dialect
	first  encoding    // index of the dialect's first encoding
	record encoding    // encoding of the record of rooms that its hosts create
	events EventStream // the dialect, if it is one of event streams
}

// related reports whether clients that read an encoding are told the same messages
// as those that read a record.
func (h *Hub) related(e, record encoding) bool {
	of := h.encodings[e].dialect
	return h.encodings[h.dialects[of].record].dialect == h.encodings[record].dialect
}

// translates reports whether an encoding has the messages of a record in another dialect.
func (h *Hub) translates(e, record encoding) bool {
	return h.encodings[e].dialect != h.encodings[record].dialect && h.related(e, record)
}

// noticesIn returns how to turn the events of a record into those of an encoding, nil
// if that cannot be done.
func (h *Hub) noticesIn(e, record encoding) func([]byte) []byte {
	switch notice := h.encodings[e].Notice; {
	case !h.related(e, record):
		return nil
	case notice != nil:
		return notice
	}
	return func(recorded []byte) []byte { return recorded }
}

// appendEvent appends an event in the dialect of an encoding.
func (h *Hub) appendEvent(b []byte, of encoding, e Event) []byte {
	return h.dialects[h.encodings[of].dialect].AppendEvent(b, e)
}

// broadcastIn returns the broadcast in a frame of the record, or the host's history
// in a frame of its encoding.
func (r *Room) broadcastIn(whole []byte, seq uint64) Broadcast {
	return Broadcast{Epoch: r.epoch, Seq: seq, Payload: frame.Payload(whole)}
}

// historyOf returns the encoding that makes the histories of another one.
func (h *Hub) historyOf(e encoding) encoding {
	of := &h.encodings[e]
	return h.dialects[of.dialect].first + encoding(of.HistoryOf)
}
