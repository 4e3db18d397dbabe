package certificates

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestRedirect looks at where plain HTTP leads: to the same path of the relay
// itself, and nowhere else.
func TestRedirect(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca", nil)
	certFile, keyFile := ca.writePair(t, t.TempDir(), time.Hour, "relay.test", "*.school.test")
	c, err := Open(t.Context(), Config{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]struct {
		httpsAddr, method, host, target string
		status                          int
		location                        string
	}{
		"root":               {":443", "GET", "relay.test", "/", 308, "https://relay.test/"},
		"path and query":     {":443", "GET", "relay.test", "/v1/websocket?a=b&c=%20d", 308, "https://relay.test/v1/websocket?a=b&c=%20d"},
		"escaped":            {":443", "GET", "relay.test", "/a%2fb%0d%0aX:%20y", 308, "https://relay.test/a%2fb%0d%0aX:%20y"},
		"post":               {":443", "POST", "relay.test", "/v1/rooms", 308, "https://relay.test/v1/rooms"},
		"head":               {":443", "HEAD", "relay.test", "/", 308, "https://relay.test/"},
		"port of plain HTTP": {":443", "GET", "relay.test:80", "/", 308, "https://relay.test/"},
		"other port":         {"127.0.0.1:8443", "GET", "relay.test:8080", "/", 308, "https://relay.test:8443/"},
		"named port":         {":https", "GET", "relay.test", "/", 308, "https://relay.test/"},
		"capitals and dot":   {":443", "GET", "Relay.TEST.", "/", 308, "https://relay.test/"},
		"wildcard":           {":443", "GET", "b.school.test", "/", 308, "https://b.school.test/"},
		"address":            {":443", "GET", "127.0.0.1", "/", 308, "https://127.0.0.1/"},
		"slashes":            {":443", "GET", "relay.test", "//evil.test/x", 308, "https://relay.test//evil.test/x"},
		"absolute form":      {":443", "GET", "relay.test", "http://relay.test/x", 308, "https://relay.test/x"},

		"other host":        {":443", "GET", "evil.test", "/", 421, ""},
		"other address":     {":443", "GET", "[::1]:80", "/", 421, ""},
		"no host":           {":443", "GET", "", "/", 421, ""},
		"user":              {":443", "GET", "relay.test@evil.test", "/", 421, ""},
		"absolute, other":   {":443", "GET", "relay.test", "http://evil.test/x", 421, ""},
		"no path":           {":443", "OPTIONS", "relay.test", "*", 400, ""},
		"no challenge":      {":443", "GET", "relay.test", "/.well-known/acme-challenge/abc", 404, ""},
		"foreign challenge": {":443", "GET", "evil.test", "/.well-known/acme-challenge/abc", 421, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(r.method, r.target, nil)
			if request.URL.Host == "" {
				request.Host = r.host
			}
			w := httptest.NewRecorder()
			c.Redirect(r.httpsAddr).ServeHTTP(w, request)
			if got := w.Header().Get("Location"); w.Code != r.status || got != r.location {
				t.Errorf("%d to %q, want %d to %q", w.Code, got, r.status, r.location)
			}
			if w.Header().Get("Connection") != "close" {
				t.Error("the connection is kept")
			}
		})
	}
}

// FuzzRedirect sends requests as they could come over the network. Whatever they are,
// the location is a path of the relay.
func FuzzRedirect(f *testing.F) {
	ca := newAuthority(f, "ca", nil)
	certFile, keyFile := ca.writePair(f, f.TempDir(), time.Hour, "relay.test")
	c, err := Open(f.Context(), Config{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][2]string{
		{"relay.test", "/"}, {"relay.test", "//evil.test"}, {"relay.test:80", "http://evil.test/"}, {"relay.test", "/\\evil.test?a#b"},
		{"relay.test@evil.test", "/"}, {"evil.test\\relay.test", "/"}, {"relay.test.", "/%0d%0ax"}, {"[::1]", "*"}, {"127.0.0.1", "x:/y"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, host, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		c.Redirect(":443").ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if (location == "") != (w.Code != http.StatusPermanentRedirect) {
			t.Fatalf("%d to %q", w.Code, location)
		}
		if location == "" {
			return
		}
		u, err := url.Parse(location)
		if err != nil || u.Scheme != "https" || u.Host != "relay.test" && u.Host != "127.0.0.1" || u.User != nil || strings.ContainsAny(location, "\r\n\\") {
			t.Errorf("%q, %q: to %q, %v", host, target, location, err)
		}
	})
}
