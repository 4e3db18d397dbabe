package hub

import "time"

// An Event is something that a client may be told. A dialect turns it into a
// frame, or into nothing.
type Event interface{ event() }

// Created tells a host about its new room, and gives it the token that resumes
// it.
type Created struct{ Code, Token, Epoch string }

// Resumed tells a host that it has its room back.
type Resumed struct {
	Code, Token, Epoch string
	Seq                uint64 // number of the last broadcast
	Sent               uint64 // broadcasts that the relay has accepted from hosts

}

// Joined tells a viewer that it is in a room.
type Joined struct {
	Room    *Room
	ID      uint32
	Seq     uint64 // of the last broadcast before those that follow
	Viewers int
	Host    bool // the host is connected

	Back      bool   // the viewer had joined before
	Recovered bool   // the viewer receives all that it has missed
	Parted    bool   // the viewer may have seen broadcasts of an older epoch that the room lost
	Common    uint64 // if Parted, the last broadcast that the viewer and the room have in common
}

// BecameHost tells a viewer that it is now the host.
type BecameHost struct{ Code, Token, Epoch string }

// HostChanged tells viewers that the viewer with the ID has become the host.
type HostChanged struct{ ID uint32 }

// HostLeft tells viewers that the host has left, and how long the room waits
// for it.
type HostLeft struct{ Grace time.Duration }

// HostBack tells viewers that the host has come back.
type HostBack struct{}

// Closed tells a client why the relay closes its room or its connection.
type Closed struct {
	Why   Reason
	Retry time.Duration // with ReasonShutdown: how long to wait before reconnecting
}

// Left tells a session that it has left its room.
type Left struct{}

// Kicked tells a host that the viewer with the ID was removed.
type Kicked struct{ ID uint32 }

// Skipped tells a viewer that was too slow how many broadcasts it did not
// receive, and the number of the last of them.
type Skipped struct {
	Messages uint64
	Epoch    string
	Seq      uint64
}

// ViewerCount tells viewers the number of viewers in the room.
type ViewerCount struct{ Viewers int }

// Presence tells a host which viewers have joined and left since the previous
// Presence. If a viewer joined and left in between, only the final state is
// listed.
type Presence struct {
	Joined    []Person
	Left      []uint32
	Viewers   int  // number of viewers in the room now
	Truncated bool // more joined or left than are listed
}

// A Person is what others are told of a viewer.
type Person struct {
	ID   uint32
	Name string // empty for none
}

// List is a page of a room's viewers, in the order in which they first joined.
type List struct {
	Viewers []Person
	Total   int // number of viewers in the room
}

// HistoryRequest asks a host for the history.
type HistoryRequest struct{}

// Direct is a message from the host to a viewer, or from a viewer to the host.
type Direct struct {
	From uint32 // the viewer; 0 for the host
	Data []byte // as the sender's dialect understands it
}

// Pong answers a client's question whether the relay is there, with the question's
// data.
type Pong struct{ Data []byte }

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
func (Pong) event()           {}
func (Refused) event()        {}
