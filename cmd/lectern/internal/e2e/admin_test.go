package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAdminHosts: a page that rebinds its name to the admin address (DNS rebinding)
// reads nothing.
func TestAdminHosts(t *testing.T) {
	t.Parallel()
	b := startBinary(t, "--pprof", "--admin-host", "Lectern.internal", "--admin-host", "other,third")
	_, port, err := net.SplitHostPort(b.admin)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for host, good := range map[string]bool{
		b.admin: true, "127.0.0.1": true, "10.1.2.3:80": true, "[::1]:" + port: true, "[::1]": true, "[fe80::1%25eth0]:1": true,
		"localhost": true, "LOCALHOST:" + port: true, "localhost.": true, "": true,
		"lectern.internal": true, "LECTERN.internal.:" + port: true, "other": true, "third:1": true,
		"evil.example": false, "evil.example:" + port: false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"127.0.0.1.nip.io": false, "lectern.internal.evil.example": false, "internal": false, "0x7f000001": false, "127.1": false,
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/health/live", "/nowhere"} {
			c, err := net.Dial("tcp", b.admin)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			response, body := responseOn(t, c)
			c.Close()
			if (response.StatusCode != http.StatusMisdirectedRequest) != good {
				t.Errorf("the Host %q at %s was answered %s", host, path, response.Status)
			}
			if !good {
				refused++
				if !strings.HasPrefix(body, `{"code":421,"message":"`) || strings.Contains(body, "lectern_") {
					t.Errorf("the Host %q was answered %s", host, body)
				}
			}
		}
	}
	if refused == 0 {
		t.Fatal("no Host was refused")
	}
}

// TestAdminConnectionsAreBounded, and silent ones are closed.
func TestAdminConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := startBinary(t)
	dialed := func() net.Conn {
		c, err := net.Dial("tcp", b.admin)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range maxAdmin {
		dialed()
	}
	response, body := responseOn(t, dialed())
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("one too many was answered %s %s", response.Status, body)
	}
	eventually(t, "silent connections are closed", func() bool {
		c, err := net.Dial("tcp", b.admin)
		if err != nil {
			return false
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n') // it may be reset, too
		return strings.HasPrefix(line, "HTTP/1.1 200 ")
	})
	if n := b.metric("lectern_http_connections"); n < 1 || n > maxAdmin {
		t.Errorf("%v HTTP connections are counted", n)
	}
}
