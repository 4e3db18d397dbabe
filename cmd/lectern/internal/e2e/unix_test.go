package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socketDir returns a folder whose path is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lectern-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// atSocket is a client of the relay at a Unix-domain socket.
func atSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
}

// dialAtSocket opens a WebSocket for a client behind the relay's proxy.
func dialAtSocket(t *testing.T, path, forwardedFor string) (*websocket.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	header := http.Header{}
	if forwardedFor != "" {
		header.Set("X-Forwarded-For", forwardedFor)
	}
	c, _, err := websocket.Dial(ctx, "ws://relay.example/", &websocket.DialOptions{HTTPClient: atSocket(path), HTTPHeader: header})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, err
}

// TestAtUnixSockets: both addresses of the relay are Unix-domain sockets. Clients' addresses
// are what the proxy says.
func TestAtUnixSockets(t *testing.T) {
	t.Parallel()
	path, admin := filepath.Join(socketDir(t), "relay.sock"), filepath.Join(socketDir(t), "admin.sock")
	b := startBinary(t, "--addr", "unix:"+path, "--admin-addr", "unix:"+admin, "--socket-mode", "0600",
		"--trusted-proxy", "unix", "--max-connections-per-address", "1")
	if b.addr != "unix:"+path || b.admin != "unix:"+admin {
		t.Errorf("the relay says that it listens at %s and %s", b.addr, b.admin)
	}
	for _, socket := range []string{path, admin} {
		if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		response, err := atSocket(socket).Get("http://localhost/health/live")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", socket, response.Status)
		}
	}
	enter := func(forwardedFor, want string) {
		t.Helper()
		c, err := dialAtSocket(t, path, forwardedFor)
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, `{"type":"create"}`)
		if got := hear(t, c); !strings.Contains(got, want) {
			t.Errorf("a client from %q heard %s, want %s", forwardedFor, got, want)
		}
	}
	enter("192.0.2.1", `"created"`)
	enter("192.0.2.2", `"created"`)
	enter("192.0.2.1", `"server_full"`)
	enter("192.0.2.1, 192.0.2.3", `"created"`)
	enter("", `"created"`) // has no address
	enter("", `"created"`)

	_, stderr, exit := lectern(t, nil, "serve", "--addr", "unix:"+path, "--admin-addr", "")
	if exit != 1 || !strings.Contains(stderr, path) {
		t.Errorf("a second relay at the socket: exit code %d and %s", exit, stderr)
	}
	if _, stderr, exit := lectern(t, nil, "check", "--addr", "unix:"+path, "--admin-addr", ""); exit != 0 || !strings.Contains(stderr, "runs at unix:"+path+" already") {
		t.Errorf("check: exit code %d and %s", exit, stderr)
	}
	b.signal(syscall.SIGTERM)
	if exit := b.wait(20 * time.Second); exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	for _, socket := range []string{path, admin} {
		if _, err := os.Lstat(socket); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", socket, err)
		}
	}
}

// TestASocketOfAKilledRelayIsReplaced, and a relay that does not trust its proxy says so.
func TestASocketOfAKilledRelayIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketDir(t), "relay.sock")
	for range 2 {
		b := startBinary(t, "--addr", "unix:"+path, "--admin-addr", "")
		if _, err := dialAtSocket(t, path, ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the relay warns that its clients have no addresses", func() bool {
			return strings.Contains(b.logged(), "set --trusted-proxy unix")
		})
		b.signal(syscall.SIGKILL)
		b.wait(20 * time.Second)
	}
}

// TestATCPClientIsNoUnixProxy: --trusted-proxy unix means nobody at a TCP address.
func TestATCPClientIsNoUnixProxy(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--trusted-proxy", "unix", "--max-connections-per-address", "1")
	openRoom(t, b)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, b.url("/"), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := hear(t, c); !strings.Contains(got, `"server_full"`) {
		t.Errorf("heard %s", got)
	}
}
