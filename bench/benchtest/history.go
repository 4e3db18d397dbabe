package benchtest

import (
	"bytes"
	"fmt"
)

// HistoryOf returns the history of messages, as the relay tells it, without the message of
// one number. 0 leaves none out.
func HistoryOf(said [][]byte, without int) []byte {
	var commands, messages [][]byte
	for i, m := range said {
		if i+1 == without {
			continue
		}
		_, data, _ := bytes.Cut(m, []byte(`"data":`))
		commands = append(commands, data[:len(data)-1])
		messages = append(messages, m)
	}
	comma := []byte(",")
	return fmt.Appendf(nil, `{"type":"history","commands":[%s],"messages":[%s],"seq":%d}`, bytes.Join(commands, comma), bytes.Join(messages, comma), len(said))
}
