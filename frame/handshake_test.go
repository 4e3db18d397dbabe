package frame

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/gobwas/ws"
)

// browserHead is what a browser sends, proxy lines included.
const browserHead = "GET /v1/websocket?room=A1B2C3 HTTP/1.1\r\n" +
	"Host: relay.example.org:8765\r\n" +
	"Connection: keep-alive, Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://relay.example.org\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"Sec-WebSocket-Protocol: chat, superchat\r\n" +
	"X-Forwarded-For: 203.0.113.7\r\n" +
	"\r\n"

// rfcAccept is RFC 6455 1.3's answer to the key above.
const rfcAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// upgradeHead returns an upgrade with a line replaced by another (or by
// several, or none): the change is "old line -> new line", old empty to add.
func upgradeHead(changes ...string) string {
	head := "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, change := range changes {
		from, to, _ := strings.Cut(change, " -> ")
		if to != "" {
			to += "\r\n"
		}
		if from == "" {
			head = strings.TrimSuffix(head, "\r\n") + to + "\r\n"
		} else if !strings.Contains(head, from+"\r\n") {
			panic("no line " + from)
		} else {
			head = strings.Replace(head, from+"\r\n", to, 1)
		}
	}
	return head
}

// shake feeds the chunks until there is a verdict, and returns what follows
// those that were fed.
func shake(h *Handshake, chunks ...[]byte) (verdict Verdict, unfed []byte) {
	for i, chunk := range chunks {
		if verdict = h.Feed(chunk); verdict != Pending {
			return verdict, bytes.Join(chunks[i+1:], nil)
		}
	}
	return Pending, nil
}

