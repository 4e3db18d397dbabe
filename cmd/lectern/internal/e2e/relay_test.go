package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// dial opens a WebSocket with a client library that the product does not use.
func dial(t testing.TB, url string) *websocket.Conn { return dialWith(t, url, nil) }

func dialWith(t testing.TB, url string, options *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, options)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(32 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func say(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hear returns the next message, without those of presence, which come at any time.
func hear(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		heardAsDescribed(t, string(p))
		if !strings.HasPrefix(string(p), `{"type":"presence"`) {
			return string(p)
		}
	}
}

// hearClose reads until the close frame and returns its code.
func hearClose(t testing.TB, c *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func expect(t testing.TB, c *websocket.Conn, want string) {
	t.Helper()
	if got := hear(t, c); got != want {
		t.Fatalf("heard %s, want %s", got, want)
	}
}

// openRoom creates a room and returns its host and code.
func openRoom(t testing.TB, b *binary) (host *websocket.Conn, code string) {
	t.Helper()
	return openRoomAs(t, b, `{"type":"create"}`)
}

// openRoomAs is openRoom with another create.
func openRoomAs(t testing.TB, b *binary, create string) (host *websocket.Conn, code string) {
	t.Helper()
	host = dial(t, b.url("/"))
	say(t, host, create)
	var created struct{ Type, Code string }
	if err := json.Unmarshal([]byte(hear(t, host)), &created); err != nil || created.Type != "created" {
		t.Fatalf("create was answered with %+v, %v", created, err)
	}
	return host, created.Code
}

// joinRoom returns a viewer of the room.
func joinRoom(t testing.TB, b *binary, code string) *websocket.Conn {
	t.Helper()
	viewer := dial(t, b.url("/"))
	say(t, viewer, `{"type":"join","code":"`+code+`"}`)
	if got := hear(t, viewer); !strings.HasPrefix(got, `{"type":"joined","code":"`+code+`",`) {
		t.Fatalf("join was answered %s", got)
	}
	return viewer
}

func TestShutdownSaysGoodbyeAndExitsZero(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	host, code := openRoom(t, b)
	viewer := joinRoom(t, b, code)
	say(t, host, `{"type":"command","data":"last words"}`)
	expect(t, viewer, `{"type":"command","data":"last words"}`)

	b.signal(syscall.SIGTERM)
	for name, c := range map[string]*websocket.Conn{"host": host, "viewer": viewer} {
		if text := hear(t, c); !strings.HasPrefix(text, `{"type":"closed","reason":"shutdown","retry_ms":`) {
			t.Errorf("the %s heard %s", name, text)
		}
		if code := hearClose(t, c); code != websocket.StatusGoingAway {
			t.Errorf("the %s was closed with %d, want 1001", name, code)
		}
	}
	if code := b.wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--drain-timeout", "300ms")
	openRoom(t, b) // a host that never reads the goodbye
	b.signal(syscall.SIGINT)
	if code := b.wait(5 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestShutdownCutsHTTPOffInTime: requests that do not end neither hold up the relay nor
// change its exit code.
func TestShutdownCutsHTTPOffInTime(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"relay, body that does not come":   "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"admin, half a head":               "GET /met",
		"admin, connection without a word": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBinary(t, "--drain-timeout", "500ms")
			addr := b.addr
			if strings.HasPrefix(name, "admin") {
				addr = b.admin
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // for it to get there
			b.signal(syscall.SIGTERM)
			if code := b.wait(5 * time.Second); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	cases := map[string]struct {
		method, url string
		status      int
		header      string // must be there
		body        string
	}{
		"live":          {"GET", b.addr + "/health/live", 200, "", `{"code":200,"data":{"status":"live"}}`},
		"ready":         {"GET", b.addr + "/health/ready", 200, "", `{"code":200,"data":{"status":"ready"}}`},
		"post":          {"POST", b.addr + "/health/live", 405, "Allow", `"code":405`},
		"websocket":     {"GET", b.addr + "/", 426, "Upgrade", `"code":426`},
		"other path":    {"GET", b.addr + "/v1/websocket", 426, "Upgrade", `"code":426`},
		"nowhere":       {"GET", b.addr + "/nowhere", 404, "", `{"code":404,"message":"there is nothing at /nowhere"}`},
		"no metrics":    {"GET", b.addr + "/metrics", 404, "", `"code":404`},
		"admin live":    {"GET", b.admin + "/health/live", 200, "", `"live"`},
		"admin metrics": {"GET", b.admin + "/metrics", 200, "", `lectern_connections{phase="open"} 0`},
		"admin nowhere": {"GET", b.admin + "/", 404, "", `"code":404`},
		"no pprof":      {"GET", b.admin + "/debug/pprof/", 404, "", `"code":404`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest(c.method, "http://"+c.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var body strings.Builder
			if _, err := io.Copy(&body, response.Body); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != c.status || !strings.Contains(body.String(), c.body) {
				t.Errorf("%d %s, want %d with %s", response.StatusCode, body.String(), c.status, c.body)
			}
			if c.header != "" && response.Header.Get(c.header) == "" {
				t.Errorf("no header %s", c.header)
			}
			if response.Close != (response.StatusCode == http.StatusUpgradeRequired) && strings.HasPrefix(c.url, b.addr) {
				t.Errorf("the connection ends: %t", response.Close)
			}
		})
	}
}
