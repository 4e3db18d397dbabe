package frame

import "testing"

// TestFramingOfAPlainRequest tells where its head and its body end, and does not
// guess where servers differ.
func TestFramingOfAPlainRequest(t *testing.T) {
	for fields, want := range map[string]int64{
		"":                       0,
		"Content-Length: 0\r\n":  0,
		"Content-Length: 17\r\n": 17,
		"content-length:\t9223372036854775807 \r\n":      9223372036854775807,
		"Content-Length: 9223372036854775808\r\n":        -1,
		"Content-Length: +1\r\n":                         -1,
		"Content-Length: -1\r\n":                         -1,
		"Content-Length: 0x1\r\n":                        -1,
		"Content-Length: 1, 1\r\n":                       -1,
		"Content-Length:\r\n":                            -1,
		"Content-Length: 1\r\nContent-Length: 1\r\n":     -1,
		"Transfer-Encoding: chunked\r\n":                 -1,
		"Transfer-Encoding: identity\r\n":                -1,
		"Transfer-Encoding:\r\nContent-Length: 5\r\n":    -1,
		"X-Content-Length: 5\nX: Content-Length: 9\r\n":  0,
		"Content-Length: 3\r\nTransfer-Encodin: gzip\n":  3,
		"A: b\r\nContent-Length: 3\nConnection: close\n": 3,
	} {
		for _, end := range []string{"\r\n", "\n"} {
			head := "POST / HTTP/1.1\r\nHost: x\r\n" + fields + end
			for _, behind := range []string{"", "body", "\r\n\r\nGET / HTTP/1.1\r\n\r\n"} {
				var h Handshake
				if got := h.Feed([]byte("\r\n" + head + behind)); got != Plain {
					t.Fatalf("%q is %s", head, got)
				}
				if size, body := h.Framing(); size != len(head) || body != want {
					t.Errorf("%q: head of %d, body of %d; want %d and %d", head+behind, size, body, len(head), want)
				}
			}
		}
	}
	var h Handshake
	h.Feed([]byte("GET / HTTP/1.1\r\n"))
	if head, body := h.Framing(); head != 0 || body != 0 {
		t.Errorf("an incomplete head has a framing of %d, %d", head, body)
	}
}
