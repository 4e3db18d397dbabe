// Package broadcast holds a broadcast encoded once, for any number of readers.
//
// A [Log] is an append-only run of ready-to-send frames. A reader is a
// [Cursor], a place in the Log; to deliver is to send the bytes between the
// cursor and the Log's end straight from its memory. The package does not know
// what the frames mean, who reads them or how they are sent.
//
// # Concurrency
//
// There is one appender at a time, under its caller's lock, and any number of
// readers without one. Bytes below a segment's published mark never change. A
// reader looks at next before the mark: once next is set the mark is final.
//
// # Memory
//
// The garbage collector is the ring buffer. Nothing points backwards: [Log.Trim]
// only moves the oldest segment forward, and a segment lives as long as the Log
// or a cursor needs it. Cursors in trimmed segments stay valid. A cursor that is
// no longer used must be zeroed, or it holds everything that followed it.
package broadcast
