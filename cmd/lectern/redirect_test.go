package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// startRedirect serves a handler as --redirect-addr does.
func startRedirect(t *testing.T, handler http.Handler) *redirectListener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &redirectListener{Listener: inner}
	server := newRedirectServer(handler, slog.New(slog.DiscardHandler))
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.open) > 0 {
			t.Errorf("%d places are not given back", len(l.open))
		}
	})
	return l
}

// ask sends a request from an address of this machine.
func ask(t *testing.T, from, to string) (status int, took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	client := http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       5 * time.Second,
	}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + to + "/")
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if !response.Close {
		t.Error("the connection is kept")
	}
	return response.StatusCode, time.Since(began), nil
}

// TestSilentConnectionsHoldNothingUp: 2,000 connections from one address say nothing,
// and as many begin a request and stop. Requests from there and from elsewhere are
// answered at once, and only some connections are held.
func TestSilentConnectionsHoldNothingUp(t *testing.T) {
	l := startRedirect(t, http.RedirectHandler("https://relay.test/", http.StatusPermanentRedirect))
	addr := l.Addr().String()
	const silent = 2000
	for begin, text := range map[string]string{"silent": "", "stopped": "GET / HTTP/1.1\r\nHost: relay.t"} {
		var conns []net.Conn
		for i := range silent {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			_, _ = io.WriteString(conn, text) // it may be closed already
			if i%500 != 499 {
				continue
			}
			for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
				status, took, err := ask(t, from, addr)
				if err != nil || status != http.StatusPermanentRedirect || took > 2*time.Second {
					t.Errorf("%s, %d connections, from %s: %d after %s, %v", begin, i+1, from, status, took, err)
				}
			}
		}
		l.mu.Lock()
		held := len(l.open)
		l.mu.Unlock()
		if held > maxRedirects {
			t.Errorf("%s: %d connections are held", begin, held)
		}
		ended := 0
		for _, conn := range conns {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); err != nil && !isTimeout(err) {
				ended++
			}
			_ = conn.Close()
		}
		if ended < silent-maxRedirects {
			t.Errorf("%s: only %d connections were closed", begin, ended)
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestACrowdedAddressMakesRoom: the oldest connection of the address that has the most
// goes first, whoever comes.
func TestACrowdedAddressMakesRoom(t *testing.T) {
	t.Parallel()
	l := &redirectListener{}
	enter := func(from string) *redirectConn {
		return l.enter(&redirectConn{listener: l, from: network(addrOf(t, from))})
	}
	for range maxRedirects - 2 {
		if enter("10.0.0.1") != nil {
			t.Fatal("there was room")
		}
	}
	enter("10.0.0.2")
	enter("2001:db8::1")
	for range maxRedirects {
		if gone := enter("10.0.0.1"); gone == nil || gone.from != addrOf(t, "10.0.0.1") {
			t.Fatalf("%v makes room", gone)
		}
	}
	for i := range maxRedirects {
		if gone := enter("2001:db8::" + string("0123456789abcdef"[i%16])); gone == nil {
			t.Fatal("nobody makes room")
		}
	}
	of := make(map[string]int)
	for _, o := range l.open {
		of[o.from.String()]++
	}
	if len(l.open) != maxRedirects || of["10.0.0.2"] != 1 || of["2001:db8::"]-of["10.0.0.1"] > 1 {
		t.Errorf("the places are %v", of)
	}
}

// TestOversizedRedirectRequests are refused, and slow ones are cut off.
func TestOversizedRedirectRequests(t *testing.T) {
	t.Parallel()
	l := startRedirect(t, http.RedirectHandler("https://relay.test/", http.StatusPermanentRedirect))
	send := func(text string) string {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * redirectTimeout))
		_, _ = io.WriteString(conn, text)
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	for text, want := range map[string]string{
		"GET /" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: a\r\n\r\n":                         "HTTP/1.1 431",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n":                  "HTTP/1.1 431",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n":                                         "HTTP/1.1 400",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n":                           "HTTP/1.1 308",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n" + strings.Repeat("x", 1000): "HTTP/1.1 308",
		"GET / HTTP/1.1\r\n": "",
	} {
		answer := send(text)
		if !strings.HasPrefix(answer, want) || want == "" && answer != "" || strings.Count(answer, "HTTP/1.1 ") > 1 {
			t.Errorf("%.40q is answered %.200q, want %s", text, answer, want)
		}
	}
}

// TestNoCertificatesWithoutOptions: the keeper of a plain relay does nothing.
func TestNoCertificatesWithoutOptions(t *testing.T) {
	t.Parallel()
	s, err := read(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := openCertificates(context.Background(), &s.Options, "127.0.0.1:8765", slog.New(slog.DiscardHandler))
	if err != nil || k.tlsConfig() != nil {
		t.Errorf("%v, %v", err, k.tlsConfig())
	}
	k.run(func(err error) { t.Error(err) })
	k.reload()
	k.expiries(func(name string, _ time.Time) { t.Errorf("%s expires", name) })
	if err := k.stop(); err != nil {
		t.Error(err)
	}
}
