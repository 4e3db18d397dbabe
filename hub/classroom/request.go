package classroom

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"lectern/hub"
	"lectern/hub/strictjson"
)

// A request is a parsed message of the classroom protocol. It is valid until
// its parser parses the next message.
type request struct {
	kind   string
	ref    json.RawMessage // the message's ref, which replies repeat; nil for none
	text   []byte
	parser *parser
}

// tag returns what a reply to the message repeats. It is valid as long as the
// request.
func (r request) tag() hub.Tag { return hub.Tag{Type: r.kind, Ref: r.ref} }

// A parser parses messages. It remembers only where their fields are, so what
// it allocates does not grow with the message.
type parser struct {
	values [len(names)]json.RawMessage // values of the fields in names; nil for fields that are missing
	json   fastjson.Parser             // parses one field at a time
}

// names are the fields of the protocol. The parser ignores all others.
var names = [...]string{
	"type", "data", "seq", "ref",
	"code", "token", "secret", "key", "name", "epoch", "numbered", "history",
	"max_viewers", "slow", "roster", "to", "id", "after", "limit", "commands",
}

// maxName is the length in bytes of the longest name when every letter is
// written as an escape of six bytes.
const maxName = 6 * len("max_viewers")

// once is the number of fields, the first in names, that may occur only once,
// because clients would disagree about which of two counts.
const once = 3

// maxRef is the longest ref, in bytes of JSON, that replies repeat.
const maxRef = 64

// parse parses a message. It accepts only JSON by the strict grammar of RFC
// 8259, because every viewer passes what is relayed to JSON.parse.
func (p *parser) parse(payload []byte) (request, *hub.Refusal) {
	object, ok := strictjson.NewObject(payload)
	if !ok {
		if err := strictjson.Check(payload); err != nil {
			return request{}, badJSON(err)
		}
		return request{}, badMessage("a message must be a JSON object")
	}
	twice := ""
	var err error
	for m := range object.Members(&err) {
		i := indexOf(m.Name)
		if i < 0 {
			continue
		}
		if p.values[i] == nil {
			p.values[i] = m.Value
		} else if i < once && twice == "" {
			twice = names[i]
		}
	}
	if err != nil {
		return request{}, badJSON(err)
	}
	r := request{text: payload, parser: p}
	if ref := p.values[slices.Index(names[:], "ref")]; len(ref) <= maxRef {
		r.ref = ref
	}
	kind, f := r.str("type")
	if f == nil {
		r.kind = kind
		if twice != "" {
			f = r.bad(fmt.Sprintf("%q is there more than once", twice))
		}
	}
	if f != nil {
		f.Tag.Ref = r.ref
		return request{}, f
	}
	return r, nil
}

// forget drops the message, so that the parser can parse another one.
func (p *parser) forget() { p.values = [len(names)]json.RawMessage{} }

// indexOf returns the index of a member's name in names, -1 if it is not among
// them. name is the text between the quotes.
func indexOf(name []byte) int {
	if len(name) > maxName {
		return -1
	}
	if slices.Contains(name, '\\') {
		var plain string
		if json.Unmarshal([]byte(`"`+string(name)+`"`), &plain) != nil {
			return -1
		}
		return slices.Index(names[:], plain)
	}
	for i := range names {
		if string(name) == names[i] {
			return i
		}
	}
	return -1
}

// badJSON refuses a message that is not JSON, and says what is wrong and where.
func badJSON(err error) *hub.Refusal {
	if errors.Is(err, strictjson.DepthError{}) {
		return &hub.Refusal{Kind: hub.BadJSON, Text: "the message is " + err.Error()}
	}
	return &hub.Refusal{Kind: hub.BadJSON, Text: "not valid JSON: " + err.Error()}
}

// value returns a field as it was sent, nil if it is missing.
func (r request) value(name string) json.RawMessage {
	return r.parser.values[slices.Index(names[:], name)]
}

// has reports whether the field is present, even if it is null.
func (r request) has(name string) bool { return r.value(name) != nil }

// given returns an optional field, nil if it is missing or null.
func (r request) given(name string) json.RawMessage {
	v := r.value(name)
	if string(v) == "null" {
		return nil
	}
	return v
}