func TestHandshakeUpgrades(t *testing.T) {
	plain := Request{Path: "/", Host: "h"}
	tests := map[string]struct {
		head string
		want Request
	}{
		"browser": {browserHead, Request{
			Path: "/v1/websocket", Query: "room=A1B2C3", Host: "relay.example.org:8765",
			Origin: "https://relay.example.org", ForwardedFor: "203.0.113.7",
		}},
		"nothing but what must be":  {upgradeHead(), plain},
		"one blank line first":      {"\r\n" + upgradeHead(), plain},
		"blank lines first":         {"\r\n\r\n" + upgradeHead(), plain},
		"bare line feeds":           {strings.ReplaceAll(upgradeHead(), "\r\n", "\n"), plain},
		"mixed line ends":           {strings.Replace(upgradeHead(), "\r\n", "\n", 3), plain},
		"blank line is a bare LF":   {strings.TrimSuffix(upgradeHead(), "\r\n") + "\n", plain},
		"names know no case":        {upgradeHead("Upgrade: websocket -> uPGRADE: WebSocket", "Connection: Upgrade -> CONNECTION: UPGRADE", "Host: h -> hOST: h"), plain},
		"values are trimmed":        {upgradeHead("Sec-WebSocket-Version: 13 -> Sec-WebSocket-Version:  \t13 \t ", "Host: h -> Host:h"), plain},
		"Connection is a list":      {upgradeHead("Connection: Upgrade -> Connection: keep-alive ,\tupgrade"), plain},
		"Connection in lines":       {upgradeHead("Connection: Upgrade -> Connection: keep-alive\r\nConnection: Upgrade"), plain},
		"Upgrade is a list":         {upgradeHead("Upgrade: websocket -> Upgrade: h2c, websocket"), plain},
		"Upgrade in lines":          {upgradeHead("Upgrade: websocket -> Upgrade: h2c\r\nUpgrade: websocket"), plain},
		"odd list":                  {upgradeHead("Connection: Upgrade -> Connection: \"x\", , upgrade;" + "\r\nConnection: upgrade"), plain},
		"Content-Length 0":          {upgradeHead(" -> Content-Length: 0"), plain},
		"HTTP/1.2":                  {upgradeHead("GET / HTTP/1.1 -> GET / HTTP/1.2"), plain},
		"query":                     {upgradeHead("GET / HTTP/1.1 -> GET /?a=b?c HTTP/1.1"), Request{Path: "/", Query: "a=b?c", Host: "h"}},
		"path is not unescaped":     {upgradeHead("GET / HTTP/1.1 -> GET //a/%2e%2E/b HTTP/1.1"), Request{Path: "//a/%2e%2E/b", Host: "h"}},
		"absolute target":           {upgradeHead("GET / HTTP/1.1 -> GET HTTP://other:81/x?y HTTP/1.1"), Request{Path: "/x", Query: "y", Host: "other:81"}},
		"absolute without a path":   {upgradeHead("GET / HTTP/1.1 -> GET ws://other HTTP/1.1"), Request{Path: "/", Host: "other"}},
		"absolute with query only":  {upgradeHead("GET / HTTP/1.1 -> GET ws://other?y HTTP/1.1"), Request{Path: "/", Query: "y", Host: "other"}},
		"several proxies":           {upgradeHead(" -> X-Forwarded-For: 192.0.2.1", " -> x-forwarded-for: 10.0.0.1, 10.0.0.2"), Request{Path: "/", Host: "h", ForwardedFor: "192.0.2.1, 10.0.0.1, 10.0.0.2"}},
		"values beyond ASCII, tabs": {upgradeHead(" -> X-Name: \xfcn\tm\u20ac"), plain},
		"the most header lines":     {upgradeHead(" -> " + strings.TrimSuffix(strings.Repeat("X: y\r\n", maxFields-5), "\r\n")), plain},
		"the largest head":          {upgradeHead(" -> X: " + strings.Repeat("x", DefaultMaxHead-len(upgradeHead())-len("X: \r\n"))), plain},
		"long names are ignored":    {upgradeHead(" -> " + strings.Repeat("Host", 20) + ": x"), plain},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			const rest = "\x81\x80\x00\x00\x00\x00 and more"
			cuts := everyCut([]byte(test.head + rest))
			if len(test.head) > 2000 { // every cut of it would take long
				cuts = func(yield func(string, [][]byte) bool) {
					stream := []byte(test.head + rest)
					_ = yield("whole", [][]byte{stream}) && yield("in the end", [][]byte{stream[:len(test.head)-1], stream[len(test.head)-1:]}) &&
						yield("after it", [][]byte{stream[:len(test.head)], stream[len(test.head):]})
				}
			}
			for cut, chunks := range cuts {
				h := Handshake{NoDeflate: true}
				verdict, unfed := shake(&h, chunks...)
				if verdict != Upgrade {
					t.Fatalf("%s: %v, %q", cut, verdict, h.Reply())
				}
				if diff := cmp.Diff(test.want, h.Request()); diff != "" {
					t.Fatalf("%s: request (-want +got):\n%s", cut, diff)
				}
				if got := string(h.Rest()) + string(unfed); got != rest {
					t.Fatalf("%s: rest is %q", cut, got)
				}
				checkSwitching(t, h.Reply())
				if h.Head() != nil || h.Feed([]byte("x")) != Upgrade {
					t.Fatalf("%s: the verdict is not final", cut)
				}
			}
		})
	}
}

func checkSwitching(t *testing.T, reply []byte) {
	t.Helper()
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + rfcAccept + "\r\n\r\n"
	if string(reply) != want {
		t.Fatalf("reply %q", reply)
	}
}

