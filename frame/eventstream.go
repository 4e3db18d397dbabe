package frame

import (
	"bytes"
	"slices"
)

// This file has the event stream format: WHATWG HTML, "Server-sent events", 9.2.5
// and 9.2.6.

// EventOverhead is how many bytes [AppendEvent] adds to an id, a type and data, at
// most.
const EventOverhead = len("id: \nevent: \ndata: \n\n")

// AppendEvent appends an event to an event stream. An empty id leaves out the
// field, so that the client keeps the last one. id and event must not have line
// breaks. Line breaks in data become spaces, so that the event takes as many bytes
// as its parts: in JSON they are only between tokens.
func AppendEvent(dst []byte, id, event string, data []byte) []byte {
	dst = slices.Grow(dst, EventOverhead+len(id)+len(event)+len(data))
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	dst = append(append(append(dst, "event: "...), event...), "\ndata: "...)
	from := len(dst)
	dst = append(dst, data...)
	joinLines(dst[from:])
	return append(dst, "\n\n"...)
}

// joinLines replaces line breaks by spaces.
func joinLines(text []byte) {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return // the common case: looking for one byte is many times faster than the loop
	}
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text[i] = ' '
		}
	}
}

// EventData returns the data of an event that [AppendEvent] made.
func EventData(event []byte) []byte {
	_, data, _ := bytes.Cut(event, []byte("\ndata: "))
	return bytes.TrimSuffix(data, []byte("\n\n"))
}

// Field returns the value of a field of a request's head, and how many such fields
// there are. Names know no case (RFC 9110 5.1). The head's lines must have been
// checked by a [Handshake]. The value is the first one, and aliases the head.
func Field(head []byte, name string) (value []byte, count int) {
	for line := range bytes.Lines(head) {
		line = trimLineEnd(line)
		if len(line) == 0 {
			break
		}
		if n, v, ok := bytes.Cut(line, []byte{':'}); ok && bytes.EqualFold(n, []byte(name)) {
			if count++; count == 1 {
				value = bytes.Trim(v, " \t")
			}
		}
	}
	return value, count
}
