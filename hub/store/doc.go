// Package store keeps a hub's rooms in a directory, so that they survive a
// restart of the relay. It knows nothing of sessions or the protocol.
//
// # The directory
//
//	DIR/lock                  held by the relay that uses the directory, with its pid
//	DIR/relay                 the key of viewers' tokens, and whether the last stop was clean
//	DIR/rooms/A1B2C3-00000001 a room's record: its state and its broadcasts
//
// A room's record is a run of files that are appended to, and deleted from the
// oldest on when the room no longer holds what is in them. record.go has their
// format.
//
// # The writer
//
// The writer is one more reader of each room's Log, with a cursor. A change to a
// room only marks it; each interval the writer looks at those that are marked,
// takes their state under the room's lock and writes what lies between its cursor
// and the Log's end. Nothing is queued, and nobody waits for the disk.
//
// # A start
//
// A start reads which rooms there are and writes one file, DIR/relay, before
// anybody is told anything. The rooms themselves are read while the relay serves,
// those first that somebody asks for, and nothing is written of a room until it
// changes: how many ids to leave out after unclean starts follows from a count in
// DIR/relay and the one that the room was saved with, and so do the names of epochs. Where
// the count cannot be written, or is not known, the number of ids that are left out
// is random, and so large that no other start comes to it; so is the epoch's name. A disk that is full or
// fails keeps no relay from starting: the writer tries again, and so it does with a
// room that cannot be read.
//
// # What may be lost
//
// When the process is killed: what was said in the last interval. When the
// machine loses power: what the kernel had not written back, usually up to 30 s;
// the writer does not wait for the disk, but a clean stop does, for its own files
// and as long as it may. A relay cannot know
// what it lost and viewers saw, so an unclean start begins a new epoch in every
// room, and so does any damage in a room's record.
package store
