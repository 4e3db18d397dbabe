package e2e

import (
	"net/http"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"

	"github.com/coder/websocket"
)

// dialFrom opens a WebSocket as a page of the origin would.
func dialFrom(t *testing.T, b *binary, origin string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), b.url("/"), &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
	if err != nil {
		t.Fatalf("a page of %s: %v", origin, err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// TestAPageOfAnotherOriginLearnsWhy over a real socket, and over HTTP.
func TestAPageOfAnotherOriginLearnsWhy(t *testing.T) {
	t.Parallel()
	const strange = "https://school.example"
	b := startBinary(t)
	c := dialFrom(t, b, strange)
	if got := hear(t, c); !strings.Contains(got, `"error":"origin_not_allowed"`) || !strings.Contains(got, "--allow-origin "+strange) {
		t.Errorf("heard %s", got)
	}
	expect(t, c, `{"type":"closed","reason":"origin_not_allowed"}`)
	if code := hearClose(t, c); code != 4403 {
		t.Errorf("closed with %d", code)
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+b.addr+"/health/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", strange)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	apitest.Read(t, response).Want(t, 403, "--allow-origin")

	c = dialFrom(t, b, "http://localhost:3000") // on the same machine
	say(t, c, `{"type":"ping"}`)
	expect(t, c, `{"type":"pong"}`)

	c = dialFrom(t, startBinary(t, "--dev"), strange)
	say(t, c, `{"type":"ping"}`)
	expect(t, c, `{"type":"pong"}`)
}
