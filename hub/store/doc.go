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
// # What may be lost
//
// When the process is killed: what was said in the last interval. When the
// machine loses power: what the kernel had not written back, usually up to 30 s;
// the writer does not wait for the disk, but a clean stop does. A relay cannot know
// what it lost and viewers saw, so an unclean start begins a new epoch in every
// room, and so does any damage in a room's record.
package store
