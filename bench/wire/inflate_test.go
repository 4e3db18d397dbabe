package wire

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestOffering(t *testing.T) {
	w := NewWebSocket(new(url.URL), "", nil).Offering()
	if r := w.Request(Place{}); !strings.HasSuffix(r, "\r\nSec-WebSocket-Extensions: "+offer+"\r\n\r\n") {
		t.Errorf("the request is %q", r)
	}
	head := "HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: " + w.accept + "\r\n"
	if _, _, err := w.Answer([]byte(head + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n")); err != nil {
		t.Error(err)
	}
	for _, extensions := range []string{"", "Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Extensions: x; server_no_context_takeover\r\n"} {
		if _, _, err := w.Answer([]byte(head + extensions + "\r\n")); !errors.Is(err, ErrDeclined) {
			t.Errorf("%q: %v", extensions, err)
		}
	}
}

func TestInflate(t *testing.T) {
	var i Inflater
	for range 2 {
		if text, err := i.Inflate([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00")); string(text) != "Hello" || err != nil { // RFC 7692 7.2.3.1
			t.Errorf("%q, %v", text, err)
		}
		if _, err := i.Inflate([]byte("\xff\xff")); !errors.Is(err, ErrGarbage) {
			t.Errorf("not deflated: %v", err)
		}
	}
	if _, _, err := (WebSocket{}).Parse([]byte("\xc1\x00")); !errors.Is(err, ErrGarbage) {
		t.Errorf("compressed without an offer: %v", err)
	}
}