// A client may offer subprotocols in lists and in lines. Only the one that the
// relay speaks is agreed to.
func TestHandshakeSubprotocol(t *testing.T) {
	const ours = "lectern.v1"
	tests := map[string]struct {
		offer  []string
		agreed bool
	}{
		"none":               {nil, false},
		"ours":               {[]string{ours}, true},
		"another":            {[]string{"mqtt"}, false},
		"in a list":          {[]string{"mqtt , " + ours + ",soap"}, true},
		"in the third line":  {[]string{"mqtt", "soap, wamp", ours}, true},
		"empty items":        {[]string{", ,mqtt,, " + ours + " ,"}, true},
		"case counts":        {[]string{"Lectern.v1"}, false},
		"only its beginning": {[]string{"lectern.v10"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			head := upgradeHead()
			for _, line := range test.offer {
				head = strings.TrimSuffix(head, "\r\n") + "sec-websocket-protocol: " + line + "\r\n\r\n"
			}
			h := Handshake{Subprotocol: ours}
			if h.Feed([]byte(head)) != Upgrade {
				t.Fatalf("refused with %q", h.Reply())
			}
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(h.Reply())), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			want := ""
			if test.agreed {
				want = ours
			}
			if got := strings.Join(resp.Header.Values("Sec-WebSocket-Protocol"), "|"); got != want || resp.StatusCode != 101 {
				t.Errorf("agreed to %q, want %q: %q", got, want, h.Reply())
			}
		})
	}
}

// Rest lies in the chunk that was fed, so that the frames in it are not copied.
func TestHandshakeRestAliases(t *testing.T) {
	chunk := append([]byte(upgradeHead()), client(ws.OpText, final, "early")...)
	for name, cut := range map[string]int{"whole": 0, "cut": 50} {
		t.Run(name, func(t *testing.T) {
			var h Handshake
			h.Feed(chunk[:cut])
			if h.Feed(chunk[cut:]) != Upgrade || unsafe.SliceData(h.Rest()) != &chunk[len(upgradeHead())] {
				t.Error("Rest was copied")
			}
		})
	}
}

func TestHandshakePlain(t *testing.T) {
	tests := map[string]string{
		"page":                         "GET /index.html HTTP/1.1\r\nHost: h\r\n\r\n",
		"HTTP/1.0":                     "GET / HTTP/1.0\r\n\r\n",
		"no Host, the server's to say": "GET / HTTP/1.1\r\n\r\n",
		"blank line first":             "\r\nPOST / HTTP/1.1\r\nHost: h\r\n\r\n",
		"HTTP/1.2":                     "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
		"request with a body":          "POST /v1/api/rooms HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
		"chunked body":                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"pipelined":                    "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
		"bare line feeds":              "GET / HTTP/1.1\nHost: h\n\n",
		"other upgrade":                "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"upgrade, none named":          upgradeHead("Upgrade: websocket -> "),
		"almost websocket":             upgradeHead("Upgrade: websocket -> Upgrade: websockets"),
		"OPTIONS *":                    "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"CONNECT":                      "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
		"odd method":                   "x!#$%&'*+-.^_`|~9Z / HTTP/1.1\r\nHost: h\r\n\r\n",
	}
	for name, stream := range tests {
		t.Run(name, func(t *testing.T) {
			for cut, chunks := range everyCut([]byte(stream)) {
				var h Handshake
				verdict, unfed := shake(&h, chunks...)
				if verdict != Plain {
					t.Fatalf("%s: %v, %q", cut, verdict, h.Reply())
				}
				head := h.Head()
				clear(bytes.Join(chunks, nil))
				for _, chunk := range chunks {
					clear(chunk) // Head must be a copy
				}
				if got := string(head) + string(stream[len(stream)-len(unfed):]); got != strings.TrimLeft(stream, "\r\n") {
					t.Fatalf("%s: Head and what was not fed are %q", cut, got)
				}
				if h.Reply() != nil || h.Rest() != nil || h.Feed([]byte("x")) != Plain {
					t.Fatalf("%s: Reply %q, Rest %q", cut, h.Reply(), h.Rest())
				}
			}
		})
	}
}

