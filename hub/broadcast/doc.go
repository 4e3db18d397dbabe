// Package broadcast holds a broadcast encoded once, for any number of readers.
//
// A [Log] is an append-only sequence of frames that are ready to send. A reader
// is a [Cursor], a place in the Log. To deliver, it sends the bytes between the
// cursor and the Log's end straight from the Log's memory. The package does not
// know what the frames mean, who reads them or how they are sent.
//
// # Concurrency
//
// There is one appender at a time, under its caller's lock, and any number of
// readers, which need no lock. Bytes below a segment's published mark never
// change. A reader loads next before the mark: once next is set, the mark is
// final.
//
// # Memory
//
// The garbage collector takes the place of a ring buffer. No segment points
// backwards: [Log.Trim] only moves the oldest segment forward, and a segment
// lives as long as the Log or a cursor needs it. Cursors in trimmed segments
// stay valid. Zero a cursor that is no longer used, or it holds everything that
// followed it in memory.
package broadcast