// str returns a required string.
func (r request) str(name string) (string, *hub.Refusal) {
	v, f := r.field(name, fastjson.TypeString)
	if f != nil {
		return "", f
	}
	text, err := r.parser.json.ParseBytes(v)
	if err != nil { // cannot happen: it is a valid string
		return "", r.wrong(name, "a JSON string")
	}
	plain := string(text.GetStringBytes())
	if len(v) > maxParsed {
		r.parser.json = fastjson.Parser{}
	}
	return plain, nil
}

// maxParsed is the longest field, in bytes, after which the fastjson parser is
// kept.
const maxParsed = 4 << 10

// optional returns an optional string, and whether it is present.
func (r request) optional(name string) (text string, given bool, f *hub.Refusal) {
	if r.given(name) == nil {
		return "", false, nil
	}
	text, f = r.str(name)
	return text, true, f
}

// label returns an optional string of at most limit characters.
func (r request) label(name string, limit int) (string, *hub.Refusal) {
	text, _, f := r.optional(name)
	if f == nil && utf8.RuneCountInString(text) > limit {
		return "", r.wrong(name, fmt.Sprintf("at most %d characters", limit))
	}
	return text, f
}

// flag returns an optional field that must be true or false.
func (r request) flag(name string) (bool, *hub.Refusal) {
	switch string(r.given(name)) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, r.wrong(name, "true or false")
}

// number returns an optional whole number from low to high. If it is missing,
// number returns standard.
func (r request) number(name string, low, high, standard int) (int, *hub.Refusal) {
	v := r.given(name)
	if v == nil {
		return standard, nil
	}
	n := 0
	if typeOf(v) != fastjson.TypeNumber {
		return 0, r.wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	value, err := r.parser.json.ParseBytes(v)
	if err == nil {
		n, err = value.Int()
	}
	if err != nil || n < low || n > high {
		return 0, r.wrong(name, fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return n, nil
}

// id returns a required viewer id.
func (r request) id(name string) (uint32, *hub.Refusal) {
	if _, f := r.field(name, fastjson.TypeNumber); f != nil {
		return 0, f
	}
	n, f := r.number(name, 1, math.MaxUint32, 0)
	return uint32(n), f
}

// oneOf returns an optional string that must be one of allowed. The default is
// the first of them.
func (r request) oneOf(name string, allowed ...string) (string, *hub.Refusal) {
	text, given, f := r.optional(name)
	switch {
	case f != nil:
		return "", f
	case !given:
		return allowed[0], nil
	case !slices.Contains(allowed, text):
		return "", r.wrong(name, `"`+strings.Join(allowed, `" or "`)+`"`)
	}
	return text, nil
}

// list checks that a field is present and is an array.
func (r request) list(name string) *hub.Refusal {
	_, f := r.field(name, fastjson.TypeArray)
	return f
}

// raw returns a required field of any type, as it was sent.
func (r request) raw(name string) (json.RawMessage, *hub.Refusal) {
	v := r.value(name)
	if v == nil {
		return nil, r.missing(name)
	}
	return v, nil
}

// field returns a required field of the given type, as it was sent.
func (r request) field(name string, want fastjson.Type) (json.RawMessage, *hub.Refusal) {
	v := r.value(name)
	if v == nil {
		return nil, r.missing(name)
	}
	if typeOf(v) != want {
		return nil, r.wrong(name, "a JSON "+want.String())
	}
	return v, nil
}

// typeOf returns the type of a valid JSON value, which is evident from its
// first byte.
func typeOf(v json.RawMessage) fastjson.Type {
	switch v[0] {
	case '{':
		return fastjson.TypeObject
	case '[':
		return fastjson.TypeArray
	case '"':
		return fastjson.TypeString
	case 't':
		return fastjson.TypeTrue
	case 'f':
		return fastjson.TypeFalse
	case 'n':
		return fastjson.TypeNull
	}
	return fastjson.TypeNumber
}

func (r request) missing(name string) *hub.Refusal {
	return r.bad(fmt.Sprintf("%q is missing", name))
}

func (r request) wrong(name, want string) *hub.Refusal {
	return r.bad(fmt.Sprintf("%q must be %s", name, want))
}

// bad refuses the message for its form.
func (r request) bad(text string) *hub.Refusal {
	f := badMessage(text)
	f.Tag.Type = r.kind
	return f
}

func badMessage(text string) *hub.Refusal { return &hub.Refusal{Kind: hub.BadMessage, Text: text} }