func TestHandshakePending(t *testing.T) {
	head := upgradeHead()
	for i := range len(head) {
		var h Handshake
		if verdict := h.Feed([]byte(head[:i])); verdict != Pending || h.Reply() != nil || h.Rest() != nil || h.Head() != nil {
			t.Fatalf("after %d bytes: %v", i, verdict)
		}
	}
	for verdict, name := range map[Verdict]string{Pending: "Pending", Upgrade: "Upgrade", Plain: "Plain", Refused: "Refused"} {
		if verdict.String() != name {
			t.Errorf("verdict %d is called %v", verdict, verdict)
		}
	}
}

func TestHandshakeMaxHead(t *testing.T) {
	head := upgradeHead()
	tests := map[string]struct {
		limit  int
		stream string
		want   Verdict
	}{
		"at the limit":           {len(head), head + "frames", Upgrade},
		"one over":               {len(head) - 1, head, Refused},
		"only the LF over":       {len(head) - 1, head + strings.Repeat("x", 100), Refused},
		"no end, at the limit":   {100, "GET /" + strings.Repeat("x", 95), Pending},
		"no end, one over":       {100, "GET /" + strings.Repeat("x", 96), Refused},
		"default, at the limit":  {0, "GET /" + strings.Repeat("x", DefaultMaxHead-5), Pending},
		"default, one over":      {0, "GET /" + strings.Repeat("x", DefaultMaxHead-4), Refused},
		"bad line before it":     {60, "GET / HTTP/1.1\r\nHost\r\n" + strings.Repeat("x", 100), Refused},
		"bad line over the edge": {25, "GET / HTTP/1.1\r\nHost\x00\x00\x00\x00\x00\x00\r\n", Refused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var reply []byte
			step := max(1, len(test.stream)/200)
			for cut := 0; cut <= len(test.stream); cut += step {
				h := Handshake{MaxHead: test.limit}
				if verdict, _ := shake(&h, []byte(test.stream[:cut]), []byte(test.stream[cut:])); verdict != test.want {
					t.Fatalf("cut at %d: %v, %q", cut, verdict, h.Reply())
				}
				if reply == nil {
					reply = h.Reply()
				}
				if test.want == Refused && !bytes.Equal(reply, h.Reply()) {
					t.Fatalf("cut at %d: %q, but whole %q", cut, h.Reply(), reply)
				}
			}
			if test.want == Refused && name != "bad line before it" {
				checkRefusal(t, reply, 431, "larger")
			}
		})
	}
}

// A head that comes byte by byte is held once, and its buffer is hardly larger
// than what came; one that comes whole is not held at all.
func TestHandshakeMemory(t *testing.T) {
	head := []byte(strings.Replace(browserHead, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 5000)+"\r\n\r\n", 1))
	var h Handshake
	for i := range head[:len(head)-1] {
		h.Feed(head[i : i+1])
		if len(h.buffer) != i+1 || h.scanned != i+1 || cap(h.buffer) >= i+1+headStep {
			t.Fatalf("after %d bytes: %d of %d bytes used", i+1, len(h.buffer), cap(h.buffer))
		}
	}
	if h.Feed(head[len(head)-1:]) != Upgrade || h.buffer != nil {
		t.Errorf("%v, %d bytes held after it", h.verdict, cap(h.buffer))
	}

	h = Handshake{}
	bad := append(bytes.Clone(head[:len(head)-2]), "no colon\r\n"...)
	if got := allocated(func() { h.Feed(bad) }); got > 3000 || h.verdict != Refused {
		t.Errorf("%d bytes allocated for a whole head, %v", got, h.verdict)
	}
	// A large chunk behind a partial head is not copied for it.
	h = Handshake{}
	h.Feed(head[:100])
	large := append(bytes.Clone(head[100:]), make([]byte, 1<<20)...)
	if got := allocated(func() { h.Feed(large) }); got > 64<<10 || h.verdict != Upgrade || len(h.Rest()) != 1<<20 {
		t.Errorf("%d bytes allocated, %v", got, h.verdict)
	}
	if size := unsafe.Sizeof(h); size > 232 {
		t.Errorf("a Handshake has %d bytes", size)
	}
}
