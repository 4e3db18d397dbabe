package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestParseEvent(t *testing.T) {
	for name, c := range map[string]struct {
		event, payload string
		op             ws.OpCode
	}{
		"broadcast":       {"id: e-7\nevent: command\ndata: {\"type\":\"command\"}\n\n", `{"seq":7,"type":"command"}`, ws.OpText},
		"without a place": {"event: viewers\ndata: {}\n\n", `{}`, ws.OpText},
		"comment":         {":\n\n", "", ws.OpPong},
		"retry":           {"retry: 100\n\n", "", ws.OpPong},
		"end":             {"event: closed\ndata: {\"type\":\"closed\"}\n\n", `{"type":"closed"}`, ws.OpClose},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := range c.event {
				if _, used, err := (EventStream{}).Parse([]byte(c.event[:cut])); used != 0 || err != nil {
					t.Fatalf("cut at %d: %d, %v", cut, used, err)
				}
			}
			f, used, err := EventStream{}.Parse([]byte(c.event + "id: "))
			if err != nil || used != len(c.event) || f.Op != c.op || string(f.Payload) != c.payload || !f.Fin {
				t.Errorf("%+v, %d, %v", f, used, err)
			}
		})
	}
	if _, _, err := (EventStream{}).Parse([]byte("HTTP/1.1 200 OK\n\n")); !errors.Is(err, ErrGarbage) {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestEventStreamAnswer(t *testing.T) {
	const right = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	if used, _, err := (EventStream{}).Answer([]byte(right + "id")); used != len(right) || err != nil {
		t.Errorf("%d, %v", used, err)
	}
	if _, _, err := (EventStream{}).Answer([]byte(strings.Replace(right, "200", "404", 1))); !errors.Is(err, ws.StatusError(404)) {
		t.Errorf("404: %v", err)
	}
	if _, _, err := (EventStream{}).Answer([]byte(strings.Replace(right, "text/event-stream", "text/html", 1))); !errors.Is(err, ErrGarbage) {
		t.Errorf("a page: %v", err)
	}
}
