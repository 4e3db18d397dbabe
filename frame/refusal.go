package frame

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// A refusal is why a handshake fails: an HTTP status and a sentence for whoever
// wrote the client.
type refusal struct {
	status  int
	message string
}

func badRequest(message string) *refusal { return &refusal{400, message} }

// statusTexts are the statuses that the connection's owner may have to send
// before or instead of an upgrade.
var statusTexts = map[int]string{
	400: "Bad Request",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	408: "Request Timeout",
	413: "Request Entity Too Large",
	417: "Expectation Failed",
	421: "Misdirected Request",
	426: "Upgrade Required",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	503: "Service Unavailable",
	505: "HTTP Version Not Supported",
}

// statusHeaders are those that a status comes with: RFC 9110 15.5.6, 15.5.22 and
// 15.6.4, RFC 6455 4.2.2.
var statusHeaders = map[int]string{
	405: "Allow: GET\r\n",
	426: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
	503: "Retry-After: 5\r\n",
}

// AppendStatus appends the status line of a response (RFC 9112 4).
func AppendStatus(dst []byte, status int) []byte {
	text := statusTexts[status]
	switch status {
	case 200:
		text = "OK"
	case 204:
		text = "No Content"
	}
	return fmt.Appendf(dst, "HTTP/1.1 %d %s\r\n", status, text)
}

// AppendRefusal appends a whole HTTP response that refuses a request and says
// that the connection ends. Its body is {"code":status,"message":message} in
// JSON. 405 allows GET, 426 names the version of WebSocket that is spoken, and
// 503 says to come back after some seconds.
// A status outside 100 to 999 is sent as 500.
func AppendRefusal(dst []byte, status int, message string) []byte {
	if status < 100 || status > 999 {
		status = 500
	}
	text, _ := json.Marshal(message) // cannot fail for a string
	body := `{"code":` + strconv.Itoa(status) + `,"message":` + string(text) + "}"
	connection := "close"
	if status == 426 {
		connection = "close, Upgrade" // RFC 9110 7.8: Connection must name Upgrade
	}
	dst = AppendStatus(dst, status)
	dst = append(dst, statusHeaders[status]...)
	return fmt.Appendf(dst, "Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s",
		len(body), connection, body)
}
