package frame

import (
	"strings"
	"testing"
)

func TestAppendEvent(t *testing.T) {
	for name, c := range map[string]struct{ id, event, data, want string }{
		"whole":       {"e-7", "broadcast", `{"a":1}`, "id: e-7\nevent: broadcast\ndata: {\"a\":1}\n\n"},
		"without id":  {"", "viewers", `{}`, "event: viewers\ndata: {}\n\n"},
		"line breaks": {"", "x", "{\r\n\"a\":\n1}\r", "event: x\ndata: {  \"a\": 1} \n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := AppendEvent([]byte("before"), c.id, c.event, []byte(c.data))
			if string(got) != "before"+c.want {
				t.Errorf("got %q", got)
			}
			if added := len(got) - len("before"+c.id+c.event+c.data); added > EventOverhead {
				t.Errorf("%d bytes were added, EventOverhead is %d", added, EventOverhead)
			}
			if data := string(EventData(got)); strings.ContainsAny(data, "\r\n") || len(data) != len(c.data) {
				t.Errorf("EventData = %q", data)
			}
		})
	}
}

func TestField(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\nlast-event-ID:  e-1 \r\nX:1\r\nX: 2\r\n\r\nX: 3\r\n")
	for name, want := range map[string]struct {
		value string
		count int
	}{"Last-Event-ID": {"e-1", 1}, "x": {"1", 2}, "None": {"", 0}} {
		if value, count := Field(head, name); string(value) != want.value || count != want.count {
			t.Errorf("Field(%q) = %q, %d; want %q, %d", name, value, count, want.value, want.count)
		}
	}
}
