// Package store keeps a hub's rooms in a directory, so that they survive a
// restart of the relay. It knows nothing of sessions or the protocol.
//
// # The directory
//
//	DIR/lock                  held by the relay that uses the directory, with its pid
//	DIR/relay                 the key of viewers' tokens, and whether the last stop was clean
//	DIR/rooms/A1B2C3-00000001 a room's record: its state and its broadcasts
//
// A room's record is a sequence of files. The store appends to the last one,
// and deletes the oldest when the room no longer holds what is in it. record.go
// describes their format.
//
// # The writer
//
// The writer is one more reader of each room's Log, with a cursor. A change
// only marks its room. In each interval the writer takes the state of each
// marked room under the room's lock, and then writes what lies between its
// cursor and the Log's end. Nothing is queued, and no client waits for the
// disk.
//
// # A start
//
// A start lists the rooms and writes one file, DIR/relay, before any client is
// served. The rooms themselves are read while the relay serves, first those
// that clients ask for, and nothing is written of a room until it changes. The
// ids to skip after unclean starts, and the names of the epochs, follow from
// the count in DIR/relay and the one that the room was saved with.
//
// If the count cannot be written or is unknown, the number of ids to skip and
// the name of the epoch are random; the number is so large that no other start
// reaches it. A disk that is full or fails does not keep the relay from
// starting. The writer tries again, and so it does with a room that cannot be
// read.
//
// # What may be lost
//
// If the process is killed, the last interval is lost. If the machine loses
// power, what the kernel had not written back is lost, usually up to 30 s: the
// writer does not sync. A clean stop syncs the store's own files, within the
// time that it has.
//
// A relay cannot know what was lost and seen by viewers. So an unclean start,
// or damage in a room's record, begins a new epoch in that room.
package store
