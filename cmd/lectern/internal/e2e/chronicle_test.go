package e2e

import (
	"bytes"
	"fmt"
	"io"
	"sort"
	"strings"
)

// A chronicle is what a history must contain, for every number at which it may end.
type chronicle struct {
	commands, messages []byte // each with a comma before it
	ends               []chronicleEnd
}

// A chronicleEnd is where the commands and messages end after so many messages.
type chronicleEnd struct{ commands, messages int }

// newChronicle returns the chronicle of the first messages of a script.
func newChronicle(says script, messages int) *chronicle {
	c := &chronicle{ends: []chronicleEnd{{}}}
	for n := range uint64(messages) {
		text := says.message(n + 1)
		_, data, _ := strings.Cut(text, `"data":`)
		c.commands = append(append(c.commands, ','), data[:len(data)-1]...)
		c.messages = append(append(c.messages, ','), text...)
		c.ends = append(c.ends, chronicleEnd{len(c.commands), len(c.messages)})
	}
	return c
}

// upTo returns the history up to a number, in parts.
func (c *chronicle) upTo(n int) [][]byte {
	first := min(1, n) // no comma before it
	return [][]byte{
		[]byte(`{"type":"history","commands":[`), c.commands[first:max(first, c.ends[n].commands)],
		[]byte(`],"messages":[`), c.messages[first:max(first, c.ends[n].messages)],
		fmt.Appendf(nil, `],"seq":%d}`, n),
	}
}

func (c *chronicle) size(n int) (bytes int) {
	for _, part := range c.upTo(n) {
		bytes += len(part)
	}
	return bytes
}

// check reads a history of so many bytes, and returns the number of its last
// message.
func (c *chronicle) check(r io.Reader, length int) (n int, err error) {
	n = sort.Search(len(c.ends), func(n int) bool { return c.size(n) >= length })
	if n == len(c.ends) || c.size(n) != length {
		return 0, fmt.Errorf("a history of %d bytes, which no history has", length)
	}
	got := make([]byte, 32<<10)
	for i, part := range c.upTo(n) {
		for at := 0; at < len(part); {
			some := got[:min(len(got), len(part)-at)]
			if _, err := io.ReadFull(r, some); err != nil {
				return 0, err
			}
			if !bytes.Equal(some, part[at:at+len(some)]) {
				return 0, fmt.Errorf("part %d of the history up to number %d differs after %d bytes", i, n, at)
			}
			at += len(some)
		}
	}
	return n, nil
}
