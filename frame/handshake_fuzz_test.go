package frame

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func FuzzHandshake(f *testing.F) {
	seeds := []string{
		browserHead, upgradeHead(), strings.ReplaceAll(upgradeHead(), "\r\n", "\n"),
		upgradeHead("Upgrade: websocket -> Upgrade: h2c, websocket"), upgradeHead("Connection: Upgrade -> Connection: a\r\nConnection: upgrade"),
		upgradeHead("GET / HTTP/1.1 -> GET http://other/x?y HTTP/1.1"), upgradeHead(" -> Content-Length: 0"),
		upgradeHead("GET / HTTP/1.1 -> POST / HTTP/1.0"), upgradeHead(" -> X: a\r\n b"), upgradeHead("Host: h -> "),
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nrest", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", "\x16\x03\x01", "\r\n\r\n", "\r\n" + upgradeHead(), upgradeHead(" -> Sec-WebSocket-Protocol: a, b"), "PRI * HTTP/2.0\r\n\r\n",
	}
	for _, seed := range seeds {
		f.Add([]byte(seed+"\x81\x80"), []byte{9, 0, 3})
	}
	f.Fuzz(func(t *testing.T, stream, how []byte) {
		var whole, cut Handshake
		want, _ := shake(&whole, bytes.Clone(stream))
		got, unfed := shake(&cut, cutLike(stream, how)...)
		if got != want || !bytes.Equal(whole.Reply(), cut.Reply()) || whole.Request() != cut.Request() {
			t.Fatalf("whole %v, %q, %+v; cut %v, %q, %+v", want, whole.Reply(), whole.Request(), got, cut.Reply(), cut.Request())
		}
		stream = trimBlank(stream)
		switch want {
		case Pending:
			if len(stream) > DefaultMaxHead || bytes.Contains(stream, []byte("\n\n")) || bytes.Contains(stream, []byte("\n\r\n")) {
				t.Fatal("pending")
			}
		case Upgrade:
			if !bytes.Equal(whole.Rest(), append(bytes.Clone(cut.Rest()), unfed...)) || !bytes.HasSuffix(stream, whole.Rest()) {
				t.Fatalf("rest: whole %q, cut %q", whole.Rest(), cut.Rest())
			}
		case Plain:
			if !bytes.Equal(whole.Head(), stream) || !bytes.Equal(append(cut.Head(), unfed...), stream) {
				t.Fatalf("head: whole %q, cut %q", whole.Head(), cut.Head())
			}
		case Refused:
			if status := naiveStatus(whole.Reply()); status < 400 {
				t.Fatalf("refused with %d", status)
			}
		}
		naive, sure := naiveUpgrade(stream)
		if sure && (naive != nil) != (want == Upgrade) {
			t.Fatalf("%v, %q; net/http would upgrade: %v", want, whole.Reply(), naive != nil)
		}
		if req := whole.Request(); sure && naive != nil &&
			(req.Host != naive.Host || req.Query != naive.URL.RawQuery || req.Origin != naive.Header.Get("Origin")) {
			t.Fatalf("%+v; net/http: %+v", req, naive)
		}
	})
}

// trimBlank cuts off the blank lines that may come before a request.
func trimBlank(stream []byte) []byte {
	for left := maxBlank; ; {
		end := 1
		if bytes.HasPrefix(stream, []byte("\r\n")) {
			end = 2
		}
		if left -= end; left < 0 || len(stream) == 0 || stream[end-1] != '\n' {
			return stream
		}
		stream = stream[end:]
	}
}

func naiveStatus(reply []byte) int {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(reply)), nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// Where the Handshake is stricter than net/http: folded lines, control
// characters, heads that are large, and fields that may be there only once.
var stricter = regexp.MustCompile(`(?s)\n[ \t]|[^\t\n\r -~\x80-\xff]|\r[^\n]|\r$`)

// naiveUpgrade judges stream with net/http's parser, and returns the request if
// it should be upgraded. It is not sure where the two are known to differ.
func naiveUpgrade(stream []byte) (upgrade *http.Request, sure bool) {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(stream)))
	if err != nil {
		// A path need not be a URL here, because it is only compared.
		_, rest, _ := strings.Cut(string(stream), " ")
		target, _, _ := strings.Cut(rest, " ")
		_, err := url.ParseRequestURI(target)
		return nil, err == nil
	}
	end := regexp.MustCompile(`\n\r?\n`).FindIndex(stream)
	if end == nil {
		return nil, true
	}
	head := stream[:end[1]]
	if stricter.Match(head) || len(head) > DefaultMaxHead || bytes.Count(head, []byte("\n")) > maxFields {
		return nil, false
	}
	if !strings.HasPrefix(req.RequestURI, "/") && (req.URL.Scheme != "http" && req.URL.Scheme != "ws" || req.URL.User != nil) {
		return nil, false
	}
	if req.Header.Values("Sec-WebSocket-Protocol") != nil || req.Header.Values("Sec-WebSocket-Extensions") != nil {
		return nil, false
	}
	token := func(name, token string) bool {
		for item := range strings.SplitSeq(strings.Join(req.Header.Values(name), ","), ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
		return false
	}
	single := func(name string) string {
		if values := req.Header.Values(name); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	for _, length := range req.Header.Values("Content-Length") {
		if length != "0" {
			return nil, true
		}
	}
	key := single("Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	if err == nil && len(nonce) == 16 && len(key) == 24 && single("Sec-WebSocket-Version") == "13" &&
		req.Method == "GET" && req.ProtoMinor > 0 && req.Host != "" && len(req.Header.Values("Origin")) < 2 &&
		token("Upgrade", "websocket") && token("Connection", "upgrade") && len(req.TransferEncoding) == 0 {
		return req, true
	}
	return nil, true
}
