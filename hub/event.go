package hub

import "time"

// An Event is something that a client is told. A dialect turns it into a frame, or
// into none if its clients are not told of it.
type Event interface{ event() }

// Created tells a host about its new room, and what it needs to come back.
type Created struct{ Code, Token, Epoch string }

// Resumed tells a host that it has its place again.
type Resumed struct {
	Code, Token, Epoch string
	Seq                uint64 // number of the last broadcast
	Sent               uint64 // broadcasts that the relay has taken from hosts
}

// Joined tells a viewer that it is in a room.
type Joined struct {
	Room    *Room
	ID      uint32
	Seq     uint64 // of the last broadcast before those that follow
	Viewers int
	Host    bool // the host is there

	Back      bool   // it was there before
	Recovered bool   // it gets all that it has missed
	Parted    bool   // it saw broadcasts of an older epoch that the room does not have
	Common    uint64 // if so, the last broadcast that both have
}

// BecameHost tells a viewer that it is the host now.
type BecameHost struct{ Code, Token, Epoch string }

// HostChanged tells viewers that the viewer with the ID has become the host.
type HostChanged struct{ ID uint32 }

// HostLeft tells viewers that the host is gone, and for how long the room waits for it.
type HostLeft struct{ Grace time.Duration }

// HostBack tells viewers that the host is there again.
type HostBack struct{}

// Closed tells why the relay ends a room or a connection.
type Closed struct {
	Why   Reason
	Retry time.Duration // of ReasonShutdown: when to come back
}

// Left tells a session that it is in no room any more.
type Left struct{}

// Kicked tells a host that the viewer with the ID was sent away.
type Kicked struct{ ID uint32 }

// Skipped tells a viewer that was too slow how many broadcasts it did not get, and
// the number of the last of them.
type Skipped struct{ Messages, Seq uint64 }

// ViewerCount tells viewers how many they are.
type ViewerCount struct{ Viewers int }

// Presence tells a host who came and went since it was last told.
type Presence struct {
	Joined    []Person
	Left      []uint32
	Viewers   int  // in the room now
	Truncated bool // more came or went than those
}

// A Person is a viewer as it is told to others.
type Person struct {
	ID   uint32
	Name string // empty for none
}

// List is a page of a room's viewers, in the order in which they joined.
type List struct {
	Viewers []Person
	Total   int // in the room
}

// HistoryRequest asks a host for the history.
type HistoryRequest struct{}

// Direct is a message from the host to a viewer, or from a viewer to the host.
type Direct struct {
	From uint32 // the viewer; 0 for the host
	Data []byte // as the sender's dialect understands it
}

// Refused tells a client that a message was not accepted.
type Refused struct{ *Refusal }

func (Created) event()        {}
func (Resumed) event()        {}
func (Joined) event()         {}
func (BecameHost) event()     {}
func (HostChanged) event()    {}
func (HostLeft) event()       {}
func (HostBack) event()       {}
func (Closed) event()         {}
func (Left) event()           {}
func (Kicked) event()         {}
func (Skipped) event()        {}
func (ViewerCount) event()    {}
func (Presence) event()       {}
func (List) event()           {}
func (HistoryRequest) event() {}
func (Direct) event()         {}
func (Refused) event()        {}
