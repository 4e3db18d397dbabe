package frame

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestHandshakeRefusals(t *testing.T) {
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	tests := map[string]struct {
		stream string
		status int
		says   string // a part of the message
	}{
		"TLS":                         {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "ws://"},
		"first byte":                  {"\x00", 400, "not an HTTP"},
		"three blank lines first":     {"\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, "not an HTTP"},
		"five line feeds first":       {"\n\n\n\n\nGET / HTTP/1.1\r\n\r\n", 400, "not an HTTP"},
		"CR first":                    {"\rGET / HTTP/1.1\r\n\r\n", 400, "not an HTTP"},
		"two CRs first":               {"\r\r\nGET / HTTP/1.1\r\n\r\n", 400, "not an HTTP"},
		"blank line, then a space":    {"\r\n GET / HTTP/1.1\r\n\r\n", 400, "not an HTTP"},
		"a frame":                     {string(client(ws.OpText, final, "hello")), 400, "not an HTTP"},
		"SSH":                         {"SSH-2.0-OpenSSH_9.6\r\n", 400, "request line"},
		"no target":                   {"GET HTTP/1.1\r\n", 400, "request line"},
		"empty target":                {"GET  HTTP/1.1\r\n", 400, "request line"},
		"two spaces":                  {"GET /  HTTP/1.1\r\n", 400, "HTTP version"},
		"space in the target":         {"GET /a b HTTP/1.1\r\n", 400, "HTTP version"},
		"HTTP/0.9":                    {"GET /\r\n", 400, "request line"},
		"bad method":                  {"GE(T / HTTP/1.1\r\n", 400, "request line"},
		"bad version":                 {"GET / HTTP/1.1x\r\n", 400, "HTTP version"},
		"version of letters":          {"GET / HTTP/a.1\r\n", 400, "HTTP version"},
		"lower-case protocol":         {"GET / http/1.1\r\n", 400, "HTTP version"},
		"HTTP/2 preface":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"},
		"NUL in the target":           {"GET /\x00 HTTP/1.1\r\n", 400, "control character 0x00 in line 1"},
		"no colon":                    {upgradeHead("Host: h -> Host"), 400, "no colon in line 2"},
		"space before the colon":      {upgradeHead("Host: h -> Host : h"), 400, "space before the colon in line 2"},
		"tab before the colon":        {upgradeHead("Host: h -> Host\t: h"), 400, "space before the colon in line 2"},
		"no name":                     {upgradeHead("Host: h -> : h"), 400, "no name before the colon in line 2"},
		"bad name":                    {upgradeHead("Host: h -> Ho st: h"), 400, "bad header name in line 2"},
		"name beyond ASCII":           {upgradeHead("Host: h -> H\xc3\xb6st: h"), 400, "bad header name in line 2"},
		"folded":                      {upgradeHead(" -> X: a\r\n b: c"), 400, "folded"},
		"folded with a tab":           {upgradeHead(" -> X: a\r\n\tb"), 400, "folded"},
		"first header folded":         {"GET / HTTP/1.1\r\n Host: h\r\n", 400, "line 2 of the request is folded"},
		"NUL in a value":              {upgradeHead(" -> X: a\x00b"), 400, "control character 0x00 in line 7"},
		"escape in a value":           {upgradeHead(" -> X: a\x1b[0m"), 400, "control character 0x1b"},
		"DEL in a value":              {upgradeHead(" -> X: a\x7f"), 400, "control character 0x7f"},
		"CR in a value":               {upgradeHead(" -> X: a\rb"), 400, "control character 0x0d"},
		"CR CR LF":                    {"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", 400, "control character 0x0d in line 3"},
		"too many lines":              {upgradeHead(" -> " + strings.TrimSuffix(strings.Repeat("X: y\r\n", maxFields-4), "\r\n")), 400, "more than 100"},
		"upgrade of HTTP/1.0":         {upgradeHead("GET / HTTP/1.1 -> GET / HTTP/1.0"), 505, "HTTP/1.1"},
		"upgrade by POST":             {upgradeHead("GET / HTTP/1.1 -> POST / HTTP/1.1"), 405, "GET"},
		"upgrade by lower-case get":   {upgradeHead("GET / HTTP/1.1 -> get / HTTP/1.1"), 405, "GET"},
		"upgrade of *":                {upgradeHead("GET / HTTP/1.1 -> GET * HTTP/1.1"), 400, "target"},
		"upgrade of a host":           {upgradeHead("GET / HTTP/1.1 -> GET h:80 HTTP/1.1"), 400, "target"},
		"upgrade of another scheme":   {upgradeHead("GET / HTTP/1.1 -> GET ftp://h/ HTTP/1.1"), 400, "target"},
		"upgrade with a user":         {upgradeHead("GET / HTTP/1.1 -> GET ws://u@h/x HTTP/1.1"), 400, "target"},
		"upgrade of no host":          {upgradeHead("GET / HTTP/1.1 -> GET ws:///x HTTP/1.1"), 400, "target"},
		"no Host":                     {upgradeHead("Host: h -> "), 400, "Host is missing"},
		"empty Host":                  {upgradeHead("Host: h -> Host: "), 400, "Host is missing"},
		"two Hosts":                   {upgradeHead(" -> Host: h"), 400, "Host is given more than once"},
		"two Origins":                 {upgradeHead(" -> Origin: a", " -> Origin: b"), 400, "Origin is given more than once"},
		"body":                        {upgradeHead(" -> Content-Length: 1"), 400, "body"},
		"odd length":                  {upgradeHead(" -> Content-Length: -0"), 400, "body"},
		"one of two lengths":          {upgradeHead(" -> Content-Length: 5", " -> Content-Length: 0"), 400, "body"},
		"chunked body":                {upgradeHead(" -> Transfer-Encoding: chunked"), 400, "body"},
		"no Connection":               {upgradeHead("Connection: Upgrade -> "), 400, "Connection does not name upgrade"},
		"Connection without upgrade":  {upgradeHead("Connection: Upgrade -> Connection: keep-alive"), 400, "Connection does not name upgrade"},
		"Connection almost upgrade":   {upgradeHead("Connection: Upgrade -> Connection: upgrades, up grade"), 400, "Connection does not name upgrade"},
		"no version":                  {upgradeHead("Sec-WebSocket-Version: 13 -> "), 426, "must be 13"},
		"version 8":                   {upgradeHead("Sec-WebSocket-Version: 13 -> Sec-WebSocket-Version: 8"), 426, "must be 13"},
		"version list":                {upgradeHead("Sec-WebSocket-Version: 13 -> Sec-WebSocket-Version: 13, 8"), 426, "must be 13"},
		"two versions":                {upgradeHead(" -> Sec-WebSocket-Version: 13"), 400, "Sec-WebSocket-Version is given more than once"},
		"no key":                      {upgradeHead(key + " -> "), 400, "Sec-WebSocket-Key is missing"},
		"empty key":                   {upgradeHead(key + " -> Sec-WebSocket-Key:"), 400, "base64"},
		"two keys":                    {upgradeHead(" -> " + key), 400, "Sec-WebSocket-Key is given more than once"},
		"key of 15 bytes":             {upgradeHead(key + " -> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400, "base64"},
		"key of 17 bytes":             {upgradeHead(key + " -> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), 400, "base64"},
		"key of 18 bytes":             {upgradeHead(key + " -> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWVl"), 400, "base64"},
		"key of 24 other characters":  {upgradeHead(key + " -> Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400, "base64"},
		"key of 21 bytes":             {upgradeHead(key + " -> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWVlZWVl"), 400, "base64"},
		"empty subprotocol":           {upgradeHead(" -> Sec-WebSocket-Protocol:"), 400, "Sec-WebSocket-Protocol"},
		"only commas of subprotocols": {upgradeHead(" -> Sec-WebSocket-Protocol: , ,"), 400, "Sec-WebSocket-Protocol"},
		"one of two lines is empty":   {upgradeHead(" -> Sec-WebSocket-Protocol: a", " -> Sec-WebSocket-Protocol: "), 400, "Sec-WebSocket-Protocol"},
		"subprotocol with a space":    {upgradeHead(" -> Sec-WebSocket-Protocol: a b"), 400, "Sec-WebSocket-Protocol"},
		"subprotocol in quotes":       {upgradeHead(` -> Sec-WebSocket-Protocol: "a"`), 400, "Sec-WebSocket-Protocol"},
		"subprotocol beyond ASCII":    {upgradeHead(" -> Sec-WebSocket-Protocol: \xfc"), 400, "Sec-WebSocket-Protocol"},
		"subprotocol twice":           {upgradeHead(" -> Sec-WebSocket-Protocol: a, b, a"), 400, "Sec-WebSocket-Protocol"},
		"subprotocol twice in lines":  {upgradeHead(" -> Sec-WebSocket-Protocol: a", " -> Sec-WebSocket-Protocol: a"), 400, "Sec-WebSocket-Protocol"},
		"key for URLs":                {upgradeHead(key + " -> Sec-WebSocket-Key: --------------------_w=="), 400, "base64"},
		"key without its padding end": {upgradeHead(key + " -> Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=A"), 400, "base64"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var reply []byte
			for cut, chunks := range everyCut([]byte(test.stream)) {
				var h Handshake
				if verdict, _ := shake(&h, chunks...); verdict != Refused {
					t.Fatalf("%s: %v", cut, verdict)
				}
				if reply == nil {
					reply = h.Reply()
					checkRefusal(t, reply, test.status, test.says)
				}
				if !bytes.Equal(reply, h.Reply()) {
					t.Fatalf("%s: %q, but whole %q", cut, h.Reply(), reply)
				}
				if h.Rest() != nil || h.Head() != nil || h.buffer != nil || h.Feed([]byte(upgradeHead())) != Refused {
					t.Fatalf("%s: Rest %q, Head %q", cut, h.Rest(), h.Head())
				}
			}
		})
	}
}

// checkRefusal reads reply with net/http.
func checkRefusal(t *testing.T, reply []byte, status int, says string) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(reply))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%v in %q", err, reply)
	}
	defer resp.Body.Close()
	var body struct {
		Code    int
		Message string
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("%v in %q", err, reply)
	}
	header := resp.Header
	switch {
	case resp.StatusCode != status || body.Code != status || !strings.Contains(body.Message, says):
		t.Fatalf("want %d, %q; got %q", status, says, reply)
	case resp.Status != fmt.Sprintf("%d %s", status, http.StatusText(status)):
		t.Fatalf("status line says %q", resp.Status)
	case (header.Get("Retry-After") != "") != (status == 503):
		t.Fatalf("Retry-After in %q", reply)
	case header.Get("Content-Type") != "application/json; charset=utf-8" || !resp.Close || r.Buffered() > 0 || resp.ContentLength < 0:
		t.Fatalf("bad response %q", reply)
	case (header.Get("Allow") == "GET") != (status == 405):
		t.Fatalf("Allow in %q", reply)
	case (header.Get("Sec-WebSocket-Version") == "13") != (status == 426), (header.Get("Upgrade") == "websocket") != (status == 426):
		t.Fatalf("Sec-WebSocket-Version and Upgrade in %q", reply)
	}
}

func TestAppendRefusal(t *testing.T) {
	for status := range statusTexts {
		checkRefusal(t, AppendRefusal(nil, status, "why"), status, "why")
	}
	for name, message := range map[string]string{"quotes": `say "x\y"`, "lines": "a\r\nb\x00", "text": "\u20ac</script>", "empty": ""} {
		t.Run(name, func(t *testing.T) { checkRefusal(t, AppendRefusal(nil, 400, message), 400, message) })
	}
	if got := AppendRefusal([]byte("before"), 418, ""); !bytes.HasPrefix(got, []byte("beforeHTTP/1.1 418 \r\n")) {
		t.Errorf("unknown status: %q", got)
	}
	for _, status := range []int{-1, 0, 99, 1000} {
		checkRefusal(t, AppendRefusal(nil, status, "x"), 500, "x")
	}
}
