package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// registered are the codes that RFC 6455 7.4.2 and the IANA registry let stand
// in a close frame.
func registered(code int) bool {
	switch {
	case code == 1000, code == 1001, code == 1002, code == 1003, code == 1007, code == 1008, code == 1009,
		code == 1010, code == 1011, code == 1012, code == 1013, code == 1014:
		return true
	}
	return code >= 3000 && code < 5000
}

func TestCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		status := ws.StatusCode(code)
		if SendableCode(status) != registered(code) {
			t.Errorf("SendableCode(%d) is %v", code, SendableCode(status))
		}
		got, reason, err := ParseClose(append(binary.BigEndian.AppendUint16(nil, uint16(code)), "why"...))
		if registered(code) {
			if got != status || reason != "why" || err != nil {
				t.Errorf("close %d: %d, %q, %v", code, got, reason, err)
			}
		} else if codeOf(t, err) != ws.StatusProtocolError || got != 0 || reason != "" {
			t.Errorf("close %d: %d, %q, %v", code, got, reason, err)
		}
	}
	for _, code := range []ws.StatusCode{CloseRoomClosed, CloseKicked, CloseReplaced, CloseTooSlow, CloseIdle, CloseTryLater} {
		if !SendableCode(code) {
			t.Errorf("%d may not be sent", code)
		}
	}
}

func TestParseClose(t *testing.T) {
	tests := map[string]struct {
		payload string
		code    ws.StatusCode
		reason  string
		err     ws.StatusCode
	}{
		"empty":              {"", ws.StatusNoStatusRcvd, "", 0},
		"half a code":        {"\x03", 0, "", ws.StatusProtocolError},
		"code only":          {"\x03\xe8", 1000, "", 0},
		"reason":             {"\x0f\xa2out \u20ac", 4002, "out \u20ac", 0},
		"1005":               {"\x03\xed", 0, "", ws.StatusProtocolError},
		"reason not UTF-8":   {"\x03\xe8\xff", 0, "", ws.StatusInvalidFramePayloadData},
		"reason cut":         {"\x03\xe8\xe2\x82", 0, "", ws.StatusInvalidFramePayloadData},
		"bad code, bad text": {"\x00\x00\xff", 0, "", ws.StatusProtocolError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(test.payload))
			if code != test.code || reason != test.reason || codeOf(t, err) != test.err {
				t.Errorf("%d, %q, %v", code, reason, err)
			}
		})
	}
}

func TestCloseCode(t *testing.T) {
	tooBig := &Error{ws.StatusMessageTooBig, "much"}
	tests := map[string]struct {
		err  error
		want ws.StatusCode
	}{
		"nil":     {nil, ws.StatusNormalClosure},
		"ours":    {tooBig, ws.StatusMessageTooBig},
		"wrapped": {fmt.Errorf("receive: %w", tooBig), ws.StatusMessageTooBig},
		"joined":  {errors.Join(io.EOF, tooBig), ws.StatusMessageTooBig},
		"foreign": {io.EOF, ws.StatusInternalServerError},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := CloseCode(test.err); got != test.want {
				t.Errorf("CloseCode(%v) is %d", test.err, got)
			}
		})
	}
	if got := tooBig.Error(); got != "websocket error 1009: much" {
		t.Errorf("Error() is %q", got)
	}
}

// Whatever AppendClose is given, a strict client accepts what it makes.
func TestAppendClose(t *testing.T) {
	tests := map[string]struct {
		code   ws.StatusCode
		reason string
		want   string // payload
	}{
		"normal":                   {1000, "bye", "\x03\xe8bye"},
		"code only":                {4100, "", "\x10\x04"},
		"no code":                  {ws.StatusNoStatusRcvd, "ignored", ""},
		"abnormal":                 {ws.StatusAbnormalClosure, "", "\x03\xf3"},
		"zero":                     {0, "?", "\x03\xf3?"},
		"beyond":                   {5000, "", "\x03\xf3"},
		"reason at its size":       {1000, strings.Repeat("r", 123), "\x03\xe8" + strings.Repeat("r", 123)},
		"reason one over":          {1000, strings.Repeat("r", 124), "\x03\xe8" + strings.Repeat("r", 123)},
		"cut before a character":   {1000, strings.Repeat("r", 122) + "\u20ac", "\x03\xe8" + strings.Repeat("r", 122)},
		"cut after a character":    {1000, strings.Repeat("r", 120) + "\u20acx", "\x03\xe8" + strings.Repeat("r", 120) + "\u20ac"},
		"reason that is not UTF-8": {1000, "a\xffb", "\x03\xe8a\ufffdb"},
		"grows by what replaces":   {1000, strings.Repeat("\u20ac\xff", 50), "\x03\xe8" + strings.Repeat("\u20ac\ufffd", 20) + "\u20ac"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := AppendClose([]byte("before"), test.code, test.reason)
			want := "before\x88" + string(rune(len(test.want))) + test.want
			if string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if !utf8.ValidString(test.want[min(2, len(test.want)):]) {
				t.Error("the test wants what is not UTF-8")
			}
		})
	}
}
