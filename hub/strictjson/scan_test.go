package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// depthOf returns how deep brackets are nested outside of strings.
func depthOf(text []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// texts are seeds: of each kind some that are right and some that are not.
var texts = []string{
	``, ` `, `{}`, ` { } `, `[]`, `[ ]`, `{"a":1}`, `{"a":1,"b":[1,2,{"c":null}]}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`,
	`{"a":1 "b":2}`, `[1 2]`, `{"a":1}}`, `{"a":1} x`, `[}`, `{]`, `[[]`, `[{"a":[}]}`,
	`0`, `-0`, `01`, `-`, `1.`, `.1`, `1.5`, `1e5`, `1E+5`, `1e-05`, `1e`, `1e+`, `+1`, `0x1`, `1.5.5`, `--1`, `1e5.5`, `NaN`, `nan`, `Infinity`,
	`"`, `""`, `"a`, `"\"`, `"\""`, `"\\"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u1234"`, `"\uD800"`, "\"\x00\"", "\"\x1f\"", "\"\n\"", "\"\x7f\"", `"é😀"`,
	`"1234567"`, `"12345678"`, `"123456789"`, `"1234567\"90123456"`, "\"12345678\x01\"", "\"\u00801234567é\"",
	`true`, `false`, `null`, `tru`, `nul`, `True`, `truex`, `[true,false,null]`, "[true\t,\r\nfalse ]", "\v1", "\ufeff1",
	nested(MaxDepth - 1), nested(MaxDepth), nested(MaxDepth + 1), strings.Repeat("[", 10_000), strings.Repeat(`{"a":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth),
	`{"type":"command","data":"/rep cartoon \u0022 protein"}`, `{"\u0074ype":1,"type":2}`,
}

// check compares Check and Members with encoding/json.
func check(t *testing.T, text []byte) {
	valid, deep := json.Valid(text), depthOf(text) > MaxDepth
	err := Check(text)
	if (err == nil) != (valid && !deep) {
		t.Fatalf("%.60q: %v; valid %t, too deep %t", text, err, valid, deep)
	}
	if valid && deep && !errors.Is(err, DepthError{}) {
		t.Fatalf("%.60q: %v instead of a DepthError", text, err)
	}
	if syntax := (*SyntaxError)(nil); errors.As(err, &syntax) && (syntax.Offset < 0 || syntax.Offset > len(text)) {
		t.Fatalf("%.60q: an error at byte %d", text, syntax.Offset)
	}
	o, ok := NewObject(text)
	if !ok {
		if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
			t.Fatalf("%.60q begins with a brace, and is no object", text)
		}
		return
	}
	var its error
	var names, values [][]byte
	for m := range o.Members(&its) {
		names, values = append(names, m.Name), append(values, m.Value)
	}
	if (its == nil) != (err == nil) {
		t.Fatalf("%.60q: Members say %v, Check %v", text, its, err)
	}
	if its != nil {
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	_, _ = d.Token()
	for i := range names {
		want, err := d.Token()
		if err != nil {
			t.Fatalf("%.60q: %d members, and the decoder says %v", text, len(names), err)
		}
		var name string
		if json.Unmarshal([]byte(`"`+string(names[i])+`"`), &name) != nil || name != want {
			t.Fatalf("%.60q: member %d is %q, want %q", text, i, name, want)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil || !bytes.Equal(value, values[i]) {
			t.Fatalf("%.60q: value %d is %q, want %q (%v)", text, i, values[i], value, err)
		}
	}
	if d.More() {
		t.Fatalf("%.60q: only %d members", text, len(names))
	}
}

func TestItAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		check(t, []byte(text))
		for n := range len(text) {
			check(t, []byte(text[:n])) // cut anywhere
			if len(text) > 1000 {
				break
			}
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	tests := map[string]string{
		`{"a":1 "b":2}`: "expected a comma or a closing brace at byte 8",
		`[1 2]`:         "expected a comma or a closing bracket at byte 4",
		`{"a" 1}`:       "expected a colon at byte 6",
		`{a:1}`:         "expected a name in quotes at byte 2",
		`{"a":x}`:       "expected a value at byte 6",
		`{"a":1`:        "unexpected end at byte 7",
		`{"a":1}x`:      "unexpected text after the value at byte 8",
		"[\"\x01\"]":    "a control character in a string at byte 3",
		`["\q"]`:        "an unknown escape in a string at byte 4",
		`[01]`:          "expected a comma or a closing bracket at byte 3",
		`[1.]`:          "expected a digit at byte 4",
		nested(301):     "nested more than 300 deep",
	}
	for text, want := range tests {
		if err := Check([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.20s: %v, want %s", text, err, want)
		}
	}
}

func TestItAllocatesNothing(t *testing.T) {
	text := []byte(`{"type":"command","data":["/rep cartoon",1.5e3,{"a":[true,null]}]}`)
	if n := testing.AllocsPerRun(100, func() {
		o, _ := NewObject(text)
		var err error
		for range o.Members(&err) {
		}
		if err != nil || Check(text) != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if utf8.Valid(text) {
			check(t, text)
		}
	})
}

// Worst are the kinds of text that cost most: BenchmarkScan shows that a
// message of 1 MiB of any kind takes less than 5 ms.
var worst = map[string]func(n int) []byte{
	"zeros":   func(n int) []byte { return fill(`{"type":"command","data":[`, `0,`, `0]}`, n) },
	"numbers": func(n int) []byte { return fill(`{"type":"command","data":[`, `-1.5e-7,`, `0]}`, n) },
	"keys":    func(n int) []byte { return fill(`{"type":"command","data":{`, `"":0,`, `"":0}}`, n) },
	"top":     func(n int) []byte { return fill(`{"type":"command",`, `"":0,`, `"data":0}`, n) },
	"strings": func(n int) []byte { return fill(`{"type":"command","data":[`, `"a",`, `""]}`, n) },
	"escapes": func(n int) []byte { return fill(`{"type":"command","data":"`, `\u0041\"`, `"}`, n) },
	"text":    func(n int) []byte { return fill(`{"type":"command","data":"`, `Lorem ipsum dolor `, `"}`, n) },
	"spaces":  func(n int) []byte { return fill(`{"type":"command","data":[`, ` `, `0]}`, n) },
	"deep":    func(n int) []byte { return fill(`{"type":"command","data":[`, nested(290)+`,`, `0]}`, n) },
	"objects": func(n int) []byte { return fill(`{"type":"command","data":[`, `{},`, `0]}`, n) },
}

func fill(begin, middle, end string, n int) []byte {
	times := (n - len(begin) - len(end)) / len(middle)
	return []byte(begin + strings.Repeat(middle, times) + end)
}

func BenchmarkScan(b *testing.B) {
	for name, make := range worst {
		text := make(1 << 20)
		if err := Check(text); err != nil {
			b.Fatal(name, err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				o, _ := NewObject(text)
				var err error
				for range o.Members(&err) {
				}
			}
		})
	}
}
