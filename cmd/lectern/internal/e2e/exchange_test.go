package e2e

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestExchange goes through the exchange at the beginning of PROTOCOL.md, line by
// line. Only the code, tokens and epochs are others.
func TestExchange(t *testing.T) {
	t.Parallel()
	_, section, ok := strings.Cut(page(t, "PROTOCOL.md"), "\n```exchange\n")
	section, _, fenced := strings.Cut(section, "\n```")
	if !ok || !fenced {
		t.Fatal("PROTOCOL.md has no exchange")
	}
	line := regexp.MustCompile(`^(host|viewer) +(->|<-) (.+)$`)
	b := startBinary(t)
	peers := map[string]*websocket.Conn{"host": dial(t, b.url("/")), "viewer": dial(t, b.url("/"))}
	types := make(map[string]bool)
	const shown = "K7QM-2XHD"
	code := shown
	for row := range strings.SplitSeq(section, "\n") {
		if row == "" {
			continue
		}
		parts := line.FindStringSubmatch(row)
		if parts == nil {
			t.Fatalf("the exchange has a line %q", row)
		}
		c, text := peers[parts[1]], strings.ReplaceAll(parts[3], shown, code)
		for _, kind := range regexp.MustCompile(`^\{"type":"([a-z]+)"`).FindAllStringSubmatch(text, -1) {
			types[kind[1]] = true
		}
		switch end, closes := strings.CutPrefix(text, "close "); {
		case closes:
			want, reason, _ := strings.Cut(end, " ")
			got, why := hearEnd(t, c)
			if strconv.Itoa(int(got)) != want || why != reason {
				t.Errorf("the %s was closed with %d %s, the page says %s", parts[1], got, why, end)
			}
		case parts[2] == "->":
			if err := validate(t, fromClient, text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			say(t, c, text)
		default:
			got := hearAll(t, c)
			pattern := regexp.QuoteMeta(text)
			if code == shown {
				pattern = strings.ReplaceAll(pattern, shown, "([0-9A-Z]{4}-[0-9A-Z]{4})")
			}
			pattern = strings.ReplaceAll(pattern, `"\.\.\."`, `"[0-9a-f]+"`)
			found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
			if found == nil {
				t.Fatalf("the %s heard\n%s, the page says\n%s", parts[1], got, text)
			}
			if len(found) > 1 {
				code = found[1]
			}
		}
	}
	// Those of the table, and presence, which a simple client ignores.
	_, table, _ := strings.Cut(page(t, "PROTOCOL.md"), "\n```exchange\n")
	table, _, _ = strings.Cut(table, "\n# Reference")
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(rows) != 10 || len(types) != len(rows)+1 || !types["presence"] {
		t.Errorf("the exchange has the types %v, the table %d rows", types, len(rows))
	}
	for _, row := range rows {
		if !types[row[1]] {
			t.Errorf("%s is not in the exchange", row[1])
		}
	}
}

// hearAll returns the next message, whatever it is.
func hearAll(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	heardAsDescribed(t, string(text))
	return string(text)
}

// hearEnd reads to the close frame.
func hearEnd(t *testing.T, c *websocket.Conn) (code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err == nil {
		t.Fatalf("heard %s before the end", text)
	}
	var end websocket.CloseError
	if !errors.As(err, &end) {
		t.Fatal(err)
	}
	return end.Code, end.Reason
}
