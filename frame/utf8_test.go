package frame

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// beginnings returns every proper prefix of every character's encoding.
var beginnings = sync.OnceValue(func() map[string]bool {
	set := make(map[string]bool)
	for r := rune(0x80); r <= utf8.MaxRune; r++ {
		for s, i := string(r), 1; r != utf8.RuneError && i < len(s); i++ {
			set[s[:i]] = true
		}
	}
	return set
})

// canGoOn is the validator's naive twin: it reports whether p is the beginning
// of some valid text.
func canGoOn(p []byte) bool {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			return beginnings()[string(p)]
		}
		p = p[size:]
	}
	return true
}

// checkValidator feeds p cut by every way of everyCut and compares: the
// validator must say no exactly when no valid text begins so.
func checkValidator(t *testing.T, p []byte) {
	t.Helper()
	bad := -1
	for i := range len(p) + 1 {
		if !canGoOn(p[:i]) {
			bad = i // p[i-1] is the first byte that cannot be there
			break
		}
	}
	for cut, chunks := range everyCut(p) {
		var v validator
		fed, failed := 0, false
		for _, chunk := range chunks {
			fed += len(chunk)
			if !v.feed(chunk) {
				failed = true
				break
			}
			if bad >= 0 && fed >= bad {
				t.Fatalf("% x, %s: took % x", p, cut, p[:fed])
			}
		}
		if failed && (bad < 0 || fed < bad) {
			t.Fatalf("% x, %s: refused % x", p, cut, p[:fed])
		}
		if !failed && v.done() != utf8.Valid(p) {
			t.Fatalf("% x, %s: done is %v", p, cut, v.done())
		}
	}
}

func TestValidatorTexts(t *testing.T) {
	tests := map[string]string{
		"empty":                  "",
		"ASCII":                  "plain text, longer than a word of the machine",
		"every length":           "a\u00e9\u20ac\U0001f600z",
		"borders":                "\x00\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff",
		"replacement character":  "\ufffd",
		"the Autobahn's 6.4":     "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
		"overlong slash":         "ok\xc0\xaf",
		"overlong of three":      "ok\xe0\x80\xaf",
		"overlong of four":       "ok\xf0\x80\x80\xaf",
		"surrogate":              "ok\xed\xa0\x80",
		"beyond U+10FFFF":        "ok\xf4\x90\x80\x80",
		"five bytes":             "ok\xf8\x88\x80\x80\x80",
		"lonely continuation":    "ok\x80",
		"character in character": "\xe2\x82\xe2\x82\xac",
		"cut of two":             "ok\xc3",
		"cut of three":           "ok\xe2\x82",
		"cut of four":            "ok\xf0\x9f\x98",
		"bad in a long text":     strings.Repeat("x", 40) + "\xff" + strings.Repeat("y", 40),
		"NUL":                    "a\x00b",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) { checkValidator(t, []byte(text)) })
	}
}

// Every sequence of up to four bytes that stand at the borders of the ranges.
func TestValidatorBorders(t *testing.T) {
	border := []byte("\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff")
	p := make([]byte, 4)
	for i := range len(border) * len(border) * len(border) * len(border) {
		n := i
		for k := range p {
			p[k] = border[n%len(border)]
			n /= len(border)
		}
		checkBytewise(t, p)
	}
}

func checkBytewise(t *testing.T, p []byte) {
	t.Helper()
	var v validator
	for i := range p {
		if ok, want := v.feed(p[i:i+1]), canGoOn(p[:i+1]); ok != want {
			t.Fatalf("% x: byte %d is taken: %v", p, i, ok)
		} else if !ok {
			break
		}
	}
	var whole validator
	if ok := whole.feed(bytes.Clone(p)) && whole.done(); ok != utf8.Valid(p) {
		t.Fatalf("% x: valid is %v", p, ok)
	}
}

func FuzzUTF8(f *testing.F) {
	for _, s := range []string{"", "a\u00e9\u20ac\U0001f600", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 200 {
			p = p[:200]
		}
		checkValidator(t, p)
	})
}
