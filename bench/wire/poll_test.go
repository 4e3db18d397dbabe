package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestParsePoll(t *testing.T) {
	const right = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx:1\n\n"
	for cut := range right {
		if _, used, err := (Poll{}).Parse([]byte(right[:cut])); used != 0 || err != nil {
			t.Fatalf("cut at %d: %d, %v", cut, used, err)
		}
	}
	f, used, err := Poll{}.Parse([]byte(right + "HTTP/1.1 "))
	if err != nil || used != len(right) || string(f.Payload) != "x:1\n\n" || !f.Events {
		t.Errorf("%+v, %d, %v", f, used, err)
	}
	for _, length := range []string{"4", "-1", "99999999999"} {
		if _, _, err := (Poll{}).Parse([]byte(strings.Replace(right, "5", length, 1))); !errors.Is(err, ErrGarbage) {
			t.Errorf("length %s: %v", length, err)
		}
	}
	if _, _, err := (Poll{}).Parse([]byte(strings.Replace(right, "200", "404", 1))); !errors.Is(err, ws.StatusError(404)) {
		t.Errorf("404: %v", err)
	}
}
